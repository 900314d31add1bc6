package actors

import (
	"context"
	"errors"
	"log/slog"

	"github.com/caxton-run/caxton/events"
	"github.com/google/uuid"
)

// receive puts a message into its agent's inbox. The event's id comes from the
// message's, so one message has one entry however often this is done.
// Error: events.ErrKeyReused.
func (s *System) receive(ctx context.Context, id events.AgentID, e *envelope) (events.Revision, events.Position, error) {
	ev, err := events.Encode(
		events.EventID(uuid.NewSHA1(uuid.UUID(e.message.ID), []byte("inbox"))),
		events.MessageReceived{Message: e.message, IdempotencyKey: e.key, BodyHash: e.bodyHash},
		events.Metadata{CorrelationID: e.message.ConversationID, Actor: e.message.Sender},
	)
	if err != nil {
		return 0, 0, err
	}
	for {
		res, err := s.deps.Store.Append(ctx, events.InboxStream(id), events.Any(), ev)
		switch {
		case errors.Is(err, events.ErrIDReused):
			return 0, 0, events.ErrKeyReused
		case !errors.Is(err, events.ErrUnknownOutcome):
			return res.Last, res.Position, err
		}
	}
}

// inboxPage is how many inbox entries are read at a time.
const inboxPage = 64

// preload puts the next entries of the inbox, if there may be any, before all
// that waits, and reports whether it did.
func (a *agentActor) preload(ctx context.Context) bool {
	st := a.liveState()
	if st == nil || !a.inboxMore || !st.Status.Runs() || a.box.Preloaded() > 0 {
		return false
	}
	var list []*envelope
	read := 0
	opts := events.ReadStreamOptions{From: a.inboxNext, Max: inboxPage}
	for rec, err := range a.sys.deps.Store.ReadStream(ctx, events.InboxStream(a.id), opts) {
		if errors.Is(err, events.ErrStreamNotFound) {
			break
		}
		if err != nil {
			a.sys.log.Error("inbox unreadable", slog.String("agent", a.id.String()), slog.Any("err", err))
			break
		}
		read++
		a.inboxNext = rec.Revision + 1
		if e := a.entry(rec); e != nil {
			list = append(list, e)
		}
	}
	a.inboxMore = read == inboxPage
	a.box.Preload(list)
	return len(list) > 0
}

// entry makes the envelope of an inbox entry, or nil if it needs none: it was
// handled, or its own envelope is still here.
func (a *agentActor) entry(rec events.Recorded) *envelope {
	p, err := events.Decode(rec.Event)
	m, ok := p.(events.MessageReceived)
	if err != nil || !ok {
		a.sys.log.Error("inbox entry unreadable", slog.String("agent", a.id.String()),
			slog.Uint64("revision", uint64(rec.Revision)), slog.Any("err", err))
		return nil
	}
	if a.state().InboxDone(rec.Revision) || a.box.Holds(m.Message.ID) {
		return nil
	}
	return fromInbox(rec.Revision, m)
}
