package actors

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// MaxGrace is the longest that stopping an agent may take: what waits longer is
// better kept than worked off.
const MaxGrace = time.Hour

// StopRequest asks for an agent to be put out of service.
type StopRequest struct {
	Command
	Drain bool          // work off what waits first; what does not run has nothing worked off
	Grace time.Duration // 0 to MaxGrace: for that, and for the message under way

	// Patience is how long the caller waits for it to be durable, before it is told that
	// the stop waits for the guest; 0 is until it is.
	Patience time.Duration
}

// Stopped says how far a StopRequest has come.
type Stopped struct {
	Position events.Position // of the event that made it durable
	Waits    bool            // it is not yet: see Gateway.Stop
}

// Stop puts an agent out of service until it is resumed or restarted, and returns
// when that is durable: at once, or, if messages are to be drained, when it has
// begun. Whatever the guest does, it is stopped soon after Grace; a message that was
// under way then counts as not begun. What was acknowledged and is not handled is
// kept for when the agent is resumed; new messages from outside are refused, those
// of agents wait with their senders. Stopping a stopped agent changes nothing, nor does
// asking one that drains to drain: it has the time that it was given first.
//
// With Patience it also returns while the stop still waits for the guest, which ends soon
// after Grace: the agent takes nothing new by then, and the stop is made in its turn. The
// end of the process before that loses it, and a log that cannot be written, which is logged.
//
// Errors: events.ErrAgentNotFound, *events.InvalidError, and events.ErrUnknownOutcome
// when ctx ended before the agent ended its turn.
func (g *Gateway) Stop(ctx context.Context, r StopRequest) (Stopped, error) {
	if r.Grace < 0 || r.Grace > MaxGrace {
		return Stopped{}, events.Invalidf("grace_period_seconds", "must be 0 to %d", int(MaxGrace.Seconds()))
	}
	env := newEnvelope()
	env.principal, env.trace = r.Principal, r.TraceParent
	env.urgent, env.grace = true, r.Grace // the actor cannot see the command while its guest runs
	env.command = agent.Stop{Reason: r.Reason, Drain: r.Drain, Grace: r.Grace, Until: g.sys.deps.Now().Add(r.Grace)}
	var left atomic.Bool // the caller was told that it waits
	env.done = func(ans answer) {
		if ans.err != nil && left.Load() && !errors.Is(ans.err, events.ErrAgentNotFound) {
			g.sys.log.Error("stop that waited for the guest is lost; ask for it again", slog.String("agent", r.Agent.String()), slog.Any("err", ans.err))
		}
	}
	if _, err := g.sys.registry.offer(r.Agent, env); err != nil {
		return Stopped{}, err
	}
	return awaitStop(ctx, env, r.Patience, &left)
}

// awaitStop waits for the answer to a stop, for as long as the caller has patience.
func awaitStop(ctx context.Context, env *envelope, patience time.Duration, left *atomic.Bool) (Stopped, error) {
	var expired <-chan time.Time
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		expired = t.C
	}
	select {
	case ans := <-env.answer:
		return Stopped{Position: ans.position}, ans.err
	case <-ctx.Done():
		return Stopped{}, unsettled(ctx)
	case <-expired:
	}
	left.Store(true)
	select {
	case ans := <-env.answer: // given before done could know
		return Stopped{Position: ans.position}, ans.err
	default:
		return Stopped{Waits: true}, nil
	}
}

// Restart has an agent's guest begin anew with a fresh memory, and lets the agent
// run whatever its state: its durable state and its inbox are as they were. The
// message under way ends first, by its own means or after runGrace.
// With an Idempotency-Key it happens once: a repetition is told where, and changes nothing.
// Errors: as of Resume, events.ErrKeyReused, *events.InvalidError (the key is too long),
// events.ErrConflict when another command ended the guest that was to begin.
func (g *Gateway) Restart(ctx context.Context, c Command) (events.Position, error) {
	cmd := agent.Restart{Reason: c.Reason}
	if len(c.IdempotencyKey) > events.MaxKeyLength {
		return 0, events.Invalidf("Idempotency-Key", "must be at most %d bytes", events.MaxKeyLength)
	}
	if c.IdempotencyKey != "" {
		var err error
		if cmd.BodyHash, err = hashBody(struct{ Restart, Reason string }{c.Agent.String(), c.Reason}); err != nil {
			return 0, err
		}
		cmd.Key, cmd.At = agent.ScopedKey(c.Principal, c.IdempotencyKey), g.sys.deps.Now()
	}
	return g.hurry(ctx, c, cmd)
}

