package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// How agents' sends are delivered.
const (
	sendBatch      = 64                   // of one pair, unacknowledged, at a time
	sendBatchBytes = 256 << 10            // of their contents; the last may pass it. carryAtOnce times twice that is held at most
	sendAttempts   = 3                    // that end in an error, before a dead letter
	sendBackoff    = time.Second          // after the first such attempt; doubles
	fullBackoff    = 5 * time.Millisecond // after a full mailbox, or a full host; doubles up to fullBackoffMax
	fullBackoffMax = 500 * time.Millisecond

	// maxInFlight bounds the sends of one agent that nobody has handled: an agent that
	// is held keeps those to it for a week, and each takes 60 bytes of memory meanwhile.
	maxInFlight = 1_000_000
)

// round delivers one batch. It returns how long to pause before the next, and
// whether the receiver is held, or there is no room: then only its resumption, or
// room, makes a next one.
func (d *dispatcher) round(ctx context.Context, c *courier) (pause time.Duration, held bool) {
	next := d.sys.deps.InFlight.Next(c.pair, c.after, sendBatch)
	if len(next) == 0 {
		return 0, false
	}
	if d.sys.deps.Room.Admit() != nil {
		return 0, true
	}
	if s, late := d.overdue(c.pair, next); late {
		return d.tooLate(ctx, c, s)
	}
	list, err := d.load(ctx, c.pair.From, next)
	if err != nil {
		if ctx.Err() == nil {
			d.sys.log.Error("sends unreadable", slog.String("agent", c.pair.From.String()), slog.Any("err", err))
		}
		return sendBackoff, false
	}
	offered, offerErr := d.offer(c.pair.To, list)
	for _, env := range offered {
		ans, err := waitAnswer(ctx, env, nil, answer{})
		if err == nil {
			err = ans.err
		}
		if err != nil {
			return d.failed(ctx, c, env, err)
		}
		if ans.delivery == Held {
			return 0, true
		}
		c.after, c.fails, c.waits = env.message.Sequence, 0, 0
	}
	if offerErr != nil {
		return d.failed(ctx, c, list[len(offered)], offerErr)
	}
	return 0, false
}

// overdue returns a send whose deadline has passed: of those that come next, or of any
// that the sweep has found.
func (d *dispatcher) overdue(pair projections.Pair, next []projections.Sent) (projections.Sent, bool) {
	now := time.Now()
	if i := slices.IndexFunc(next, func(s projections.Sent) bool { return !s.Deadline.After(now) }); i >= 0 {
		return next[i], true
	}
	return d.sys.deps.InFlight.Overdue(pair, now)
}

// tooLate gives up one send whose deadline has passed, wherever it stands in the
// order: those before it may have more time.
func (d *dispatcher) tooLate(ctx context.Context, c *courier, s projections.Sent) (pause time.Duration, held bool) {
	list, err := d.load(ctx, c.pair.From, []projections.Sent{s})
	if err != nil {
		return sendBackoff, false
	}
	why := fmt.Errorf("%w: it was to be delivered by %s", events.ErrMessageTimeout, s.Deadline.UTC().Format(time.RFC3339Nano))
	after, fails := c.after, c.fails
	pause, held = d.giveUp(ctx, c, list[0], events.DeadTimeout, why)
	c.after, c.fails = after, fails // what stands before it is not dealt with
	return pause, held
}

// offer puts envelopes into the receiver's mailbox, in order, up to the first
// that is refused.
func (d *dispatcher) offer(to events.AgentID, list []*envelope) ([]*envelope, error) {
	for i, env := range list {
		var err error
		if env.claims, err = d.sys.breakers.admit(to); err == nil {
			_, err = d.sys.registry.offer(to, env)
		}
		if err != nil {
			env.respond(answer{err: err})
			return list[:i], err
		}
	}
	return list, nil
}

// failed decides what an error means for the send it met.
func (d *dispatcher) failed(ctx context.Context, c *courier, env *envelope, err error) (pause time.Duration, held bool) {
	switch {
	case ctx.Err() != nil || errors.Is(err, events.ErrShuttingDown):
		return 0, true
	case errors.Is(err, events.ErrMailboxFull), errors.Is(err, events.ErrOverloaded): // no memory for its guest
		c.waits++
		return min(fullBackoff<<min(c.waits-1, 10), fullBackoffMax), false
	case errors.Is(err, events.ErrAgentFailed), errors.Is(err, events.ErrDiskLow):
		return 0, true
	case errors.Is(err, events.ErrBreakerOpen) && d.holds(c.pair.To):
		return 0, true
	case errors.Is(err, errDiscarded):
		d.sys.discarded.Add(1)
		return d.giveUp(ctx, c, env, events.DeadDiscarded, err)
	case errors.Is(err, events.ErrAgentNotFound):
		return d.giveUp(ctx, c, env, events.DeadAgentNotFound, err)
	}
	if c.fails++; c.fails < sendAttempts {
		return sendBackoff << (c.fails - 1), false
	}
	if errors.Is(err, events.ErrBreakerOpen) {
		return d.giveUp(ctx, c, env, events.DeadBreakerOpen, err)
	}
	return d.giveUp(ctx, c, env, events.DeadRefused, err)
}

