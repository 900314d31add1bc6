package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caxton-run/caxton/events"
)

// retryUnknown is the pause before an append of unknown outcome is repeated.
const retryUnknown = 20 * time.Millisecond

// emit encodes payloads, applies them to the state and adds them to the turn,
// committing the turn first if they do not fit beside what it has. It returns
// events.ErrTooLarge, with nothing applied, if they do not fit an append alone.
func (a *agentActor) emit(ctx context.Context, t *turn, payloads []events.Payload, md events.Metadata) ([]events.Payload, error) {
	list, size := make([]events.Event, 0, len(payloads)), 0
	for i, p := range payloads {
		ev, err := events.Encode(a.activation.EventID(a.turns, len(t.events)+i), p, md)
		if err != nil {
			return nil, err
		}
		list, size = append(list, ev), size+ev.Size()
	}
	if size > events.MaxAppendBytes || len(list) > events.MaxAppendEvents {
		return nil, fmt.Errorf("events of %d bytes: %w", size, events.ErrTooLarge)
	}
	if t.bytes+size > events.MaxAppendBytes || len(t.events)+len(list) > events.MaxAppendEvents {
		if err := a.flush(ctx, t); err != nil {
			return nil, err
		}
		*t = turn{began: t.began, expected: a.state().Expected()}
	}
	st := a.state()
	for _, p := range payloads {
		rev := events.Revision(0)
		if st.Exists() {
			rev = st.Revision + 1
		}
		if err := st.Apply(rev, p); err != nil {
			return nil, err
		}
	}
	t.events, t.bytes = append(t.events, list...), t.bytes+size
	return payloads, nil
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
	var pos events.Position
	if len(t.events) > 0 {
		res, err := a.append(ctx, t)
		if err != nil {
			return err
		}
		a.turns++
		a.sinceSnapshot += len(t.events)
		pos = res.Position
	}
	for _, s := range t.settled {
		a.release(ctx, s, pos)
	}
	for _, e := range t.held {
		rev, at, err := a.sys.receive(ctx, a.id, e)
		if err == nil && a.state().InboxDone(rev) {
			err = fmt.Errorf("message %s: its Idempotency-Key has expired; use a new one: %w", e.message.ID, events.ErrConflict)
		}
		e.respond(answer{delivery: Held, position: at, err: err})
	}
	return nil
}

// append repeats an append whose outcome is unknown, byte for byte, until it is
// known. The agent does nothing else meanwhile.
func (a *agentActor) append(ctx context.Context, t *turn) (events.Result, error) {
	for {
		res, err := a.sys.deps.Store.Append(ctx, events.AgentStream(a.id), t.expected, t.events...)
		if !errors.Is(err, events.ErrUnknownOutcome) {
			return res, err
		}
		select {
		case <-time.After(retryUnknown):
		case <-ctx.Done():
			return res, ctx.Err()
		}
	}
}

// release gives one answer of a durable turn.
func (a *agentActor) release(ctx context.Context, s settled, pos events.Position) {
	ans := s.answer
	ans.position = pos
	if s.lookUp != nil {
		ans = a.answerBefore(ctx, *s.lookUp)
	}
	if s.status != "" {
		now := time.Now()
		a.box.latency.add(now.Sub(s.env.arrived), now)
		a.sys.deps.Observer.Processed(s.status, s.fuel, now.Sub(s.env.arrived))
	}
	s.env.respond(ans)
}

// answerBefore finds the answer that an earlier request under the same
// Idempotency-Key was given.
func (a *agentActor) answerBefore(ctx context.Context, rev events.Revision) answer {
	opts := events.ReadStreamOptions{From: rev, Max: 1}
	for rec, err := range a.sys.deps.Store.ReadStream(ctx, events.AgentStream(a.id), opts) {
		if err != nil {
			return answer{err: err}
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			return answer{err: err}
		}
		switch p := p.(type) {
		case events.MessageHandled:
			return answer{delivery: Handled, reply: p.Reply, position: rec.Position}
		case events.MessageFailed:
			return answer{delivery: Failed, reply: p.Reply, position: rec.Position}
		case events.AgentQuarantined:
			return answer{delivery: Quarantined, reply: p.Reply, position: rec.Position}
		}
	}
	return answer{err: &events.CorruptError{
		Where:  fmt.Sprintf("%s, revision %d", events.AgentStream(a.id), rev),
		Reason: "is not the end of a message, as the Idempotency-Key says",
	}}
}
