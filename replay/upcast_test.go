package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/projections"
)

// testdata/v1 is the history of an agent as the last caxton wrote it that knew
// schema version 1 alone, and what that caxton made of it: state and view, when
// the agent had failed and at the end. Nothing here writes these files.
const v1Begin = int64(1_700_000_000_000_000) // recorded at, of the first event; each next one 1 µs later

// v1Log returns the recorded history.
func v1Log(t *testing.T) (events.AgentID, []events.Event) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "v1", "agent.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var list []events.Event
	for line := range bytes.Lines(b) {
		var e struct {
			ID             events.EventID
			Type           events.Type
			Metadata, Data json.RawMessage
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		list = append(list, events.Event{ID: e.ID, Type: e.Type, ContentType: events.JSON, Metadata: e.Metadata, Data: e.Data})
	}
	first, err := events.Decode(list[0])
	if err != nil {
		t.Fatal(err)
	}
	return first.(events.AgentDeployed).AgentID, list
}

// upToFailure is the history up to the one event of it that has a newer version
// today.
func upToFailure(t *testing.T, list []events.Event) []events.Event {
	t.Helper()
	for i, ev := range list {
		if ev.Type == "AgentFailed" {
			return list[:i+1]
		}
	}
	t.Fatal("the agent never failed")
	return nil
}

// rewritten is the history as it would be written today.
func rewritten(t *testing.T, list []events.Event) []events.Event {
	t.Helper()
	var out []events.Event
	for _, ev := range list {
		p, err := events.Decode(ev)
		if err != nil {
			t.Fatal(err)
		}
		md, err := events.DecodeMetadata(ev.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		now, err := events.Encode(ev.ID, p, md)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, now)
	}
	return out
}

// foldOf replays a history from a store on disk.
func foldOf(t *testing.T, id events.AgentID, list []events.Event) *agent.State {
	t.Helper()
	store, err := pebblestore.Open(t.TempDir(), pebblestore.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := store.Append(t.Context(), events.AgentStream(id), events.NoStream(), list...); err != nil {
		t.Fatal(err)
	}
	st, err := Source{Store: store}.State(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func viewOf(t *testing.T, id events.AgentID, list []events.Event) []byte {
	t.Helper()
	agents := projections.NewAgents("n1")
	for i, ev := range list {
		p, err := events.Decode(ev)
		if err != nil {
			t.Fatal(err)
		}
		agents.Apply(events.Recorded{
			Event: ev, Stream: events.AgentStream(id), Revision: events.Revision(i), Position: events.Position(i),
			RecordedAt: time.UnixMicro(v1Begin + int64(i)).UTC(),
		}, p)
	}
	v, ok := agents.Get(id)
	if !ok {
		t.Fatal("the agent is not listed")
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func members(t *testing.T, object []byte) map[string]string {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(object, &raw); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for k, v := range raw {
		out[k] = string(v)
	}
	return out
}

// since returns those members of an object that the old one has too: what was
// added later an old caxton could not tell.
func since(t *testing.T, old, now []byte) map[string]string {
	t.Helper()
	out, known := members(t, now), members(t, old)
	for k := range out {
		if _, ok := known[k]; !ok {
			delete(out, k)
		}
	}
	return out
}

// TestOldLogReplays: state and projection of a log of schema version 1 are what
// they were to the caxton that wrote it, and what the same log of today gives.
func TestOldLogReplays(t *testing.T) {
	id, list := v1Log(t)
	for name, old := range map[string][]events.Event{"failed": upToFailure(t, list), "last": list} {
		var then agent.State
		if err := then.UnmarshalBinary(read(t, filepath.Join("testdata", "v1", name+".state.json"))); err != nil {
			t.Fatal(err)
		}
		view := read(t, filepath.Join("testdata", "v1", name+".view.json"))
		for log, list := range map[string][]events.Event{"the old log": old, "the log rewritten": rewritten(t, old)} {
			if d := cmp.Diff(encoded(t, &then), encoded(t, foldOf(t, id, list))); d != "" {
				t.Errorf("%s, state of %s (-then +now):\n%s", name, log, d)
			}
			if d := cmp.Diff(members(t, view), since(t, view, viewOf(t, id, list))); d != "" {
				t.Errorf("%s, view of %s (-then +now):\n%s", name, log, d)
			}
		}
	}
}

// TestOldEventSaysWhatNewOnesDo: the recorded failure is read as one of today.
func TestOldEventSaysWhatNewOnesDo(t *testing.T) {
	_, list := v1Log(t)
	failure := upToFailure(t, list)
	got, err := events.Decode(failure[len(failure)-1])
	want := events.AgentFailed{
		Reason: "10 crashes within 1m0s, the last: Timeout", Crashes: agent.MaxCrashes,
		WindowMS: agent.CrashWindow.Milliseconds(), Outcome: events.OutcomeTimeout,
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if now := rewritten(t, failure); bytes.Equal(now[len(now)-1].Metadata, failure[len(failure)-1].Metadata) {
		t.Error("it is written as version 1 today: this log is not old")
	}
}

// TestNewerEventStopsReplay: what a later caxton wrote is not read in part.
func TestNewerEventStopsReplay(t *testing.T) {
	id, list := v1Log(t)
	last := list[len(list)-1]
	last.Metadata = events.Metadata{SchemaVersion: events.SchemaVersion(last.Type) + 1}.Encode()
	list[len(list)-1] = last
	store, err := pebblestore.Open(t.TempDir(), pebblestore.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Append(t.Context(), events.AgentStream(id), events.NoStream(), list...); err != nil {
		t.Fatal(err)
	}
	st, err := Source{Store: store}.State(t.Context(), id)
	var newer *events.NewerSchemaError
	if st != nil || !errors.As(err, &newer) || newer.Event != last.ID || newer.Type != last.Type {
		t.Errorf("state %v, %v; want a NewerSchemaError of %s", st, err, last.Type)
	}
}
