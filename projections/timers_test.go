package projections

import (
	"slices"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// timerLog applies events of one agent after another to a fold.
type timerLog struct {
	*Timers
	next map[events.AgentID]events.Revision
}

func newTimerLog() *timerLog {
	return &timerLog{NewTimers(), map[events.AgentID]events.Revision{}}
}

func (l *timerLog) add(id events.AgentID, list ...events.Payload) {
	for _, p := range list {
		l.Apply(events.Recorded{Stream: events.AgentStream(id), Revision: l.next[id]}, p)
		l.next[id]++
	}
}

// take returns the numbers of the timers due after so many seconds.
func (l *timerLog) take(seconds int) []events.TimerID {
	var out []events.TimerID
	for _, d := range l.TakeDue(second(seconds), 100) {
		out = append(out, d.Timer)
	}
	return out
}

func second(n int) time.Time { return time.Unix(1_700_000_000+int64(n), 0).UTC() }

func timerSet(id events.TimerID, seconds int) events.Payload {
	return events.TimerSet{Timer: id, DueAt: second(seconds)}
}

func TestTimersAreGivenOutOnce(t *testing.T) {
	l, a, b := newTimerLog(), events.AgentID{1}, events.AgentID{2}
	l.add(a, timerSet(1, 30), timerSet(2, 10), timerSet(3, 20))
	l.add(b, timerSet(1, 15))
	if at, ok := l.Next(); !ok || !at.Equal(second(10)) {
		t.Errorf("next is at %s, %v", at, ok)
	}
	if got := l.TakeDue(second(9), 100); len(got) != 0 {
		t.Errorf("early: %v", got)
	}
	if got := l.TakeDue(second(20), 2); len(got) != 2 || got[0].Timer != 2 || got[0].Revision != 1 || got[1].Agent != b {
		t.Errorf("took %v", got)
	}
	l.add(a, events.TimerCancelled{Timer: 3}, events.TimerFired{Timer: 2})
	if got := l.take(100); !slices.Equal(got, []events.TimerID{1}) {
		t.Errorf("then took %v", got)
	}
	if l.Len() != 2 {
		t.Errorf("%d are pending, want the two that nobody ended", l.Len())
	}
	l.Return(DueTimer{Agent: a, Timer: 1}, second(200))
	l.Return(DueTimer{Agent: a, Timer: 2}, second(100)) // has fired
	if got := l.take(150); len(got) != 0 {
		t.Errorf("returned ones come early: %v", got)
	}
	if got := l.take(200); !slices.Equal(got, []events.TimerID{1}) {
		t.Errorf("returned ones: %v", got)
	}
	l.add(a, events.AgentRemoved{})
	l.add(b, events.TimerFired{Timer: 1})
	if _, ok := l.Next(); ok || l.Len() != 0 || len(l.agents) != 0 {
		t.Errorf("%d are left", l.Len())
	}
}

func TestTimersAreHeld(t *testing.T) {
	for i, held := range []events.Payload{
		events.AgentSuspended{}, events.AgentFailed{}, events.AgentStopRequested{}, events.AgentStopped{},
	} {
		l, a := newTimerLog(), events.AgentID{1}
		l.add(a, timerSet(1, 10), timerSet(2, 20))
		if got := l.take(10); len(got) != 1 {
			t.Fatalf("took %v", got)
		}
		l.add(a, held)
		if got := l.take(100); len(got) != 0 {
			t.Errorf("%s: took %v", held.EventType(), got)
		}
		l.Return(DueTimer{Agent: a, Timer: 1}, second(0)) // what was on its way met the held agent
		if _, ok := l.Next(); ok {
			t.Errorf("%s: something waits", held.EventType())
		}
		l.add(a, []events.Payload{events.AgentResumed{}, events.AgentRestarted{}}[i%2])
		if got := l.take(100); !slices.Equal(got, []events.TimerID{1, 2}) {
			t.Errorf("resumed: took %v", got)
		}
	}
}

// A token tells that the earliest timer may have changed; a later one needs none.
func TestTimersTellOfEarlierOnes(t *testing.T) {
	l, a := newTimerLog(), events.AgentID{1}
	told := func() bool {
		select {
		case <-l.Changed():
			return true
		default:
			return false
		}
	}
	l.add(a, timerSet(1, 20))
	if !told() {
		t.Error("not told of the first")
	}
	l.add(a, timerSet(2, 30))
	if told() {
		t.Error("told of a later one")
	}
	l.add(a, timerSet(3, 10))
	if !told() {
		t.Error("not told of an earlier one")
	}
}
