package actors

import (
	"context"
	"fmt"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
	"github.com/google/uuid"
)

// Retried is a message that had been set aside and was given to its receiver again.
type Retried struct {
	MessageID events.MessageID // of the new message
	RetryOf   events.MessageID
	Receiver  events.AgentID
	Status    Delivery // Queued; Held when the receiver does not run
	Position  events.Position
}

// RetryLetter gives a dead letter or a quarantined message to its receiver again, as a
// new message with the same content, and returns when it stands in the receiver's
// inbox. It comes behind what waits there, whatever the order was in which it was
// sent. A retry that is repeated makes the same message.
//
// Errors: events.ErrLetterNotFound (it is retried already, or was never set aside),
// events.ErrAgentNotFound (the receiver is gone, or nobody goes by its name),
// *events.AmbiguousError, events.ErrMailboxFull, those of the store.
func (g *Gateway) RetryLetter(ctx context.Context, c Caller, id events.MessageID) (Retried, error) {
	s := g.sys
	letter, ok := s.deps.Letters.Get(id)
	if !ok {
		return Retried{}, fmt.Errorf("message %s: %w", id, events.ErrLetterNotFound)
	}
	m, toOwner, err := s.readLetter(ctx, letter)
	if err != nil {
		return Retried{}, fmt.Errorf("retry message %s: %w", id, err)
	}
	to, held, err := s.receiverOf(letter, &m, toOwner)
	if err != nil {
		return Retried{}, fmt.Errorf("retry message %s: %w", id, err)
	}
	env := newEnvelope()
	env.message, env.principal, env.trace = again(m, to), c.Principal, c.TraceParent
	res, err := s.receive(ctx, to, env)
	if err != nil {
		return Retried{}, fmt.Errorf("retry message %s: %w", id, err)
	}
	s.nudge(to)
	out := Retried{MessageID: env.message.ID, RetryOf: id, Receiver: to, Status: Queued, Position: res.Position}
	if held {
		out.Status = Held
	}
	record := newEnvelope()
	record.principal, record.trace = c.Principal, c.TraceParent
	record.command = agent.RetryLetter{Event: events.DeadLetterRetried{MessageID: id, RetryID: env.message.ID, Receiver: to}}
	ans, err := s.ask(ctx, letter.Agent, record)
	if err != nil {
		return Retried{}, fmt.Errorf("message %s is in the inbox of agent %s again, and still in the list: %w", id, to, err)
	}
	out.Position = max(out.Position, ans.position)
	return out, nil
}

// readLetter returns the message that was set aside; toOwner says that it is for the
// agent in whose stream it stands.
func (s *System) readLetter(ctx context.Context, l projections.Letter) (m events.Message, toOwner bool, err error) {
	rec, p, err := events.PayloadAt(ctx, s.deps.Store, l.Agent, l.Revision)
	if err != nil {
		return m, false, err
	}
	switch p := p.(type) {
	case events.AgentQuarantined:
		return p.Message, true, nil
	case events.MessageDeadLettered:
		return p.Message, p.Inbox != nil, nil
	}
	return m, false, &events.CorruptError{Where: fmt.Sprintf("%s, revision %d", rec.Stream, l.Revision), Reason: "is not the letter that was read there"}
}

// receiverOf finds whom a letter is for now: a name may lead to another agent than it
// did, which is why one retries. held says that it does not run.
func (s *System) receiverOf(l projections.Letter, m *events.Message, toOwner bool) (to events.AgentID, held bool, err error) {
	if to = l.Agent; !toOwner {
		if to, err = events.ParseAgentID(m.Receiver); err != nil {
			if to, err = s.deps.Agents.ResolveFor(m.Receiver, m.ConversationID); err != nil {
				return to, false, err
			}
		}
	}
	view, ok := s.deps.Agents.Get(to)
	if !ok {
		return to, false, fmt.Errorf("agent %s: %w", to, events.ErrAgentNotFound)
	}
	return to, !agent.Status(view.Status).Runs(), s.inboxRoom(to)
}

// again is a message to be handled as if it came anew: what counted its way, and the
// time by which it was wanted, are past.
func again(m events.Message, to events.AgentID) events.Message {
	m.ID = events.MessageID(uuid.NewSHA1(uuid.UUID(m.ID), []byte("retry")))
	m.Receiver, m.Sequence, m.SequenceClass, m.Hops, m.ReplyBy = to.String(), 0, "", 0, nil
	return m
}
