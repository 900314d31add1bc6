package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// How timers are delivered.
const (
	timerBatch = 256             // on their way at a time, timers and timeouts: each may wake its agent
	timerPlace = 5 * time.Second // how long one that is not dealt with keeps its place from the next
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
	again chan struct{} // holds a token when something may no longer be barred, or a place is free again

	atOnce int
	place  time.Duration
	taken  atomic.Int64 // places, at most atOnce; taken by run alone
}

func newTimekeeper(sys *System) *timekeeper {
	return &timekeeper{sys: sys, again: make(chan struct{}, 1), atOnce: timerBatch, place: timerPlace}
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
	if !c.sys.awaitReady(ctx) { // half a log would know timers that have fired
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
	due := c.sys.deps.Timers.TakeDue(now, c.places())
	for _, d := range due {
		c.deliver(ctx, d)
	}
	expired := c.sys.deps.Talks.TakeExpired(now, c.places())
	for _, e := range expired {
		c.expire(ctx, e)
	}
	if at, ok := c.sendsDue(); ok && !at.After(now) {
		c.swept = now
		c.sys.deps.InFlight.Expire(now)
	}
	return len(due)+len(expired) > 0 && c.places() > 0
}

// places is how many more may be on their way now. Whoever gives one back when there
// was none calls resume.
func (c *timekeeper) places() int { return c.atOnce - int(c.taken.Load()) }

// takePlace takes one for what is given to an agent; leave gives it back, at the
// latest after c.place: one whose agent takes its time keeps nobody else from theirs.
func (c *timekeeper) takePlace() (leave func()) {
	c.taken.Add(1)
	once := sync.OnceFunc(func() {
		if int(c.taken.Add(-1)) == c.atOnce-1 {
			c.resume()
		}
	})
	late := time.AfterFunc(c.place, once)
	return func() {
		late.Stop()
		once()
	}
}

// doze is how long there is nothing to do.
func (c *timekeeper) doze() time.Duration {
	doze, now := maxDoze, time.Now()
	if c.places() > 0 {
		if at, ok := c.sys.deps.Timers.Next(); ok {
			doze = min(doze, at.Sub(now))
		}
		if at, ok := c.sys.deps.Talks.Next(); ok {
			doze = min(doze, at.Sub(now))
		}
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
	leave := c.takePlace()
	env.done = func(a answer) {
		defer leave()
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
	leave := c.takePlace()
	env.done = func(a answer) {
		defer leave()
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
	rec, p, err := events.PayloadAt(ctx, a.sys.deps.Store, a.id, rev)
	if err != nil {
		return true, err
	}
	if set, ok := p.(events.TimerSet); ok && set.Timer == id {
		if e.cause, err = events.CauseOf(rec, set.SetBy); err == nil {
			e.message = set.Message(a.id)
		}
		return true, err
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
