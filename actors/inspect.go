package actors

import (
	"context"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// Queue is what waits on this node.
type Queue struct {
	Mailboxes int           // messages and commands in mailboxes, those of turns under way included
	Elsewhere int           // of Mailboxes: messages that are counted in Inboxes or InFlight too
	Oldest    time.Duration // that the one that has been there for longest has been there; 0 without any
	Inboxes   int           // messages accepted from outside that stand in inboxes
	InFlight  int           // sends between agents that no event has ended
	Held      int           // of Inboxes and InFlight: for agents that do not run; all, in an emergency stop
	Draining  time.Time     // until when, at the latest, a drain admits nothing from outside; zero: none does
}

// Ready is 0 when there is nothing that an agent could work on now.
func (q Queue) Ready() int { return q.Mailboxes + q.Inboxes + q.InFlight - q.Held }

// Waiting is how many messages, and commands, that is: each once, however many places
// it stands in.
func (q Queue) Waiting() int { return max(q.Ready()-q.Elsewhere, 0) }

// Queue counts what waits. It asks mailboxes and projections one after the other, so
// a message on its way may be counted twice, and not at all.
func (s *System) Queue() Queue {
	q := Queue{Draining: s.DrainsUntil()}
	for _, b := range s.registry.boxes() {
		n, age := b.Depth()
		q.Mailboxes, q.Elsewhere = q.Mailboxes+n, q.Elsewhere+b.Elsewhere()
		q.Oldest = max(q.Oldest, age)
	}
	q.Inboxes, q.InFlight = s.deps.Inboxes.Len(), s.deps.InFlight.Len()
	if s.halted() {
		q.Held = q.Inboxes + q.InFlight
		return q
	}
	q.Held = q.Inboxes - s.deps.Inboxes.Runnable()
	for to, n := range s.deps.InFlight.Receivers() {
		if !s.runs(to) {
			q.Held += n
		}
	}
	return q
}

// runs reports whether an agent takes messages. One that is gone does, in a sense:
// what was sent to it becomes dead letters.
func (s *System) runs(id events.AgentID) bool {
	v, ok := s.deps.Agents.Get(id)
	return !ok || v.Status == "running" || v.Status == "draining"
}

// awaitReady waits until the projections have come to the log's end once, and reports
// whether they have; not when ctx ends before.
func (s *System) awaitReady(ctx context.Context) bool {
	select {
	case <-s.deps.Runner.Ready():
		return true
	case <-ctx.Done():
		return false
	}
}

// isReady reports whether the projections have come to the log's end once.
func (s *System) isReady() bool {
	select {
	case <-s.deps.Runner.Ready():
		return true
	default:
		return false
	}
}

// caughtUp waits until the projections have seen everything that was durable when it
// was called.
func (s *System) caughtUp(ctx context.Context) error {
	last, ok, err := projections.LastFollowed(ctx, s.deps.Store)
	if err != nil || !ok {
		return err
	}
	return s.deps.Runner.WaitFor(ctx, last)
}

// projectionLag is how long a turn, or a message, waits for the projection when that knows
// nobody that a message could be for. Neither does anything else meanwhile.
const projectionLag = time.Second

// giveProjectionsTime waits until they have caught up, or for projectionLag: too late is as
// if nobody was there.
func (s *System) giveProjectionsTime(ctx context.Context) {
	own, cancel := context.WithTimeout(ctx, projectionLag)
	defer cancel()
	_ = s.caughtUp(own)
}
