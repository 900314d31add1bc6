package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// TestLogStatTellsWhatWasTrimmed: the newest trim of each agent counts, and a log
// without any does not speak of it.
func TestLogStatTellsWhatWasTrimmed(t *testing.T) {
	dir := t.TempDir()
	statAs := func(format string) (string, error) {
		var out bytes.Buffer
		a := &app{stdout: &out, stderr: &out, output: format}
		err := a.statLog(t.Context(), dir)
		return out.String(), err
	}
	stat := func() string {
		out, err := statAs("table")
		if err != nil {
			t.Fatal(err)
		}
		return out
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
	var told struct{ Trimmed struct{ Agents, Events int } }
	if out, err := statAs("json"); err != nil || json.Unmarshal([]byte(out), &told) != nil || told.Trimmed.Agents != 2 || told.Trimmed.Events != 956 {
		t.Errorf("%s %v", out, err)
	}

	// One that does not read is told, and takes nothing else with it.
	s, err := pebblestore.Open(dir, pebblestore.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	strange := events.Event{ID: events.NewEventID(), Type: events.HistoryTrimmed{}.EventType(), Data: []byte(`{"before":"soon"}`), Metadata: []byte(`{}`)}
	_, err = s.Append(t.Context(), events.AgentStream(events.NewAgentID()), events.Any(), strange)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"table", "json"} {
		if out, err := statAs(format); err == nil || !strings.Contains(err.Error(), "count what was trimmed in "+dir) || !strings.Contains(out, "HistoryTrimmed") {
			t.Errorf("%s %v", out, err)
		}
	}
}

// TestLogVerifyTellsOfDamagedNotes: damage to a small file beside the log takes nothing
// from it, and whoever verifies the log hears of it.
func TestLogVerifyTellsOfDamagedNotes(t *testing.T) {
	for _, name := range []string{"durable", "seals"} {
		dir := t.TempDir()
		s, err := pebblestore.Open(dir, pebblestore.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var out, told bytes.Buffer
		a := &app{stdout: &out, stderr: &told, output: "table", now: time.Now}
		if err := a.verifyLog(t.Context(), dir, true, false); err != nil {
			t.Error(err)
		}
		if !strings.Contains(told.String(), name) || !strings.Contains(out.String(), "sound") {
			t.Errorf("%s: %q, %q", name, told.String(), out.String())
		}
	}
}