// holds reports whether a receiver would hold what it is sent, as far as is known here: a
// breaker that keeps a send from one that takes nothing anyway uses up no attempt. What
// ends that marks the pair: a lift all, and the receiver's resumption, restart or removal
// its own, in InFlight, which folds each event after Agents. So a courier that has seen
// the old status is told that there is more.
func (d *dispatcher) holds(to events.AgentID) bool {
	if d.sys.halted() {
		return true
	}
	v, ok := d.sys.deps.Agents.Get(to)
	return ok && agent.Status(v.Status) != agent.Running
}

// giveUp has the sender record a dead letter: one writer for each stream. A courier may
// have found a send in flight that an earlier one had delivered; that is not given up.
func (d *dispatcher) giveUp(ctx context.Context, c *courier, env *envelope, reason events.DeadLetterReason, cause error) (time.Duration, bool) {
	if over, err := d.over(ctx, c.pair, env.message.Sequence); err != nil || over {
		if err != nil {
			return sendBackoff, false
		}
		c.after, c.fails = env.message.Sequence, 0
		return 0, false
	}
	letter := newEnvelope()
	letter.cause = env.cause
	letter.command = agent.DeadLetter{Event: events.MessageDeadLettered{
		Message: env.message, Reason: reason, Detail: cause.Error(), Attempts: max(c.fails, 1),
	}}
	ans, err := d.sys.ask(ctx, c.pair.From, letter)
	if err == nil { // or another courier would find the send in flight still
		err = d.sys.deps.Runner.WaitFor(ctx, ans.position)
	}
	if err != nil {
		if ctx.Err() == nil {
			d.sys.log.Error("dead letter not recorded", slog.String("agent", c.pair.From.String()), slog.Any("err", err))
		}
		return sendBackoff, false
	}
	d.sys.deps.Observer.DeadLettered(reason)
	c.after, c.fails = env.message.Sequence, 0
	return 0, false
}

// over reports whether a send is no longer in flight, once all that is in the log now
// has been seen.
func (d *dispatcher) over(ctx context.Context, pair projections.Pair, seq uint64) (bool, error) {
	if err := d.sys.caughtUp(ctx); err != nil {
		return false, err
	}
	next := d.sys.deps.InFlight.Next(pair, seq-1, 1)
	return len(next) == 0 || next[0].Sequence != seq, nil
}

// load reads messages from the sender's stream, as many as a round carries. Several may
// stand in one event.
func (d *dispatcher) load(ctx context.Context, from events.AgentID, list []projections.Sent) ([]*envelope, error) {
	out := make([]*envelope, 0, len(list))
	var sends []events.Message
	var cause events.Cause
	var at events.Revision
	size := 0
	for i, s := range list {
		if size >= sendBatchBytes {
			break // the next round carries the rest
		}
		if i == 0 || s.Revision != at {
			var err error
			if sends, cause, err = d.sends(ctx, from, s.Revision); err != nil {
				return nil, err
			}
			at = s.Revision
		}
		if s.Index >= len(sends) {
			return nil, &events.CorruptError{Where: string(events.AgentStream(from)), Reason: "send missing from its event"}
		}
		env := newEnvelope()
		env.message, env.fromAgent, env.cause = sends[s.Index], true, cause
		if i > 0 {
			env.follows = out[i-1]
		}
		out, size = append(out, env), size+env.message.ContentSize()
	}
	return out, nil
}

// sends reads what an event of an agent sent, and what that came of.
func (d *dispatcher) sends(ctx context.Context, from events.AgentID, rev events.Revision) (list []events.Message, cause events.Cause, err error) {
	rec, p, err := events.PayloadAt(ctx, d.sys.deps.Store, from, rev)
	if err != nil {
		return nil, cause, err
	}
	var handled events.MessageID
	switch p := p.(type) {
	case events.MessageHandled:
		list, handled = p.Sends, p.Message.ID
	case events.MessageFailed:
		list, handled = p.Sends, p.Message.ID
	case events.AgentQuarantined:
		list, handled = p.Sends, p.Message.ID
	}
	cause, err = events.CauseOf(rec, handled)
	return list, cause, err
}