// stops reports whether an agent in this status is stopped, or about to be.
func stops(s agent.Status) bool { return s == agent.Draining || s == agent.Stopped }

// comesTo is the status that a command would leave an agent in, as far as that can be told
// from the one before it, which is empty when it is not known.
func comesTo(before agent.Status, cmd agent.Command) agent.Status {
	switch c := cmd.(type) {
	case agent.Resume, agent.Restart:
		return agent.Running
	case agent.Suspend:
		if before == agent.Running {
			return agent.Suspended
		}
	case agent.Stop:
		if c.Drain && (before == agent.Running || before == agent.Draining || before == "") {
			return agent.Draining
		}
		return agent.Stopped
	case agent.EndStop:
		if before == agent.Draining {
			return agent.Stopped
		}
	}
	return before
}

// ahead is the status in which a command finds the agent, which has this one now, when all
// commands before it are done; nil is one that would come now. Caller holds mu.
func (b *Mailbox) ahead(status agent.Status, until *envelope) agent.Status {
	lists := [][]*envelope{b.turn, b.commands.items()}
	if len(b.turn) > 0 && !b.turn[0].isCommand() { // one of messages holds no command
		lists = lists[1:]
	}
	for _, list := range lists {
		for _, e := range list {
			if e == until {
				return status
			}
			status = comesTo(status, e.command)
		}
	}
	return status
}

// comes is ahead for a command that would come now.
func (b *Mailbox) comes() agent.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ahead(b.status, nil)
}

// know says in which status the agent is, durably; empty when that is to be read anew.
func (b *Mailbox) know(s agent.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = s
}

// withdraw takes a message back that waits for its turn, and reports whether it did: no
// turn will have it then, whatever becomes of the agent.
func (b *Mailbox) withdraw(e *envelope) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting.class[rank(e)].remove(e)
}

// hasEarlier reports whether the message of a late envelope is here in one that is not.
func (b *Mailbox) hasEarlier(late *envelope) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, list := range b.lists() {
		for _, e := range list {
			if e != late && !e.isCommand() && !e.late && e.message.ID == late.message.ID {
				return true
			}
		}
	}
	return false
}

// isLate reports whether a message that waits came when its agent was stopped or to be. A
// mailbox that does not know its agent yet was made for one that slept, which reads show.
func (s *System) isLate(ctx context.Context, to events.AgentID, e *envelope, box *Mailbox) bool {
	if e.late || box.comes() != "" {
		return e.late
	}
	return s.shownStopped(to) && s.caughtUp(ctx) == nil && s.shownStopped(to)
}

func (s *System) shownStopped(id events.AgentID) bool {
	view, _ := s.deps.Agents.Get(id)
	return stops(agent.Status(view.Status))
}

// isKnown reports whether a late message was taken before under its key, and whether that
// is sure: then one that was not can be refused though the guest keeps the actor busy.
func (s *System) isKnown(ctx context.Context, to events.AgentID, e *envelope, box *Mailbox) (known, sure bool) {
	if e.key == "" {
		return false, true
	}
	if box.hasEarlier(e) {
		return true, true
	}
	if s.deps.Messages == nil || s.caughtUp(ctx) != nil {
		return false, false
	}
	if _, found := s.deps.Messages.Find(e.message.ID); found {
		return true, true
	}
	st, err := s.source.State(ctx, to) // remembers what a trimmed history has no event of
	if err != nil {
		return false, false
	}
	_, known = st.Key(e.key)
	return known, known || s.deps.Messages.Whole()
}

