package actors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// MaxWait is the longest a caller may wait for a reply.
const MaxWait = 60 * time.Second

// Gateway is the way into the system for whoever is not an agent. Its methods
// may be called from any goroutine.
type Gateway struct{ sys *System }

// Send gives a message to an agent and returns when it is durable: handled, or,
// when that takes longer than Config.SpillAfter, in the agent's inbox. With
// r.Wait it goes on waiting for the reply for that long.
//
// Errors: events.ErrAgentNotFound, *events.InvalidError,
// events.ErrContentTooLarge, events.ErrMailboxFull, events.ErrKeyReused,
// events.ErrAgentStopped, events.ErrAgentFailed, events.ErrOverloaded (the queue is
// being drained), events.ErrBreakerOpen, events.ErrShuttingDown, events.ErrDiskLow, those of the store, and
// events.ErrUnknownOutcome when ctx ended first: the message may yet be handled;
// repeat it with its Idempotency-Key to know. A request that is repeated under its key goes
// to the agent that has it, whoever its receiver means by now: see SendRequest.Ref.
func (g *Gateway) Send(ctx context.Context, r SendRequest) (Sent, error) {
	if err := g.sys.takesMessages(); err != nil {
		return Sent{}, err
	}
	if r.IdempotencyKey != "" && r.Ref != "" {
		return g.sendOnce(ctx, r)
	}
	return g.send(ctx, r, func() {})
}

// send sends a request to r.To. It calls ended once, when nothing more will come of the
// request but what is durable.
func (g *Gateway) send(ctx context.Context, r SendRequest, ended func()) (Sent, error) {
	began := time.Now()
	env, err := newMessage(r, g.sys.cfg.MaxContent)
	if err != nil {
		ended()
		return Sent{}, err
	}
	env.done = func(answer) { ended() }
	box, err := g.hand(ctx, r.To, env)
	if err != nil {
		env.respond(answer{err: err}) // gives its claims back
		return Sent{}, fmt.Errorf("message to agent %s: %w", r.To, err)
	}
	g.sys.deps.Observer.Routed(time.Since(began))
	ans, err := g.await(ctx, r, env, box)
	if err == nil {
		err = ans.err
	}
	if errors.Is(err, events.ErrAgentStopped) {
		ans, err = g.sys.keptBefore(ctx, r.To, env, err)
	}
	if err != nil {
		return Sent{}, fmt.Errorf("message %s: %w", env.message.ID, err)
	}
	if ans.reply != nil && ans.reply.Blob != nil {
		whole, err := events.WithContent(ctx, g.sys.deps.Store, *ans.reply)
		if err != nil {
			return Sent{}, fmt.Errorf("message %s: its reply: %w", env.message.ID, err)
		}
		ans.reply = &whole
	}
	sent := Sent{
		MessageID: env.message.ID, ConversationID: env.message.ConversationID,
		Status: ans.delivery, Reply: ans.reply, Position: ans.position,
	}
	if first := ans.repeats; first != nil { // under another id when the receiver was written otherwise
		sent.MessageID, sent.ConversationID = first.ID, first.ConversationID
	}
	return sent, nil
}

// hand gives a message to the agent's mailbox, unless it is refused.
func (g *Gateway) hand(ctx context.Context, to events.AgentID, env *envelope) (box *Mailbox, err error) {
	if err := g.sys.deps.Room.Admit(); err != nil {
		return nil, err
	}
	if env.key != "" && len(g.sys.deps.Agents.Former(to.String())) > 0 {
		// It may only be known: its content is stored no more, and no breaker is asked to
		// let through what no guest sees.
		return g.sys.registry.offer(to, env)
	}
	if env.claims, err = g.sys.breakers.admit(to); err != nil {
		return nil, err
	}
	return g.offer(ctx, to, env)
}

// offer stores content that is too large for an event, and puts the message into the
// agent's mailbox.
func (g *Gateway) offer(ctx context.Context, to events.AgentID, env *envelope) (*Mailbox, error) {
	admit := func() error { return g.sys.takes(ctx, to) }
	if err := events.StoreContentIf(ctx, g.sys.deps.Store, &env.message, admit); err != nil {
		return nil, err
	}
	return g.sys.registry.offer(to, env)
}

