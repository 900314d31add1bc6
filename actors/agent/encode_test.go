package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// fullState has something in every field.
func fullState(tb testing.TB) *State {
	l := newLife(tb)
	r := fullRun(l, fromAgent(3, 5), events.OutcomeOK)
	r.Timers = []TimerChange{{Timer: 1, After: time.Second}, {Timer: 2, After: time.Second}}
	r.Capabilities = []string{"b", "a"}
	r.State = append(r.State, events.StateChange{Key: "empty"}, events.StateChange{Key: "\xff", Value: []byte{0, 0xff}})
	l.do(Finish{Run: r})
	l.crash(9, begin+1)
	l.do(Suspend{})
	return l.st
}

func TestStateRoundTrips(t *testing.T) {
	for _, want := range []*State{new(State), newLife(t).st, fullState(t)} {
		var got State
		if err := got.UnmarshalBinary([]byte(bytesOf(t, want))); err != nil {
			t.Fatal(err)
		}
		same(t, "state", got, *want)
	}
	var got State
	if err := got.UnmarshalBinary([]byte(bytesOf(t, fullState(t)))); err != nil {
		t.Fatal(err)
	}
	if v, ok := got.Get("empty"); !ok || v == nil {
		t.Fatalf("an empty value reads as %v, %v", v, ok)
	}
}

// A field that is not written would be lost at the first snapshot: every one
// makes a difference to the bytes.
func TestEveryFieldIsWritten(t *testing.T) {
	full := bytesOf(t, fullState(t))
	for name, drop := range map[string]func(*State){
		"id": func(s *State) { s.ID = agentID(7) }, "status": func(s *State) { s.Status = Failed },
		"name": func(s *State) { s.Name = "" }, "module": func(s *State) { s.Module = "" },
		"limits": func(s *State) { s.Limits.MaxFuel++ }, "priority": func(s *State) { s.Priority = events.Low },
		"revision": func(s *State) { s.Revision++ }, "clock": func(s *State) { s.Clock++ },
		"handled": func(s *State) { s.Handled++ }, "a value": func(s *State) { s.values.all["k"] = nil },
		"a key of the state": func(s *State) { delete(s.values.all, "\xff") },
		"sent":               func(s *State) { s.sent[channel{agentID(2), events.Normal}]++ }, "seen": func(s *State) { s.seen[channel{agentID(3), events.Normal}]++ },
		"keys":  func(s *State) { s.keys.order = nil },
		"ahead": func(s *State) { s.inbox.ahead = nil }, "next": func(s *State) { s.inbox.next++ },
		"a timer": func(s *State) { delete(s.timers.pending, 1) }, "the last timer": func(s *State) { s.timers.last++ },
		"a capability":     func(s *State) { delete(s.skills, "a") },
		"crashing message": func(s *State) { s.crash.message = messageID(1) },
		"attempts":         func(s *State) { s.crash.attempts++ }, "crashes": func(s *State) { s.crash.recent = nil },
	} {
		st := fullState(t)
		if drop(st); bytesOf(t, st) == full {
			t.Errorf("%s is not written", name)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	full := bytesOf(t, fullState(t))
	key := `{"k":"aw==","u":{}}`
	for name, in := range map[string]string{
		"nothing": "", "not JSON": "state", "a part": full[:len(full)-1], "more": full + "x", "a list": "[]",
		"an unknown status": strings.Replace(full, `"suspended"`, `"asleep"`, 1),
		"a bad id":          strings.Replace(full, agentID(1).String(), "agent-1", 1),
		"a key twice":       `{"keys":[` + key + `,` + key + `]}`,
	} {
		st := fullState(t)
		if err := st.UnmarshalBinary([]byte(in)); !errors.Is(err, events.ErrCorrupt) {
			t.Errorf("%s: got %v, want a CorruptError", name, err)
		}
		if bytesOf(t, st) != full {
			t.Errorf("%s: changed the state", name)
		}
	}
}

// Whatever reads as a state is one: it can be asked, it can go on, and written
// down again it reads the same.
func FuzzUnmarshalState(f *testing.F) {
	f.Add([]byte("{}"))
	f.Add([]byte("null"))
	f.Add([]byte(bytesOf(f, new(State))))
	f.Add([]byte(bytesOf(f, newLife(f).st)))
	f.Add([]byte(bytesOf(f, fullState(f))))
	f.Add([]byte(`{"status":"running","inbox_next":18446744073709551615,"inbox_ahead":[18446744073709551615,0,0]}`))
	f.Add([]byte(`{"status":"running","revision":18446744073709551615,"clock":9223372036854775807,"crashes":[5,1,-1]}`))
	f.Add([]byte(`{"status":"running","values":[{"k":"","v":null},{"k":"","v":"AA=="}],"sent":{},"keys":[{"k":null,"u":{}}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var first, second State
		if err := first.UnmarshalBinary(in); err != nil {
			if !errors.Is(err, events.ErrCorrupt) {
				t.Fatalf("got %v, want a CorruptError", err)
			}
			return
		}
		written := bytesOf(t, &first)
		if err := second.UnmarshalBinary([]byte(written)); err != nil {
			t.Fatalf("does not read what it wrote: %v\n%s", err, written)
		}
		if again := bytesOf(t, &second); again != written {
			t.Fatalf("written again it differs:\n%s\n%s", written, again)
		}
		r := fullRun(&life{tb: t, st: &first}, fromAgent(2, 1), events.OutcomeTimeout)
		list, err := Decide(&first, Finish{Run: r})
		if (err == nil) != (first.Status == Running) {
			t.Fatalf("an agent that is %q: %v", first.Status, err)
		}
		for _, p := range list {
			if err := first.Apply(first.Revision+1, p); err != nil {
				t.Fatal(err)
			}
		}
	})
}
