package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// retryUnknown is the pause before an append of unknown outcome is repeated.
const retryUnknown = 20 * time.Millisecond

// maxSkipBytes bounds an InboxSkipped event with its metadata. A turn keeps room
// for one for each message: which of them were put into the inbox meanwhile is
// known only when it is sealed.
const maxSkipBytes = 2 << 10

// emit encodes payloads, applies them to the state and adds them to the turn,
// committing the turn first if they do not fit beside what it has. It returns
// events.ErrTooLarge, with nothing applied, if they do not fit an append alone.
func (a *agentActor) emit(ctx context.Context, t *turn, payloads []events.Payload, md events.Metadata) ([]events.Payload, error) {
	list, size, err := encode(payloads, md)
	if err != nil {
		return nil, err
	}
	if size+maxSkipBytes > events.MaxAppendBytes || len(list)+1 > events.MaxAppendEvents {
		return nil, fmt.Errorf("events of %d bytes: %w", size, events.ErrTooLarge)
	}
	skips := len(t.settled) + 1
	if t.bytes+size+skips*maxSkipBytes > events.MaxAppendBytes || len(t.events)+len(list)+skips > events.MaxAppendEvents {
		if err := a.flushOn(ctx, t); err != nil {
			return nil, err
		}
	}
	if err := a.add(t, payloads, list, size); err != nil {
		return nil, err
	}
	return payloads, nil
}

// encode makes events of payloads, without ids, and says how large they are.
func encode(payloads []events.Payload, md events.Metadata) (list []events.Event, size int, err error) {
	for _, p := range payloads {
		ev, err := events.Encode(events.EventID{}, p, md)
		if err != nil {
			return nil, 0, err
		}
		list, size = append(list, ev), size+ev.Size()
	}
	return list, size, nil
}

// add applies payloads to the state, and their events to the turn. Their ids say where
// they stand in it, so they are chosen here, when that is known: a turn that had to be
// flushed for want of room has given the next numbers to other events.
func (a *agentActor) add(t *turn, payloads []events.Payload, list []events.Event, size int) error {
	for i, p := range payloads {
		st, rev := a.state(), events.Revision(0)
		if st.Exists() {
			rev = st.Revision + 1
		}
		if err := st.Apply(rev, p); err != nil {
			return err
		}
		switch p := p.(type) {
		case events.AgentFailed:
			t.failed = p.Reason
		case events.AgentRemoved:
			t.removed = true
		}
		list[i].ID = a.activation.EventID(a.turns, len(t.events)+i)
	}
	t.events, t.bytes = append(t.events, list...), t.bytes+size
	return nil
}

// commit ends a turn: it makes it durable, and gives up a guest whose memory is
// no longer what the log says.
func (a *agentActor) commit(ctx context.Context, t *turn) error {
	if err := a.flush(ctx, t); err != nil {
		return err
	}
	if a.tainted || a.live.Guest != nil && !a.live.Guest.Usable() {
		a.forget()
	}
	return nil
}

// flush makes what a turn has so far durable; only then is anything of it seen.
func (a *agentActor) flush(ctx context.Context, t *turn) error {
	if err := a.closeSpilled(t); err != nil {
		return err
	}
	var pos events.Position
	if len(t.events) > 0 {
		if ctx.Err() != nil { // a message may stand in the inbox, and nobody was told where
			return fmt.Errorf("append to %s: %w", events.AgentStream(a.id), events.ErrShuttingDown)
		}
		res, err := a.sys.append(ctx, events.AgentStream(a.id), t.expected, t.events...)
		if err != nil {
			return err
		}
		a.turns++
		a.box.know(a.state().Status)
		if beginAnew(t.events) {
			a.sys.unconfirmed.forget(a.id)
		}
		a.debt.add(len(t.events), t.bytes, t.repeated())
		pos = res.Position
		for _, s := range t.settled { // all before any: telling one may panic
			s.commit(pos)
		}
		if t.failed != "" {
			a.failed(t.failed)
		}
		if t.removed {
			a.sys.tellBreakers(breakerGone{events.AgentScope(a.id)})
		}
	}
	for _, s := range t.settled {
		a.release(ctx, s, pos)
	}
	a.keep(ctx, t.held)
	if len(t.held) > 0 && a.state().Status.Runs() && !a.sys.halted() {
		a.sys.nudge(a.id) // the emergency stop that held them was lifted meanwhile
	}
	return nil
}

// failed says that the agent has failed, durably: somebody must act, or it stays so.
func (a *agentActor) failed(why string) {
	a.sys.log.Error("agent failed; it runs again when it is resumed or restarted", slog.String("agent", a.id.String()),
		slog.String("name", a.state().Name), slog.String("reason", why))
	a.sys.deps.Observer.Failed()
}

// flushOn flushes a turn that goes on: what is decided next follows what is durable.
func (a *agentActor) flushOn(ctx context.Context, t *turn) error {
	if err := a.flush(ctx, t); err != nil {
		return err
	}
	*t = turn{began: t.began, halted: t.halted, expected: a.state().Expected()}
	return nil
}

