package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// maxTakes is how often a message may be taken by turns that came to nothing
// (a panic of the host) before it is refused.
const maxTakes = 3

// message handles one message: it is refused, recognised as handled before, held
// for later, or run.
func (a *agentActor) message(ctx context.Context, t *turn, e *envelope) (verdict, error) {
	st := a.state()
	if !st.Exists() || st.Status == agent.Removed {
		e.respond(answer{err: fmt.Errorf("agent %s: %w", a.id, events.ErrAgentNotFound)})
		return goOn, nil
	}
	if e.follows != nil {
		if before := e.follows.undone.Load(); before != nil {
			e.respond(*before) // it comes again, behind the one before it
			return goOn, nil
		}
		e.follows = nil
	}
	if known, err := a.known(ctx, t, e); known || err != nil {
		return goOn, err
	}
	if st.Status != agent.Running && (st.Status != agent.Draining || !a.drains(e)) {
		a.hold(t, e, st.Status)
		return goOn, nil
	}
	if a.sys.discarding.Load() {
		return goOn, a.discard(ctx, t, e)
	}
	if e.takes++; e.takes > maxTakes {
		e.respond(answer{err: fmt.Errorf("message %s: the host failed on it %d times", e.message.ID, maxTakes)})
		return goOn, nil
	}
	// Read before the run: a message that is spilled meanwhile is sealed after.
	run := a.run(ctx, e)
	if run.Status == events.OutcomeKilled && a.interrupted(ctx) {
		e.takes--
		return giveBack, nil // a command waits that says why
	}
	run.Inbox = e.seal()
	payloads, err := agent.Decide(st, agent.Finish{Run: run})
	if err != nil {
		return goOn, err
	}
	payloads, err = a.emitRun(ctx, t, run, payloads, a.meta(e))
	if err != nil {
		return goOn, err
	}
	return a.after(t, e, payloads), nil
}

func (a *agentActor) meta(e *envelope) events.Metadata {
	return events.Metadata{
		CorrelationID: e.message.ConversationID, CausationID: e.message.ID.String(),
		Actor: e.message.Sender, Member: a.sys.deps.Member, TraceParent: e.trace,
	}
}

// known recognises a message that was handled before. Its answer waits for the
// turn, because the first one may stand in this very turn.
func (a *agentActor) known(ctx context.Context, t *turn, e *envelope) (bool, error) {
	st := a.state()
	if from, ok := e.message.FromAgent(); ok && e.fromAgent && st.Seen(from, e.message.Sequence) {
		t.settle(settled{env: e, answer: answer{delivery: Handled}})
		return true, nil
	}
	use, ok := st.Key(e.key)
	if e.key == "" || !ok {
		if rev := e.spillRevision(); rev != nil && st.InboxDone(*rev) {
			t.settle(settled{env: e, answer: answer{delivery: Handled}})
			return true, nil
		}
		return false, nil
	}
	if use.BodyHash != e.bodyHash {
		e.respond(answer{err: events.ErrKeyReused})
		return true, nil
	}
	if rev := e.seal(); rev != nil && !st.InboxDone(*rev) {
		skip := events.InboxSkipped{MessageID: e.message.ID, Inbox: *rev, HandledAt: use.Revision}
		payloads, err := agent.Decide(st, agent.SkipInbox{Event: skip})
		if err != nil {
			return false, err
		}
		if _, err := a.emit(ctx, t, payloads, a.meta(e)); err != nil {
			return false, err
		}
	}
	t.settle(settled{env: e, lookUp: &use.Revision})
	return true, nil
}

// hold keeps a message of an agent that does not run. What another agent sent
// stands in that one's log already.
func (a *agentActor) hold(t *turn, e *envelope, status agent.Status) {
	switch {
	case e.fromAgent:
		t.settle(settled{env: e, answer: answer{delivery: Held}})
	case e.seal() != nil:
		t.settle(settled{env: e, answer: answer{delivery: Held}})
	case status == agent.Failed:
		e.respond(answer{err: fmt.Errorf("agent %s: %w", a.id, events.ErrAgentFailed)})
	case status == agent.Stopped || status == agent.Draining:
		e.respond(answer{err: fmt.Errorf("agent %s: %w", a.id, events.ErrAgentStopped)})
	default:
		t.held = append(t.held, e)
	}
}