// newMessage checks a request and fills in what the sender left out. With an
// Idempotency-Key all of it follows from the request, so the same request makes
// the same message.
func newMessage(r SendRequest, maxContent int) (*envelope, error) {
	m := r.Message
	if len(r.IdempotencyKey) > events.MaxKeyLength {
		return nil, events.Invalidf("Idempotency-Key", "must be at most %d bytes", events.MaxKeyLength)
	}
	if r.Wait < 0 || r.Wait > MaxWait {
		return nil, events.Invalidf("wait", "must be 0 to %s", MaxWait)
	}
	if err := m.ValidateWithin(maxContent); err != nil {
		return nil, err
	}
	if m.Protocol == events.TimerProtocol {
		return nil, events.Invalidf("protocol", "must not be %q, which is that of timers", events.TimerProtocol)
	}
	var err error
	if m.Performative, err = events.ParsePerformative(string(m.Performative)); err != nil {
		return nil, err
	}
	// What decides order and loops among agents is not an outsider's to say.
	m.Sender, m.Receiver, m.Sequence, m.Hops = r.Principal, r.To.String(), 0, 0
	env := newEnvelope()
	env.principal, env.trace = r.Principal, r.TraceParent
	if r.IdempotencyKey != "" {
		env.key = agent.ScopedKey(r.Principal, r.IdempotencyKey)
		if env.bodyHash, err = hashBody(m); err != nil {
			return nil, err
		}
		m.ID = messageID(r)
	} else if m.ID.IsZero() {
		m.ID = events.NewMessageID()
	}
	if m.ConversationID == "" {
		m.ConversationID = m.ID.String()
	}
	env.message = m
	return env, nil
}