// closeSpilled seals the turn's messages, and closes the inbox entries of those
// that were put there after their run had begun. Sealing before the run would
// keep a message that is done from its receipt for as long as the next one runs.
func (a *agentActor) closeSpilled(t *turn) error {
	for _, s := range t.settled {
		if s.ended == nil {
			continue
		}
		rev := s.env.seal()
		if rev == nil || a.state().InboxDone(*rev) {
			continue
		}
		skip := events.InboxSkipped{MessageID: s.env.message.ID, Inbox: *rev, HandledAt: *s.ended}
		payloads, err := agent.Decide(a.state(), agent.SkipInbox{Event: skip})
		if err != nil {
			return err
		}
		list, size, err := encode(payloads, a.meta(s.env))
		if err != nil {
			return err
		}
		if err := a.add(t, payloads, list, size); err != nil {
			return err
		}
	}
	return nil
}

// repeated is the fuel of the runs that a replay of the turn repeats.
func (t *turn) repeated() (fuel events.Fuel) {
	for _, s := range t.settled {
		if s.status == events.OutcomeOK {
			fuel += s.fuel
		}
	}
	return fuel
}

// append repeats an append whose outcome is unknown, byte for byte, until it is
// known. Whoever calls does nothing else meanwhile. When ctx ends first the
// error is events.ErrUnknownOutcome, whatever the store says: what it was given
// may yet be committed.
func (s *System) append(ctx context.Context, to events.Stream, at events.ExpectedRevision, evs ...events.Event) (events.Result, error) {
	for {
		res, err := s.deps.Store.Append(ctx, to, at, evs...)
		unknown := errors.Is(err, events.ErrUnknownOutcome)
		switch {
		case err == nil:
			return res, nil
		case ctx.Err() != nil && (unknown || errors.Is(err, ctx.Err())):
			return res, fmt.Errorf("%w: append to %s: %w", events.ErrUnknownOutcome, to, context.Cause(ctx))
		case !unknown:
			return res, err
		}
		select {
		case <-time.After(retryUnknown):
		case <-ctx.Done():
		}
	}
}

// commit notes that the envelope's end is durable. An answer that stands in the
// log already is found again by its Idempotency-Key.
func (s settled) commit(pos events.Position) {
	if s.lookUp {
		return
	}
	ans := s.answer
	ans.position = pos
	s.env.durable.Store(&ans)
}

// release gives one answer of a durable turn.
func (a *agentActor) release(ctx context.Context, s settled, pos events.Position) {
	ans := s.answer
	ans.position = pos
	switch {
	case s.lookUp:
		ans = a.answerBefore(ctx, *s.ended)
	case s.change && pos == 0:
		ans.position = a.head(ctx)
	}
	if s.status != "" {
		now := time.Now()
		a.box.latency.add(now.Sub(s.env.arrived), now)
		a.sys.deps.Observer.Processed(s.status, s.fuel, now.Sub(s.env.arrived))
		if ans.delivery != Quarantined { // its last crash was counted as such
			a.sys.breakers.report(a.id, s.env, s.status)
		}
	}
	if s.dead == events.DeadDiscarded {
		a.sys.discarded.Add(1)
	}
	if s.dead != "" {
		a.sys.deps.Observer.DeadLettered(s.dead)
	}
	s.env.respond(ans)
}

// head is the position that a change which changed nothing is told: of the agent's
// last event. Whoever has seen that has seen what made it none; the head of the log
// may be an event that no projection follows, for which a reader would wait.
func (a *agentActor) head(ctx context.Context) events.Position {
	opts := events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards, Max: 1}
	for rec, err := range a.sys.deps.Store.ReadStream(ctx, events.AgentStream(a.id), opts) {
		if err != nil {
			a.sys.log.Warn("position of the agent unknown", slog.String("agent", a.id.String()), slog.Any("err", err))
			return 0
		}
		return rec.Position
	}
	return 0
}

// answerBefore finds the answer that an earlier request under the same
// Idempotency-Key was given. A key that is past its time may be known still while its
// answer is gone; the request is not run again.
func (a *agentActor) answerBefore(ctx context.Context, rev events.Revision) answer {
	rec, p, err := events.PayloadAt(ctx, a.sys.deps.Store, a.id, rev)
	if errors.Is(err, events.ErrHistoryRemoved) {
		err = fmt.Errorf("the answer to this Idempotency-Key is gone, use a new one: %w: %w", events.ErrConflict, err)
	}
	if err != nil {
		return answer{err: err}
	}
	switch p := p.(type) {
	case events.MessageHandled:
		return answer{delivery: Handled, reply: p.Reply, repeats: &p.Message, position: rec.Position}
	case events.MessageFailed:
		return answer{delivery: Failed, reply: p.Reply, repeats: &p.Message, position: rec.Position}
	case events.AgentQuarantined:
		return answer{delivery: Quarantined, reply: p.Reply, repeats: &p.Message, position: rec.Position}
	case events.MessageDeadLettered:
		return answer{delivery: Discarded, repeats: &p.Message, position: rec.Position}
	}
	return answer{err: &events.CorruptError{
		Where:  fmt.Sprintf("%s, revision %d", events.AgentStream(a.id), rev),
		Reason: "is not the end of a message, as the Idempotency-Key says",
	}}
}
