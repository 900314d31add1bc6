package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// keep runs a message that leaves these changes and returns what became of it.
func (l *life) keep(t *testing.T, n byte, changes ...events.StateChange) events.Payload {
	t.Helper()
	r := l.run(outsider(n), events.OutcomeOK)
	r.State = changes
	return one[events.Payload](t, l.do(Finish{Run: r}))
}

// What would make the state too large fails once, by name, and changes nothing of
// it; what makes a state smaller is always kept.
func TestStateIsBounded(t *testing.T) {
	l := newLife(t)
	half := make([]byte, MaxStateBytes/2-2*stateEntryBytes)
	for i, key := range []string{"a", "b"} {
		if p := l.keep(t, byte(i), events.StateChange{Key: key, Value: half}); p.EventType() != (events.MessageHandled{}).EventType() {
			t.Fatalf("%s: %s", key, p.EventType())
		}
	}
	for name, change := range map[string]events.StateChange{
		"a large value":      {Key: "c", Value: half},
		"a larger value":     {Key: "a", Value: make([]byte, len(half)+4*stateEntryBytes)},
		"a key and no value": {Key: strings.Repeat("k", 4*stateEntryBytes)},
	} {
		before := bytesOf(t, &State{values: l.st.values})
		failed, ok := l.keep(t, 9, change).(events.MessageFailed)
		if !ok || failed.Outcome != events.OutcomeEffectsTooLarge || !strings.Contains(failed.Detail, fmt.Sprint(MaxStateBytes)) {
			t.Errorf("%s: %+v", name, failed)
		}
		if failed.Reply == nil || failed.Reply.Performative != events.Failure {
			t.Errorf("%s: the sender is told %+v", name, failed.Reply)
		}
		if bytesOf(t, &State{values: l.st.values}) != before {
			t.Errorf("%s: it was kept", name)
		}
	}
	if _, ok := l.keep(t, 10, events.StateChange{Key: "a", Delete: true}, events.StateChange{Key: "c", Value: half}).(events.MessageHandled); !ok {
		t.Error("one value in place of another was refused")
	}
}

// A state that is too large already, from before there was a bound, can be made
// smaller but not larger.
func TestALargeStateCanShrink(t *testing.T) {
	l := newLife(t)
	l.apply(events.MessageHandled{Outcome: events.OutcomeOK, Message: outsider(1), State: []events.StateChange{
		{Key: "a", Value: make([]byte, MaxStateBytes)}, {Key: "b", Value: make([]byte, MaxStateBytes)},
	}})
	if _, ok := l.keep(t, 2, events.StateChange{Key: "c"}).(events.MessageFailed); !ok {
		t.Error("it was made larger")
	}
	if _, ok := l.keep(t, 3, events.StateChange{Key: "a", Value: []byte("small")}).(events.MessageHandled); !ok {
		t.Error("it cannot be made smaller")
	}
}

// What a state counts is what it holds, however it came to that.
func TestStateIsCounted(t *testing.T) {
	l := newLife(t)
	for i, c := range []events.StateChange{
		{Key: "a", Value: []byte("12345")}, {Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "none", Delete: true},
		{Key: "b", Value: []byte("1")}, {Key: "a", Delete: true},
	} {
		l.keep(t, byte(i), c)
		want := 0
		for k, v := range l.st.values.all {
			want += len(k) + len(v) + stateEntryBytes
		}
		if l.st.values.bytes != want {
			t.Errorf("after change %d: %d bytes counted, %d held", i, l.st.values.bytes, want)
		}
	}
	var back State
	if err := back.UnmarshalBinary([]byte(bytesOf(t, l.st))); err != nil || back.values.bytes != l.st.values.bytes {
		t.Errorf("read back: %d bytes, %v", back.values.bytes, err)
	}
}
