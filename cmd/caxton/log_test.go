package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// TestLogStatTellsWhatWasTrimmed: the newest trim of each agent counts, and a log
// without any does not speak of it.
func TestLogStatTellsWhatWasTrimmed(t *testing.T) {
	dir := t.TempDir()
	stat := func() string {
		var out bytes.Buffer
		a := &app{stdout: &out, stderr: &out, output: "table"}
		if err := a.statLog(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	trim := func(id events.AgentID, before ...events.Revision) {
		s, err := pebblestore.Open(dir, pebblestore.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range before {
			ev, err := events.Encode(events.NewEventID(), events.HistoryTrimmed{Before: n, Deployed: events.AgentDeployed{AgentID: id}}, events.Metadata{Actor: "user:test"})
			if err == nil {
				_, err = s.Append(t.Context(), events.AgentStream(id), events.Any(), ev)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	trim(events.NewAgentID())
	if out := stat(); strings.Contains(out, "\nTrimmed:") {
		t.Error(out)
	}
	trim(events.NewAgentID(), 300, 700)
	trim(events.NewAgentID(), 256)
	if out := stat(); !strings.Contains(out, "\nTrimmed:    956 events of 2 agents\n") {
		t.Error(out)
	}
}