func hashBody(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("hash the request: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// await waits for the turn, puts the message into the inbox when that is slow,
// and then waits for the reply as long as the caller wants to.
func (g *Gateway) await(ctx context.Context, r SendRequest, env *envelope, box *Mailbox) (answer, error) {
	patience := time.NewTimer(g.sys.cfg.SpillAfter)
	defer patience.Stop()
	select {
	case ans := <-env.answer:
		return ans, nil
	case <-ctx.Done():
		return answer{}, unsettled(ctx)
	case <-patience.C:
	}
	if g.sys.isLate(ctx, r.To, env, box) {
		known, sure := g.sys.isKnown(ctx, r.To, env, box)
		if !known && sure && box.withdraw(env) {
			return refused(env, fmt.Errorf("agent %s: %w", r.To, events.ErrAgentStopped))
		}
		if !known {
			return waitAnswer(ctx, env, nil, answer{})
		}
	}
	queued, ok := g.spill(ctx, r.To, env, box)
	if !ok {
		return waitAnswer(ctx, env, nil, answer{})
	}
	wait := time.NewTimer(max(0, r.Wait-g.sys.cfg.SpillAfter))
	defer wait.Stop()
	return waitAnswer(ctx, env, wait.C, queued)
}

// refused answers a message that no turn will have.
func refused(env *envelope, err error) (answer, error) {
	env.respond(answer{err: err}) // gives its claims back
	return answer{}, err
}

// waitAnswer waits until env is answered, the time has expired or ctx has ended.
// otherwise is what is known already: the receipt of a message in the inbox. It
// stands against errors of here and now, but not against the message's end.
func waitAnswer(ctx context.Context, env *envelope, expired <-chan time.Time, otherwise answer) (answer, error) {
	select {
	case ans := <-env.answer:
		if ans.err != nil && !ans.final && otherwise.delivery != "" {
			return otherwise, nil
		}
		return ans, nil
	case <-expired:
		return otherwise, nil
	case <-ctx.Done():
		if otherwise.delivery != "" {
			return otherwise, nil
		}
		return answer{}, unsettled(ctx)
	}
}

// unsettled is the error of a caller that stopped waiting for what may yet
// happen. It is not ctx's own error, which would say that nothing will.
func unsettled(ctx context.Context) error {
	return fmt.Errorf("%w: it waits for the agent (%v)", events.ErrUnknownOutcome, context.Cause(ctx))
}

// spill makes a waiting message durable in the inbox and returns its receipt. It
// reports false when there is none to give: the turn is being committed, the
// inbox is full or cannot be written, the message stood there before and has
// ended, or no such agent is known: an agent that never was has no stream in which
// the message could end. The message still waits for its turn, which will tell.
func (g *Gateway) spill(ctx context.Context, to events.AgentID, env *envelope, box *Mailbox) (answer, bool) {
	if !g.sys.knows(ctx, to) || g.sys.inboxRoom(to) != nil || !env.startSpill() {
		return answer{}, false
	}
	// The append does not end with the caller: the turn may be waiting for it. It ends
	// with the system, and after that no turn is committed: see flush.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(g.sys.life, cancel)()
	res, err := g.sys.receive(own, to, env)
	if err != nil {
		env.endSpill(nil)
		return answer{}, false
	}
	env.endSpill(&res.Last)
	// Its mailbox went while the append ran, or the envelope did: its turn was lost.
	if !g.sys.registry.isAwake(to, box) || env.answered.Load() {
		g.sys.nudge(to)
	}
	if res.Duplicate && !g.sys.deps.Inboxes.Open(to, res.Last) {
		return answer{}, false
	}
	return answer{delivery: Queued, position: res.Position}, true
}

// knows reports whether there is such an agent. One that was deployed a moment ago the
// projection may not have seen yet.
func (s *System) knows(ctx context.Context, id events.AgentID) bool {
	_, known := s.deps.Agents.Get(id)
	if !known {
		s.giveProjectionsTime(ctx)
		_, known = s.deps.Agents.Get(id)
	}
	return known
}

// nudge tells an agent to look into its inbox, waking it if need be.
func (s *System) nudge(id events.AgentID) {
	env := newEnvelope()
	env.nudge = true
	_, _ = s.registry.offer(id, env) // fails only at shutdown; the next start looks by itself
}

// Suspend holds an agent still: its messages are kept in its inbox. Suspending a
// suspended agent changes nothing.
// Errors: events.ErrAgentNotFound, events.ErrIllegalLifecycle (it is stopped or has failed),
// and, as of Resume and Remove, events.ErrUnknownOutcome when ctx ended before
// the agent ended its turn: the change may yet be made.
func (g *Gateway) Suspend(ctx context.Context, c Command) (events.Position, error) {
	if err := g.sys.refusesToSuspend(c.Agent); err != nil {
		return 0, err
	}
	return g.hurry(ctx, c, agent.Suspend{Reason: c.Reason})
}

// refusesToSuspend tells at once what would be refused behind a guest that is not ended for
// it: a suspension of an agent that is stopped, or is to be by a command that waits.
func (s *System) refusesToSuspend(id events.AgentID) error {
	box := s.registry.box(id)
	if box == nil {
		return nil
	}
	status := box.comes()
	if !stops(status) {
		return nil
	}
	_, err := agent.Decide(&agent.State{ID: id, Status: status}, agent.Suspend{})
	return err
}

// Resume lets an agent that does not run go on as it was, what its inbox holds
// first; a stop under way is called off.
// Error: events.ErrAgentNotFound.
func (g *Gateway) Resume(ctx context.Context, c Command) (events.Position, error) {
	return g.command(ctx, c, agent.Resume{}, newEnvelope())
}

// Remove ends an agent. Its history stays; what it sent is still delivered.
// Error: events.ErrAgentNotFound.
func (g *Gateway) Remove(ctx context.Context, c Command) (events.Position, error) {
	return g.hurry(ctx, c, agent.Remove{})
}

// runGrace is how long the message under way has to end by itself when its agent is to
// be suspended, restarted, updated or removed: as long as any may take by default. An
// operator who wants an agent still does not wait for one that may spin for a minute.
const runGrace = 5 * time.Second

// hurry has an agent's actor carry out what its guest may not hold up. The actor cannot
// see that while the guest runs, so one that goes on after runGrace is stopped: the run
// counts as if it had not been, and its message waits behind the command.
func (g *Gateway) hurry(ctx context.Context, c Command, cmd agent.Command) (events.Position, error) {
	env := newEnvelope()
	env.urgent, env.grace = true, g.sys.runGrace
	return g.command(ctx, c, cmd, env)
}

func (g *Gateway) command(ctx context.Context, c Command, cmd agent.Command, env *envelope) (events.Position, error) {
	env.command, env.principal, env.trace = cmd, c.Principal, c.TraceParent
	ans, err := g.sys.ask(ctx, c.Agent, env)
	return ans.position, err
}

// ask gives an envelope to an agent's actor and waits for the answer.
func (s *System) ask(ctx context.Context, id events.AgentID, env *envelope) (answer, error) {
	if _, err := s.registry.offer(id, env); err != nil {
		return answer{}, fmt.Errorf("agent %s: %w", id, err)
	}
	ans, err := waitAnswer(ctx, env, nil, answer{})
	return ans, errors.Join(err, ans.err)
}

// Module returns a module's bytes as they were uploaded.
// Error: events.ErrModuleNotFound.
func (g *Gateway) Module(ctx context.Context, h events.ModuleHash) ([]byte, error) {
	return events.LoadModule(ctx, g.sys.deps.Store, h)
}
