package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/google/uuid"
)

// asEntry makes the inbox entry of a message, as of a schema version, or today's for
// 0. The event's id comes from the message's, so one message has one entry however
// often it is put there.
func (e *envelope) asEntry(version int) (events.Event, error) {
	md := events.Metadata{CorrelationID: e.message.ConversationID, Actor: e.message.Sender}
	ev, err := events.Encode(
		events.EventID(uuid.NewSHA1(uuid.UUID(e.message.ID), []byte("inbox"))),
		events.MessageReceived{Message: e.message, IdempotencyKey: e.key, BodyHash: e.bodyHash}, md,
	)
	if err == nil && version != 0 {
		md.SchemaVersion = version
		ev.Metadata = md.Encode()
	}
	return ev, err
}

// receive puts a message into its agent's inbox.
// Error: events.ErrKeyReused.
func (s *System) receive(ctx context.Context, id events.AgentID, e *envelope) (events.Result, error) {
	ev, err := e.asEntry(0)
	if err != nil {
		return events.Result{}, err
	}
	res, err := s.append(ctx, events.InboxStream(id), events.Any(), ev)
	if errors.Is(err, events.ErrIDReused) && e.message.Blob == nil {
		// Before an upgrade the same entry was written as version 1, which differed
		// in nothing else.
		if ev, err = e.asEntry(1); err != nil {
			return events.Result{}, err
		}
		res, err = s.append(ctx, events.InboxStream(id), events.Any(), ev)
	}
	if errors.Is(err, events.ErrIDReused) {
		err = events.ErrKeyReused
	}
	return res, err
}

// inboxRoom refuses what an agent's inbox has no room for. Messages under way at
// the same moment may pass it by their number.
func (s *System) inboxRoom(id events.AgentID) error {
	if n := s.deps.Inboxes.LenOf(id); n >= s.cfg.InboxSize {
		return inboxFull(n)
	}
	return nil
}

func inboxFull(n int) error {
	return fmt.Errorf("%w: %d messages wait in the inbox (messaging.inbox_size)", events.ErrMailboxFull, n)
}

// Bounds of what is read of an inbox at a time. Entries of a page are ordered by
// priority.
const (
	inboxPage      = 64
	inboxPageBytes = 1 << 20 // as much as a turn commits; the last entry may pass it
)

// preload puts the next entries of the inbox, if there may be any, before all
// that waits, and reports whether it did. Those of a removed agent are to be
// closed.
func (a *agentActor) preload(ctx context.Context) bool {
	for a.mayPreload() {
		if list := a.readInbox(ctx); len(list) > 0 {
			slices.SortStableFunc(list, func(x, y *envelope) int { return rank(x) - rank(y) })
			a.box.Preload(list)
			return true
		}
	}
	return false
}

func (a *agentActor) mayPreload() bool {
	st := a.liveState()
	return st != nil && a.inboxMore && (st.Status.Runs() && !a.sys.halted() || st.Status == agent.Removed) && a.box.Preloaded() == 0
}

// readInbox reads a page of the inbox and returns those entries that wait for
// their turn. What cannot be read now is left to the waker.
func (a *agentActor) readInbox(ctx context.Context) []*envelope {
	var list []*envelope
	read, size := 0, 0
	a.inboxMore = false
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
			size += rec.Size()
		}
		if read == inboxPage || size >= inboxPageBytes {
			a.inboxMore = true
			break
		}
	}
	return list
}

// entry makes the envelope of an inbox entry, or nil if it needs none: it was
// handled, or the envelope that was put there is still here.
func (a *agentActor) entry(rec events.Recorded) *envelope {
	p, err := events.Decode(rec.Event)
	m, ok := p.(events.MessageReceived)
	if err == nil && !ok || errors.Is(err, events.ErrUnknownType) {
		return a.stranger(rec)
	}
	if err != nil { // what is damaged, or of a later caxton, is not ended: the projections stop at it too
		a.sys.log.Error("inbox entry unreadable", slog.String("agent", a.id.String()),
			slog.Uint64("revision", uint64(rec.Revision)), slog.Any("err", err))
		return nil
	}
	if a.state().InboxDone(rec.Revision) || a.box.Holds(m.Message.ID, rec.Revision) {
		return nil
	}
	return fromInbox(rec.Revision, m)
}

// stranger makes the envelope of an event that somebody else wrote into the inbox: it
// is to be ended by name, or each wake would come to it again. nil when it was.
func (a *agentActor) stranger(rec events.Recorded) *envelope {
	if a.state().InboxDone(rec.Revision) {
		return nil
	}
	m := events.Message{ID: events.MessageID(rec.ID), ConversationID: rec.ID.String(), Performative: events.Inform, Receiver: a.id.String()}
	m.SetContent(rec.Data)
	e := fromInbox(rec.Revision, events.MessageReceived{Message: m})
	e.foreign = fmt.Sprintf("revision %d of %s is no message but an event of type %.100q", rec.Revision, rec.Stream, rec.Type)
	return e
}

// endStranger makes a dead letter of what a stranger wrote.
func (a *agentActor) endStranger(ctx context.Context, t *turn, e *envelope) error {
	a.sys.log.Warn("inbox entry of a stranger ended", slog.String("agent", a.id.String()), slog.String("err", e.foreign))
	if err := events.StoreContent(ctx, a.sys.deps.Store, &e.message); err != nil {
		return err
	}
	letter := events.MessageDeadLettered{Reason: events.DeadInvalid, Detail: e.foreign}
	return a.unread(ctx, t, e, answer{err: events.Invalid("inbox", e.foreign), final: true}, letter)
}
