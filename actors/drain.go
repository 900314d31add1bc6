package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Bounds of draining the queue.
const (
	MaxDrain      = 10 * time.Minute      // nothing is admitted meanwhile: callers outside give up long before
	queuePoll     = 10 * time.Millisecond // how often a drain looks whether the queue is empty
	discardWithin = 30 * time.Second      // for the events of what is discarded; guests under way end meanwhile
)

// errDiscarded is why a send was not handled: an operator emptied the queue.
var errDiscarded = errors.New("discarded by an operator who drained the queue")

// Drained is what became of the queue.
type Drained struct {
	Left      Queue         // what waits now; what is held counts as such
	Discarded int           // messages that became dead letters
	Elapsed   time.Duration // until it was empty, or given up
	Cancelled bool          // CancelDrain ended it
}

// Empty reports whether nothing is left that an agent could work on.
func (d Drained) Empty() bool { return d.Left.Ready() == 0 }

// errDrainCancelled is why a drain ended early.
var errDrainCancelled = errors.New("the drain was cancelled")

// drainage is a drain under way.
type drainage struct {
	until  time.Time // at the latest
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed once messages are admitted again
}

// Drain admits no messages from outside, lets agents work off what waits, and admits
// messages again. What agents send to one another meanwhile is part of what waits.
// What is held (by agents that are suspended, say) is neither waited for nor
// discarded. It returns when the queue is empty, or after timeout with what is left;
// with discard that becomes dead letters instead. CancelDrain ends it early: nobody
// else does when its caller is gone.
//
// Errors: *events.InvalidError; events.ErrConflict while another drain is under way;
// ctx's, after which messages are admitted again.
func (g *Gateway) Drain(ctx context.Context, timeout time.Duration, discard bool) (Drained, error) {
	s := g.sys
	if timeout < 0 || timeout > MaxDrain {
		return Drained{}, events.Invalidf("timeout", "must be 0s to %s", MaxDrain)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	d := &drainage{until: began.Add(timeout), cancel: cancel, ended: make(chan struct{})}
	if discard {
		d.until = d.until.Add(discardWithin)
	}
	if !s.draining.CompareAndSwap(nil, d) {
		return Drained{}, fmt.Errorf("%w: the queue is being drained already", events.ErrConflict)
	}
	defer close(d.ended)
	defer s.draining.Store(nil)
	s.log.Info("draining the queue: no messages are admitted", "timeout", timeout)
	out := Drained{}
	empty, err := s.runsEmpty(ctx, timeout)
	if err == nil && !empty && discard {
		before := s.discarded.Load()
		err = s.discard(ctx)
		out.Discarded = int(s.discarded.Load() - before)
	}
	if errors.Is(context.Cause(ctx), errDrainCancelled) {
		out.Cancelled, err = true, nil
	}
	out.Left, out.Elapsed = s.Queue(), time.Since(began)
	s.log.Info("queue drained: messages are admitted again", "cancelled", out.Cancelled, "left", out.Left.Ready(), "discarded", out.Discarded, "elapsed", out.Elapsed)
	return out, err
}

// CancelDrain ends the drain that is under way, whoever began it, and reports whether
// there was one; messages are admitted again then. What was discarded stays so. Errors:
// ctx's.
func (g *Gateway) CancelDrain(ctx context.Context) (bool, error) {
	d := g.sys.draining.Load()
	if d == nil {
		return false, nil
	}
	d.cancel(errDrainCancelled)
	select {
	case <-d.ended:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// DrainsUntil is when the drain under way ends at the latest; zero without one.
func (s *System) DrainsUntil() time.Time {
	if d := s.draining.Load(); d != nil {
		return d.until
	}
	return time.Time{}
}

// takesMessages refuses messages from outside while the queue is being drained.
func (s *System) takesMessages() error {
	if until := s.DrainsUntil(); !until.IsZero() {
		return fmt.Errorf("%w: the queue is being drained, until %s at the latest", events.ErrOverloaded, until.UTC().Format(time.RFC3339))
	}
	return nil
}

// runsEmpty waits until nothing waits that an agent could work on, and reports
// whether that was within limit.
func (s *System) runsEmpty(ctx context.Context, limit time.Duration) (bool, error) {
	own, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	poll := time.NewTicker(queuePoll)
	defer poll.Stop()
	for {
		// The sends of the last turn are counted only once the projections have them.
		if s.Queue().Ready() == 0 && s.caughtUp(own) == nil && s.Queue().Ready() == 0 {
			return true, nil
		}
		select {
		case <-poll.C:
		case <-own.Done():
			return false, ctx.Err()
		}
	}
}

// discard has every message that comes up meet its end unread, until the queue is
// empty: the turns, couriers and inboxes that would deliver it do so.
func (s *System) discard(ctx context.Context) error {
	s.discarding.Store(true)
	defer s.discarding.Store(false)
	for _, b := range s.registry.boxes() {
		b.Hold(false) // a pause after a crash keeps messages back
	}
	s.waker.wake() // those too that could not be woken, and are left alone for a while
	_, err := s.runsEmpty(ctx, discardWithin)
	return err
}

// discard ends a message unread. What came from outside and was acknowledged becomes
// a dead letter here, what an agent sent one in that agent's stream; what was not
// acknowledged is refused; a timer is too, and is due again later.
func (a *agentActor) discard(ctx context.Context, t *turn, e *envelope) error {
	if e.fromAgent {
		t.tell(e, answer{err: errDiscarded})
		return nil
	}
	rev := e.seal()
	if rev == nil {
		t.tell(e, answer{err: fmt.Errorf("%w: %w", events.ErrOverloaded, errDiscarded)})
		return nil
	}
	letter := a.remembered(e, events.MessageDeadLettered{
		Message: e.message, Reason: events.DeadDiscarded, Detail: errDiscarded.Error(), Inbox: rev,
	})
	return a.bury(ctx, t, settled{env: e, answer: answer{delivery: Discarded}}, letter)
}

// remembered is a letter with the message's Idempotency-Key: a repetition is to be told
// of it, and not handled.
func (a *agentActor) remembered(e *envelope, letter events.MessageDeadLettered) events.MessageDeadLettered {
	if e.key != "" {
		at := time.UnixMicro(a.state().Now(a.sys.deps.Now().UnixMicro())).UTC()
		letter.IdempotencyKey, letter.BodyHash, letter.At = e.key, e.bodyHash, &at
	}
	return letter
}
