package projections

import (
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// TestSendsExpire: a pair is worth a look when the deadline of one of its sends has
// passed, and only then.
func TestSendsExpire(t *testing.T) {
	f := NewInFlight()
	f.SendTimeout = time.Minute
	if _, ok := f.Soonest(); ok {
		t.Fatal("something is due in an empty log")
	}
	soon, late := second(10), second(10_000)
	send := func(n uint64, to byte, by *time.Time) events.Message {
		return events.Message{Sender: party(1).String(), Receiver: party(to).String(), Sequence: n, ReplyBy: by}
	}
	f.Apply(events.Recorded{Stream: events.AgentStream(party(1)), RecordedAt: second(0)}, events.MessageHandled{
		Sends: []events.Message{send(1, 2, nil), send(2, 2, &soon), send(1, 3, &late)},
	})
	f.TakeChanged()
	want := []Sent{{Sequence: 1, Deadline: second(60)}, {Sequence: 2, Index: 1, Deadline: soon}}
	for i, s := range f.Next(Pair{party(1), party(2), events.Normal}, 0, 10) {
		if s.Sequence != want[i].Sequence || !s.Deadline.Equal(want[i].Deadline) {
			t.Errorf("%+v, want %+v", s, want[i])
		}
	}
	for _, step := range []struct {
		now, soonest int
		pairs        int
	}{{9, 10, 0}, {10, 60, 1}, {59, 60, 1}, {60, 0, 2}} {
		f.Expire(second(step.now))
		if got := len(f.TakeChanged()); got != step.pairs {
			t.Errorf("after %d seconds: %d pairs, want %d", step.now, got, step.pairs)
		}
		if at, ok := f.Soonest(); ok != (step.soonest > 0) || ok && !at.Equal(second(step.soonest)) {
			t.Errorf("after %d seconds: next at %s, %v", step.now, at, ok)
		}
	}
	select {
	case <-f.Sooner():
	default:
		t.Error("no token told of the first deadline")
	}
}
