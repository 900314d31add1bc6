package agent

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/events"
)

func isTrim(c Command) bool {
	_, ok := c.(Trim)
	return ok
}

// checkSafeLine holds the line against what the history says is needed: where timers
// that are pending were set, and the answers of keys within their time.
func checkSafeLine(t *rapid.T, l *life) {
	line := l.st.SafeLine()
	if line > l.st.Revision+1 {
		t.Fatalf("the line is %d, the last event %d", line, l.st.Revision)
	}
	for i, p := range l.wrote {
		set, ok := p.(events.TimerSet)
		if ok && l.st.HasTimer(set.Timer) && line > events.Revision(i) {
			t.Fatalf("timer %d was set at %d, below the line %d", set.Timer, i, line)
		}
	}
	for key, use := range l.st.keys.uses {
		if l.st.Clock-use.AtMicros <= KeyLifetimeMicros && line > use.Revision {
			t.Fatalf("key %q stands for revision %d, below the line %d", key, use.Revision, line)
		}
	}
}

func TestSafeLine(t *testing.T) {
	l := newLife(t)
	if got := l.st.SafeLine(); got != 1 {
		t.Fatalf("after one event the line is %d", got)
	}
	l.keyed(1, "k", "body", begin) // revision 1
	for range 5 {
		l.finish(2, events.OutcomeOK)
	}
	if got := l.st.SafeLine(); got != 1 {
		t.Fatalf("with a key's answer at 1 the line is %d", got)
	}
	r := l.run(outsider(3), events.OutcomeOK)
	r.Host.NowMicros = begin + KeyLifetimeMicros + 1
	r.Timers = []TimerChange{{Timer: 1, After: events.MinTimerAfter}}
	l.do(Finish{Run: r}) // its timer is set at 8
	if _, ok := l.st.Key("k"); !ok {
		t.Fatal("a message without a key made one expire")
	}
	if got := l.st.SafeLine(); got != 8 {
		t.Fatalf("with a key past its time and a timer set at 8 the line is %d", got)
	}
	var fire events.TimerSet
	fire.Timer = 1
	l.do(Finish{Run: l.run(fire.Message(l.st.ID), events.OutcomeOK)})
	if got, want := l.st.SafeLine(), l.st.Revision+1; got != want {
		t.Fatalf("with nothing pending the line is %d, want %d", got, want)
	}
}

func TestTrim(t *testing.T) {
	l := newLife(t)
	l.do(Finish{Run: l.run(fromAgent(3, 7), events.OutcomeOK)})
	l.do(Finish{Run: l.run(fromAgent(2, 4), events.OutcomeOK)})
	r := l.run(outsider(5), events.OutcomeOK)
	for _, at := range []events.Revision{0, 2} {
		r.Inbox = &at
		l.do(Finish{Run: r})
	}
	before := bytesOf(t, l.st)
	out := l.do(Trim{Event: events.HistoryTrimmed{Before: 3, Deployed: deployment(1)}})
	same(t, "the event", out, []events.Payload{events.HistoryTrimmed{
		Before: 3, Deployed: deployment(1), InboxNext: 1, InboxAhead: []events.Revision{2},
		Seen: []events.SeenSend{{From: agentID(2), Class: events.Normal, Sequence: 4}, {From: agentID(3), Class: events.Normal, Sequence: 7}},
	}})
	l.st.Revision--
	if bytesOf(t, l.st) != before {
		t.Fatal("it changed the state beyond its revision")
	}
}

func TestTrimRefused(t *testing.T) {
	l := newLife(t)
	l.keyed(1, "k", "body", begin)
	l.finish(2, events.OutcomeOK)
	for _, before := range []events.Revision{0, 2, 99} {
		if _, err := Decide(l.st, Trim{Event: events.HistoryTrimmed{Before: before, Deployed: deployment(1)}}); !errors.Is(err, events.ErrConflict) {
			t.Errorf("before %d: %v", before, err)
		}
	}
	var invalid *events.InvalidError
	if _, err := Decide(l.st, Trim{Event: events.HistoryTrimmed{Before: 1, Deployed: deployment(2)}}); !errors.As(err, &invalid) {
		t.Errorf("made as another agent: %v", err)
	}
	for from, want := range map[Status]error{
		Suspended: events.ErrIllegalLifecycle, Draining: events.ErrIllegalLifecycle, Stopped: events.ErrIllegalLifecycle,
		Failed: events.ErrIllegalLifecycle, Removed: events.ErrAgentNotFound, None: events.ErrAgentNotFound,
	} {
		if _, err := Decide(standing(t, from).st, Trim{Event: events.HistoryTrimmed{Before: 1, Deployed: deployment(1)}}); !errors.Is(err, want) {
			t.Errorf("an agent that is %q: %v, want %v", from, err, want)
		}
	}
	for i := range maxCarried + 1 {
		l.st.inbox.finish(new(events.Revision(i*2 + 1)))
	}
	if _, err := Decide(l.st, Trim{Event: events.HistoryTrimmed{Before: 1, Deployed: deployment(1)}}); !errors.Is(err, events.ErrTooLarge) {
		t.Errorf("with too much to carry: %v", err)
	}
}
