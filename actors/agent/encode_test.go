package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	old := oldForm(t, fullState(t))
	key := `{"k":"aw==","u":{}}`
	for name, in := range map[string]string{
		"nothing": "", "no form": "state", "a part": full[:len(full)-1], "more": full + "x", "a list": "[]", "null": "null",
		"a part of the JSON": full[:20], "an unknown form": "\x03" + full[1:],
		"too many keys":     full[:len(full)-1] + "\xff\xff\xff\xff\x0f",
		"an unknown status": strings.Replace(old, `"suspended"`, `"asleep"`, 1),
		"a bad id":          strings.Replace(old, agentID(1).String(), "agent-1", 1),
		"an old key twice":  `{"keys":[` + key + `,` + key + `]}`,
		"a key twice":       twice(t),
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

// twice is a state in whose keyring a key stands twice.
func twice(t *testing.T) string {
	t.Helper()
	st := fullState(t)
	st.keys.order = append(st.keys.order, st.keys.order...)
	return bytesOf(t, st)
}

// oldForm is a state as it was written until snapshots of version 2.
func oldForm(tb testing.TB, s *State) string {
	tb.Helper()
	var e encoded
	r := reader{b: []byte(bytesOf(tb, s))[1:]}
	if err := json.Unmarshal(r.text(), &e); err != nil {
		tb.Fatal(err)
	}
	for _, k := range slices.Sorted(maps.Keys(s.values.all)) {
		e.Values = append(e.Values, value{[]byte(k), s.values.all[k]})
	}
	for _, k := range s.keys.order {
		e.Keys = append(e.Keys, usedKey{[]byte(k), s.keys.uses[k]})
	}
	b, err := json.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// A state of before reads as the same.
func TestOldFormIsRead(t *testing.T) {
	for _, want := range []*State{new(State), newLife(t).st, fullState(t)} {
		var got State
		if err := got.UnmarshalBinary([]byte(oldForm(t, want))); err != nil {
			t.Fatal(err)
		}
		same(t, "state", got, *want)
	}
}

// The keys of a busy agent take little: the hash of a request is 32 bytes of it.
func TestKeysAreCompact(t *testing.T) {
	l := newLife(t)
	const n = 1000
	for i := range n {
		use := KeyUse{MessageID: messageID(byte(i)), BodyHash: fmt.Sprintf("%064x", i), Revision: events.Revision(3 * i), AtMicros: begin + int64(i)*1000}
		l.st.keys.add(ScopedKey("user:anonymous", fmt.Sprintf("%036d", i)), use)
	}
	const want = len(`"user:anonymous"""`) + 36 + 1 + 16 + 33 + 2 + 2
	if size := len(bytesOf(t, l.st)) - len(bytesOf(t, newLife(t).st)); size > n*want {
		t.Errorf("%d keys take %d bytes, %d each; want %d", n, size, size/n, want)
	}
	var got State
	if err := got.UnmarshalBinary([]byte(bytesOf(t, l.st))); err != nil {
		t.Fatal(err)
	}
	same(t, "state", got, *l.st)
}

// Whatever reads as a state is one: it can be asked, it can go on, and written
// down again it reads the same.
func FuzzUnmarshalState(f *testing.F) {
	f.Add([]byte("{}"))
	f.Add([]byte("null"))
	f.Add([]byte(bytesOf(f, new(State))))
	f.Add([]byte(bytesOf(f, newLife(f).st)))
	f.Add([]byte(bytesOf(f, fullState(f))))
	f.Add([]byte(oldForm(f, fullState(f))))
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