// keptBefore answers a message that a stopped agent refused, if an earlier request under its
// key put it into the inbox, where it waits. Error: refusal, if none did; events.ErrKeyReused.
func (s *System) keptBefore(ctx context.Context, to events.AgentID, e *envelope, refusal error) (answer, error) {
	if e.key == "" || s.deps.Messages == nil || s.caughtUp(ctx) != nil {
		return answer{}, refusal
	}
	at, found := s.deps.Messages.Find(e.message.ID)
	if !found {
		return answer{}, refusal
	}
	for rec, err := range s.deps.Store.ReadAll(ctx, events.ReadAllOptions{From: at, Max: 1}) {
		if err != nil || rec.Stream != events.InboxStream(to) || !s.deps.Inboxes.Open(to, rec.Revision) {
			break
		}
		p, err := events.Decode(rec.Event)
		m, ok := p.(events.MessageReceived)
		switch {
		case err != nil || !ok || m.Message.ID != e.message.ID:
		case m.BodyHash != e.bodyHash:
			return answer{}, events.ErrKeyReused
		default:
			return answer{delivery: Held, position: rec.Position}, nil
		}
	}
	return answer{}, refusal
}

// drains reports whether an agent that is draining is to run this message: it
// waited before the agent was told to stop, and there is time left.
func (a *agentActor) drains(e *envelope) bool {
	return !a.late() && (e.entry || !a.stopSeen.IsZero() && e.arrived.Before(a.stopSeen))
}

// late reports whether a draining agent's time is over.
func (a *agentActor) late() bool {
	return a.sys.deps.Now().UnixMicro() >= a.state().StopBy
}

// watchDrain sees to it that draining has an end: now, if nothing waits any more,
// or when its time is over, in an emergency stop too: it takes no guest to end.
func (a *agentActor) watchDrain() {
	st := a.liveState()
	switch {
	case st == nil && (a.drain != nil || !a.stopSeen.IsZero()):
		a.sys.nudge(a.id) // the turn's last message took the guest with it; look again
		return
	case st == nil:
		return
	case st.Status != agent.Draining:
		a.endDrain()
		return
	}
	if a.drain != nil && a.drainBy != st.StopBy {
		a.rewatchDrain() // the log says that it is another stop by now
	}
	if a.drain == nil {
		left := time.UnixMicro(st.StopBy).Sub(a.sys.deps.Now())
		by := st.StopBy
		a.drainBy = by
		a.drain = time.AfterFunc(max(0, left), func() { a.sys.endStop(a.id, by, events.StopExpired) })
	}
	if a.sys.halted() && !a.inboxIsEmpty() {
		return // what an emergency stop holds is not drained; it has until the time is over
	}
	if !a.late() && !a.inboxMore && !a.drained && !a.box.WaitsSince(a.stopSeen) {
		a.drained = true // it is said once
		a.sys.endStop(a.id, st.StopBy, events.StopDrained)
	}
}

// inboxIsEmpty looks whether an entry waits, without taking any: while all are stopped
// none is read ahead, and an agent that has nothing to drain need not wait for the lift.
func (a *agentActor) inboxIsEmpty() bool {
	for a.inboxMore {
		if len(a.readInbox(a.sys.life)) > 0 {
			a.rereadInbox()
			return false
		}
	}
	return true
}

// endDrain forgets that the agent was draining.
func (a *agentActor) endDrain() {
	a.rewatchDrain()
	a.stopSeen = time.Time{}
}

// rewatchDrain has the next turn see anew to the end of draining.
func (a *agentActor) rewatchDrain() {
	if a.drain != nil {
		a.drain.Stop()
		a.drain = nil
	}
	a.drained = false
}

// endStop tells an agent that its draining, which has until by (State.StopBy), is at an
// end. Whatever the guest does when that is over ends, once the command waits: were it
// before, another wake might begin.
func (s *System) endStop(id events.AgentID, by int64, cause events.StopCause) {
	env := newEnvelope()
	env.command = agent.EndStop{Cause: cause, By: by}
	env.urgent = cause == events.StopExpired
	_, _ = s.registry.offer(id, env) // fails only at shutdown; the next start looks again
}

// WaitsSince reports whether a message waits that arrived before t, or an entry
// of the inbox.
func (b *Mailbox) WaitsSince(t time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inbox.len() > 0 {
		return true
	}
	return slices.ContainsFunc(b.waiting.lists(), func(list []*envelope) bool {
		return len(list) > 0 && list[0].arrived.Before(t)
	})
}
