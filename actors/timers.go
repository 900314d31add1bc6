package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// How timers are delivered.
const (
	timerBatch = 256             // given out between two looks at the clock
	timerRetry = 5 * time.Second // after a delivery that came to nothing
	sweepEvery = time.Second     // at most, all sends in flight are looked at for their deadlines
	maxDoze    = time.Minute     // between two looks at the clock: a step of the machine's clock is noticed this late
)

// timekeeper delivers timers as projections.Timers tells, and has conversations and
// sends time out as projections.Conversations and InFlight tell. A timer is in the log until
// the event that ends its message, so one that is lost on the way, in a crash for
// instance, is due again.
type timekeeper struct {
	sys   *System
	swept time.Time     // when sends were last looked at for their deadlines
	again chan struct{} // holds a token when something may no longer be barred
}

func newTimekeeper(sys *System) *timekeeper {
	return &timekeeper{sys: sys, again: make(chan struct{}, 1)}
}

// resume has it look again at what is due.
func (c *timekeeper) resume() {
	select {
	case c.again <- struct{}{}:
	default: // a token lies there already
	}
}

// run delivers what is due until ctx ends.
func (c *timekeeper) run(ctx context.Context) {
	select { // half a log would know timers that have fired
	case <-c.sys.deps.Runner.Ready():
	case <-ctx.Done():
		return
	}
	timers, talks, flight := c.sys.deps.Timers, c.sys.deps.Talks, c.sys.deps.InFlight
	alarm := time.NewTimer(maxDoze)
	defer alarm.Stop()
	for {
		if c.round(ctx) && ctx.Err() == nil {
			continue
		}
		doze := maxDoze
		if !c.barred() {
			doze = c.doze()
		}
		alarm.Reset(doze)
		select {
		case <-ctx.Done():
			return
		case <-timers.Changed():
		case <-talks.Changed():
		case <-flight.Sooner():
		case <-c.again:
		case <-alarm.C:
		}
	}
}

// barred reports whether nothing may be delivered: there is no room, or no guest may
// run. Whatever ends that calls resume.
func (c *timekeeper) barred() bool { return c.sys.halted() || c.sys.deps.Room.Admit() != nil }

// round deals with what is due now, unless it is barred, and reports whether there
// may be more.
func (c *timekeeper) round(ctx context.Context) (more bool) {
	if c.barred() {
		return false
	}
	now := time.Now()
	due, expired := c.sys.deps.Timers.TakeDue(now, timerBatch), c.sys.deps.Talks.TakeExpired(now, timerBatch)
	for _, d := range due {
		c.deliver(ctx, d)
	}
	for _, e := range expired {
		c.expire(ctx, e)
	}
	if at, ok := c.sendsDue(); ok && !at.After(now) {
		c.swept = now
		c.sys.deps.InFlight.Expire(now)
	}
	return len(due) == timerBatch || len(expired) == timerBatch
}

// doze is how long there is nothing to do.
func (c *timekeeper) doze() time.Duration {
	doze, now := maxDoze, time.Now()
	if at, ok := c.sys.deps.Timers.Next(); ok {
		doze = min(doze, at.Sub(now))
	}
	if at, ok := c.sys.deps.Talks.Next(); ok {
		doze = min(doze, at.Sub(now))
	}
	if at, ok := c.sendsDue(); ok {
		doze = min(doze, at.Sub(now))
	}
	return max(doze, 0)
}

// sendsDue is when to look for sends whose deadline has passed.
func (c *timekeeper) sendsDue() (at time.Time, ok bool) {
	at, ok = c.sys.deps.InFlight.Soonest()
	if soon := c.swept.Add(sweepEvery); at.Before(soon) {
		at = soon
	}
	return at, ok
}

// expire has the agent that waits record that its conversation has timed out.
func (c *timekeeper) expire(ctx context.Context, e projections.Expired) {
	env := newEnvelope()
	env.command = agent.TimeOut{Event: e.Event}
	env.done = func(a answer) {
		if (a.err != nil || a.delivery == Held) && ctx.Err() == nil {
			c.sys.deps.Talks.Return(e, time.Now().Add(timerRetry))
		}
	}
	if _, err := c.sys.registry.offer(e.Agent, env); err != nil {
		env.respond(answer{err: err})
	}
}

// deliver gives a due timer to its agent, and takes it back if nothing came of
// it. Those of an agent that is held wait with it all the same, until it goes on.
func (c *timekeeper) deliver(ctx context.Context, d projections.DueTimer) {
	env := newEnvelope()
	env.timer = &d
	env.done = func(a answer) {
		if (a.err != nil || a.delivery == Held) && ctx.Err() == nil && !errors.Is(a.err, events.ErrAgentNotFound) {
			c.sys.deps.Timers.Return(d, time.Now().Add(timerRetry))
		}
	}
	if _, err := c.sys.registry.offer(d.Agent, env); err != nil {
		env.respond(answer{err: err})
	}
}

// timerMessage reads what a due timer says, from the event that set it. pending
// is false when it has fired or was cancelled meanwhile.
func (a *agentActor) timerMessage(ctx context.Context, e *envelope) (pending bool, err error) {
	id := e.timer.Timer
	rev, ok := a.state().TimerRevision(id)
	if !ok {
		return false, nil
	}
	if !e.message.ID.IsZero() {
		return true, nil // read before a run that may pass
	}
	rec, err := events.EventAt(ctx, a.sys.deps.Store, a.id, rev)
	if err != nil {
		return true, err
	}
	p, err := events.Decode(rec.Event)
	if err != nil {
		return true, err
	}
	if set, ok := p.(events.TimerSet); ok && set.Timer == id {
		e.message = set.Message(a.id)
		return true, nil
	}
	return true, &events.CorruptError{
		Where:  fmt.Sprintf("%s, revision %d", events.AgentStream(a.id), rev),
		Reason: fmt.Sprintf("is not where timer %d was set", id),
	}
}

// timer makes a due timer's envelope a message, or settles it. run says whether
// there is a message to run.
func (a *agentActor) timer(ctx context.Context, t *turn, e *envelope) (run bool) {
	pending, err := a.timerMessage(ctx, e)
	switch {
	case err != nil:
		t.tell(e, answer{err: err})
	case !pending:
		t.settle(settled{env: e, answer: answer{delivery: Handled}})
	default:
		return true
	}
	return false
}
