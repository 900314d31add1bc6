package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// maxTakes is how often an envelope may be taken by turns that came to nothing
// (a panic of the host) before it is blamed for it.
const maxTakes = 3

// message handles one message: it is refused, recognised as handled before, held
// for later, or run.
func (a *agentActor) message(ctx context.Context, t *turn, e *envelope) (verdict, error) {
	st := a.state()
	if !st.Exists() || st.Status == agent.Removed {
		return goOn, a.gone(ctx, t, e)
	}
	if e.timer != nil && !a.timer(ctx, t, e) {
		return goOn, nil
	}
	if e.follows != nil {
		if before := e.follows.undone.Load(); before != nil {
			t.tell(e, *before) // it comes again, behind the one before it
			return goOn, nil
		} // the turn may be lost, and the one before it told something else the next time
	}
	if known, err := a.known(ctx, t, e); known || err != nil {
		return goOn, err
	}
	if e.foreign != "" {
		return goOn, a.endStranger(ctx, t, e)
	}
	if st.Status != agent.Running && (st.Status != agent.Draining || !a.drains(e)) {
		a.hold(t, e, st.Status)
		return goOn, nil
	}
	if t.halted = t.halted || a.sys.halted(); t.halted {
		a.sys.spilled.Add(1)
		a.hold(t, e, agent.Suspended)
		a.rereadInbox() // the stop may be lifted at any moment, and then nothing may go before this
		return goOn, nil
	}
	if a.sys.discarding.Load() {
		return goOn, a.discard(ctx, t, e)
	}
	if !a.guest {
		return giveBack, nil // an emergency stop was lifted since the turn began, or a discard has ended
	}
	run, late := a.expired(e)
	if !late {
		var short error
		if run, short = a.tryRun(ctx, e); short != nil {
			return a.awaitMemory(e, short), nil
		}
	}
	if run.Status == events.OutcomeKilled && a.interrupted(ctx) {
		e.takes--
		a.box.cut()
		return giveBack, nil // a command waits that says why
	}
	if !late {
		a.box.uncut()
	}
	run.Inbox = e.spillRevision() // one that is put there later is closed by flush
	if err := a.storeLarge(ctx, &run); err != nil {
		return goOn, err
	}
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

// gone ends a message for an agent that is no more.
func (a *agentActor) gone(ctx context.Context, t *turn, e *envelope) error {
	ans := answer{err: fmt.Errorf("agent %s: %w", a.id, events.ErrAgentNotFound), final: true}
	if !a.state().Exists() {
		t.tell(e, ans)
		return nil
	}
	if known, err := a.known(ctx, t, e); known || err != nil {
		return err // it ended before the agent did
	}
	return a.unread(ctx, t, e, ans, a.remembered(e, events.MessageDeadLettered{
		Reason: events.DeadAgentNotFound, Detail: "the agent was removed before it came to the message",
	}))
}

// unread ends a message that cannot be run, for the reason that the letter gives.
// One that was acknowledged does not vanish without an event: it becomes that dead
// letter. One that was not is only told.
func (a *agentActor) unread(ctx context.Context, t *turn, e *envelope, ans answer, letter events.MessageDeadLettered) error {
	rev := e.seal()
	if rev == nil || a.state().InboxDone(*rev) {
		t.tell(e, ans)
		return nil
	}
	letter.Message, letter.Inbox = e.message, rev
	return a.bury(ctx, t, settled{env: e, answer: ans}, letter)
}

// bury ends a message that came from outside and was acknowledged with a dead
// letter in this agent's stream.
func (a *agentActor) bury(ctx context.Context, t *turn, s settled, letter events.MessageDeadLettered) error {
	payloads, err := agent.Decide(a.state(), agent.DeadLetter{Event: letter})
	if err != nil {
		return err
	}
	if _, err := a.emit(ctx, t, payloads, a.meta(s.env)); err != nil {
		return err
	}
	s.dead = letter.Reason
	t.settle(s)
	return nil
}

func (a *agentActor) meta(e *envelope) events.Metadata {
	return e.cause.Of(e.message.ID, events.Metadata{
		CorrelationID: e.message.ConversationID, Actor: e.message.Sender, Member: a.sys.deps.Member, TraceParent: e.trace,
	})
}

// known recognises a message that was handled before. Its answer waits for the
// turn, because the first one may stand in this very turn.
func (a *agentActor) known(ctx context.Context, t *turn, e *envelope) (bool, error) {
	st := a.state()
	if e.fromAgent && st.Seen(&e.message) {
		t.settle(settled{env: e, answer: answer{delivery: Handled}})
		return true, nil
	}
	use, ok := st.Key(e.key)
	if e.key == "" || !ok {
		if e.key != "" {
			e.awaitSpill() // where it stands says whether the key has expired
		}
		rev := e.spillRevision()
		if rev == nil || !st.InboxDone(*rev) {
			return false, nil
		}
		if e.key != "" {
			t.tell(e, answer{err: keyExpired(e), final: true})
			return true, nil
		}
		t.settle(settled{env: e, answer: answer{delivery: Handled}})
		return true, nil
	}
	if use.BodyHash != e.bodyHash {
		return true, a.unread(ctx, t, e, answer{err: events.ErrKeyReused, final: true}, events.MessageDeadLettered{
			Reason: events.DeadInvalid, Detail: "its Idempotency-Key stands for " + requestOf(use) + " with another body",
		})
	}
	t.settle(settled{env: e, ended: &use.Revision, lookUp: true})
	return true, nil
}

func requestOf(use agent.KeyUse) string {
	if use.MessageID.IsZero() {
		return "a restart"
	}
	return "message " + use.MessageID.String()
}

// keyExpired is the error of a new request under a key that was used so long ago
// that its answer is forgotten, while the inbox still has its entry. To run it
// would be to run the old request again.
func keyExpired(e *envelope) error {
	return fmt.Errorf("message %s: its Idempotency-Key has expired; use a new one: %w", e.message.ID, events.ErrConflict)
}

// hold keeps a message of an agent that does not run. What another agent sent
// stands in that one's log already, and a timer in its own.
func (a *agentActor) hold(t *turn, e *envelope, status agent.Status) {
	switch {
	case e.fromAgent, e.timer != nil:
		e.note(answer{delivery: Held}) // those of the turn that follow it must not be handled
		t.settle(settled{env: e, answer: answer{delivery: Held}})
	case e.seal() != nil:
		t.settle(settled{env: e, answer: answer{delivery: Held}})
	case status == agent.Failed:
		t.tell(e, answer{err: fmt.Errorf("agent %s: %w", a.id, events.ErrAgentFailed)})
	case status == agent.Stopped || status == agent.Draining:
		t.tell(e, answer{err: fmt.Errorf("agent %s: %w", a.id, events.ErrAgentStopped)})
	default:
		t.held = append(t.held, e)
	}
}

// tryRun runs a message that turns have not come to nothing with too often. One
// that they have is to blame for it: it crashes the agent by name, and is set
// aside in the end. Errors: events.ErrOverloaded when the node has no memory for it.
func (a *agentActor) tryRun(ctx context.Context, e *envelope) (agent.Run, error) {
	if n := a.sys.deps.Running.strikes(messageRun(a.id, e.message.ID)); n >= maxStrikes {
		run := a.newRun(e)
		run.Status, run.Attempts = events.OutcomeNodeCrash, n
		run.Detail = fmt.Sprintf("the node's process ended %d times in a row while it ran", n)
		return run, nil
	}
	if e.takes++; e.takes <= maxTakes {
		return a.run(ctx, e)
	}
	run := a.newRun(e)
	run.Status, run.Detail = events.OutcomeHostFault, fmt.Sprintf("the host failed on it %d times", maxTakes)
	return run, nil
}

// awaitMemory has a message wait that the node has no memory for. It is not the
// agent's fault: no attempt is counted, nothing is written, and the guest, which does
// not survive, gives up what it has.
func (a *agentActor) awaitMemory(e *envelope, short error) verdict {
	e.takes--
	if a.shorts++; a.shorts == 1 {
		a.sys.log.Warn("message waits for the node's memory", slog.String("agent", a.id.String()), slog.Any("err", short))
	}
	a.holdFor(restartBackoff(a.shorts))
	return giveBack
}

// expired ends a message unread whose sender no longer wants an answer. It is told
// all the same: it may have missed the time by little.
func (a *agentActor) expired(e *envelope) (run agent.Run, late bool) {
	by := e.message.ReplyBy
	if by == nil {
		return agent.Run{}, false
	}
	if run = a.newRun(e); run.Host.NowMicros <= by.UnixMicro() {
		return agent.Run{}, false
	}
	run.Status = events.OutcomeExpired
	run.Detail = fmt.Sprintf("its reply_by, %s, had passed when its turn came", by.UTC().Format(time.RFC3339Nano))
	return run, true
}

func (a *agentActor) newRun(e *envelope) agent.Run {
	now := a.sys.deps.Now().UnixMicro()
	if e.timer != nil { // never before its time, whatever the wall clock does
		now = max(now, e.timer.Due.UnixMicro())
	}
	return agent.Run{
		Message: e.message, Key: e.key, BodyHash: e.bodyHash, MeterVersion: meter.Version,
		Host: events.HostRecord{NowMicros: a.state().Now(now), ContentLimit: a.sys.contentLimit()},
	}
}

// longRun is the fuel of a run after which the agent's next one is expected to be long, a
// millisecond or so: beside that, what it costs to keep it from others is little.
const longRun events.Fuel = 2_000_000

// gives reports whether the run of a message is to give way to others. The last before
// it is set aside is not: its time is the clock's, and what made the others time out may
// have been that the node had much else to do.
func (a *agentActor) gives(id events.MessageID) bool {
	return a.long && a.state().CrashAttempts(id) < agent.MaxCrashesOfMessage-1
}

// run runs the guest. What goes wrong is the run's status, but for want of the node's
// memory, events.ErrOverloaded.
func (a *agentActor) run(ctx context.Context, e *envelope) (agent.Run, error) {
	st := a.state()
	run := a.newRun(e)
	if a.live.Guest == nil {
		run.Status = events.OutcomeNoHandler
		return run, nil
	}
	seeded := run.Host
	seeded.Seed = rand.Uint64()
	l := a.sys.licence.Load()
	a.running = a.box.runContext(l.ctx, guestWork{status: st.Status})
	if a.running.Err() != nil || !l.take() {
		run.Status = events.OutcomeKilled // its context has ended: the message waits again
		return run, nil
	}
	defer l.leave()
	what := messageRun(a.id, run.Message.ID)
	a.runs(what)
	out := a.handle(a.running, &run.Message, wasmhost.Call{
		Host: seeded, Fuel: st.Limits.MaxFuel,
		Timeout: time.Duration(st.Limits.MaxExecutionTimeMS) * time.Millisecond, State: st, Agent: st, Long: a.gives(run.Message.ID),
	})
	if out.Short != nil {
		return run, out.Short
	}
	if out.Status != events.OutcomeKilled { // one that was ended early says nothing of what it would have come to
		a.sys.deps.Running.clears(what)
	}
	a.shorts, a.long = 0, out.Fuel >= longRun
	run.Host.Machine = a.live.Module.Machine()
	if out.SeedUsed {
		run.Host.Seed = seeded.Seed
	}
	run.Status, run.GuestStatus, run.Detail = out.Status, out.GuestStatus, out.Detail
	run.Replied, run.Reply, run.Logs, run.State, run.Fuel = out.Replied, out.Reply, out.Logs, out.State, out.Fuel
	for _, c := range out.Timers {
		run.Timers = append(run.Timers, agent.TimerChange(c))
	}
	run.Capabilities = out.Capabilities
	var cut bool
	if run.Sends, cut = a.addressAll(out.Sends, &run.Message); cut {
		a.tainted = true
		run = a.newRun(e)
		run.Status = events.OutcomeKilled // as if the guest had been interrupted: the message waits again
	}
	if n := a.sys.deps.InFlight.LenFrom(a.id) + len(run.Sends); len(run.Sends) > 0 && n > a.sys.mostInFlight {
		run.Status = events.OutcomeEffectsTooLarge
		run.Detail = fmt.Sprintf("%d sends of the agent would be in flight, and at most %d may be", n, a.sys.mostInFlight)
	}
	return run, nil
}

// interrupted reports whether the last run was ended from outside, and not by the
// end of the system.
func (a *agentActor) interrupted(ctx context.Context) bool {
	return ctx.Err() == nil && a.running != nil && a.running.Err() != nil
}

// addressAll finds whom the sends of a run are for. Nobody is given up before the
// projection has seen what was durable by then: the agent may just have been deployed or
// resumed, or have registered the capability. An interruption cuts it off: of a thousand
// sends, each may be to one of many agents.
func (a *agentActor) addressAll(list []events.Message, cause *events.Message) (out []agent.Outgoing, cut bool) {
	waited := false
	for _, m := range list {
		to, err := a.address(m, cause)
		if errors.Is(err, events.ErrAgentNotFound) && !waited {
			waited = true
			a.sys.giveProjectionsTime(a.running)
			to, err = a.address(m, cause)
		}
		if a.running.Err() != nil {
			return nil, true
		}
		if err != nil {
			to.Dead, to.Detail = events.DeadAgentNotFound, err.Error()
		}
		out = append(out, to)
	}
	return out, false
}

// address finds whom a guest's send is for. It is looked up once, now; the log
// keeps the id. An id is looked up as well: the state remembers a sequence for each
// agent that was ever sent to, and there are as many ids as a guest can think of.
func (a *agentActor) address(m events.Message, cause *events.Message) (agent.Outgoing, error) {
	conversation := m.ConversationID
	if conversation == "" {
		conversation = cause.ConversationID
	}
	to, err := a.sys.deps.Agents.ResolveFor(m.Receiver, conversation)
	return agent.Outgoing{Message: m, To: to}, err
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
	first := a.state().Revision - events.Revision(len(payloads)) + 1
	for i, p := range payloads {
		at := first + events.Revision(i)
		switch p := p.(type) {
		case events.MessageHandled:
			done.answer = answer{delivery: Handled, reply: p.Reply}
			done.status, done.fuel, done.ended = p.Outcome, p.Fuel, &at
		case events.MessageFailed:
			done.answer = answer{delivery: Failed, reply: p.Reply}
			done.status, done.fuel, done.ended = p.Outcome, p.Fuel, &at
			// The guest's memory is to be rebuilt, even if it ended well and only
			// what it wanted to keep was refused. It has not seen what had expired.
			if p.Outcome != events.OutcomeExpired {
				next, a.tainted = endTurn, true
			}
		case events.AgentCrashed:
			a.sys.deps.Observer.Crashed()
			a.sys.breakers.report(a.id, e, p.Outcome)
			a.holdFor(time.Duration(p.BackoffMS) * time.Millisecond)
			next = giveBack
		case events.AgentQuarantined:
			done.answer, done.status, done.ended = answer{delivery: Quarantined, reply: p.Reply}, p.Outcome, &at
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