// run runs the guest. It never fails: what goes wrong is the run's status.
func (a *agentActor) run(ctx context.Context, e *envelope) agent.Run {
	st := a.state()
	run := agent.Run{
		Message: e.message, Key: e.key, BodyHash: e.bodyHash, MeterVersion: meter.Version,
		Host: events.HostRecord{NowMicros: st.Now(a.sys.deps.Now().UnixMicro())},
	}
	if a.live.Guest == nil {
		run.Status = events.OutcomeNoHandler
		return run
	}
	seeded := run.Host
	seeded.Seed = rand.Uint64()
	a.running = a.box.runs.context(ctx)
	out := a.live.Guest.Handle(a.running, wasmhost.Call{
		Message: &run.Message, Host: seeded, Fuel: st.Limits.MaxFuel,
		Timeout: time.Duration(st.Limits.MaxExecutionTimeMS) * time.Millisecond, State: st,
	})
	if out.SeedUsed {
		run.Host.Seed = seeded.Seed
	}
	run.Status, run.GuestStatus, run.Detail = out.Status, out.GuestStatus, out.Detail
	run.Replied, run.Reply, run.Logs, run.State, run.Fuel = out.Replied, out.Reply, out.Logs, out.State, out.Fuel
	for _, m := range out.Sends {
		run.Sends = append(run.Sends, a.address(m))
	}
	return run
}

// interrupted reports whether the last run was ended from outside, and not by the
// end of the system.
func (a *agentActor) interrupted(ctx context.Context) bool {
	return ctx.Err() == nil && a.running != nil && a.running.Err() != nil
}

// address finds whom a guest's send is for. It is looked up once, now; the log
// keeps the id.
func (a *agentActor) address(m events.Message) agent.Outgoing {
	out := agent.Outgoing{Message: m}
	id, err := events.ParseAgentID(m.Receiver)
	if err != nil {
		id, err = a.sys.deps.Agents.Resolve(m.Receiver)
	}
	if err != nil {
		out.Dead, out.Detail = events.DeadAgentNotFound, err.Error()
		return out
	}
	out.To = id
	return out
}

// emitRun adds the events of a run. Should they not fit an append, the run ends
// with EffectsTooLarge instead.
func (a *agentActor) emitRun(ctx context.Context, t *turn, run agent.Run, payloads []events.Payload, md events.Metadata) ([]events.Payload, error) {
	payloads, err := a.emit(ctx, t, payloads, md)
	if !errors.Is(err, events.ErrTooLarge) {
		return payloads, err
	}
	a.tainted = true // the guest itself ended well
	run.Status, run.Detail = events.OutcomeEffectsTooLarge, err.Error()
	run.Logs = nil // they may be what is too large
	if payloads, err = agent.Decide(a.state(), agent.Finish{Run: run}); err != nil {
		return nil, err
	}
	return a.emit(ctx, t, payloads, md)
}

// after decides how the turn goes on, from what the run became.
func (a *agentActor) after(t *turn, e *envelope, payloads []events.Payload) verdict {
	next, done := goOn, settled{env: e}
	for _, p := range payloads {
		switch p := p.(type) {
		case events.MessageHandled:
			done.answer = answer{delivery: Handled, reply: p.Reply}
			done.status, done.fuel = p.Outcome, p.Fuel
		case events.MessageFailed:
			done.answer = answer{delivery: Failed, reply: p.Reply}
			done.status, done.fuel = p.Outcome, p.Fuel
			next = endTurn // the guest's memory is to be rebuilt
		case events.AgentCrashed:
			a.sys.deps.Observer.Crashed()
			a.holdFor(time.Duration(p.BackoffMS) * time.Millisecond)
			next = giveBack
		case events.AgentQuarantined:
			done.answer, done.status = answer{delivery: Quarantined, reply: p.Reply}, p.Outcome
			next = endTurn
		}
	}
	if next == giveBack {
		e.takes = 0 // counted by its AgentCrashed events
		return next
	}
	t.settle(done)
	return next
}
