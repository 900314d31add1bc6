package raftstore

import (
	"context"
	"errors"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestCloseWaitsForWhatIsUnderWay closes a member while one append is on its way to a disk
// that hangs and others wait for that one: the first is taken and told so, and what was
// refused does not stand in the log.
func TestCloseWaitsForWhatIsUnderWay(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	n.must(t, "agent-1", "it leads")
	type told struct {
		id  events.EventID
		err error
	}
	answers := make(chan told)
	try := func() {
		ev := event("x")
		_, err := n.Append(t.Context(), "agent-1", events.Any(), ev)
		answers <- told{ev.ID, err}
	}
	n.slow.begin()
	go try()
	c.until("the append waits for the disk", n.slow.waits)
	const others = 8
	for range others {
		go try()
	}
	closed := make(chan error)
	go func() { closed <- n.Close() }()
	<-n.quit
	n.slow.end()
	refused, taken := make(map[events.EventID]bool), 0
	for range 1 + others {
		switch a := <-answers; {
		case a.err == nil:
			taken++
		case errors.Is(a.err, events.ErrClosed):
			refused[a.id] = true
		default:
			t.Error(a.err)
		}
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if taken == 0 {
		t.Error("what was under way was refused")
	}
	c.open(n)
	n.must(t, "agent-1", "it leads again")
	stand := 0
	for ev, err := range n.ReadStream(t.Context(), "agent-1", events.ReadStreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if stand++; refused[ev.ID] {
			t.Errorf("position %d: was refused, as the store was closed", ev.Position)
		}
	}
	if stand != taken+2 {
		t.Errorf("%d events, %d were taken and two are ours", stand, taken)
	}
}

// TestTheLastWordOfAMember that fails while it closes: what was taken is not said to have
// been refused, and who waits no longer hears that.
func TestTheLastWordOfAMember(t *testing.T) {
	s := &Store{fsm: new(fsm), quit: make(chan struct{}), stopped: make(chan struct{}), settled: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	gone, kept, refused := &pending{ctx: ctx}, &pending{ctx: t.Context()}, &pending{ctx: t.Context()}
	cancel()
	if o := s.lastWord(gone); !errors.Is(o.Err, context.Canceled) {
		t.Errorf("who waits no longer: %v, want context.Canceled", o.Err)
	}
	close(s.stopped)
	s.answer([]*pending{kept}, &taken{index: 1}, false)
	close(s.settled)
	if o := s.lastWord(kept); !errors.Is(o.Err, events.ErrUnknownOutcome) {
		t.Errorf("taken: %v, want events.ErrUnknownOutcome", o.Err)
	}
	if o := s.lastWord(refused); !errors.Is(o.Err, events.ErrClosed) {
		t.Errorf("never tried: %v, want events.ErrClosed", o.Err)
	}
}
