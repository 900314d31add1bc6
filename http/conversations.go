package http

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// maxConversationEvents bounds what is read of one conversation, together with
// maxPageBytes: what is longer is shown from its beginning, as truncated.
const maxConversationEvents = 10_000

// getMessage answers with a message and what has become of it.
func (s *Server) getMessage(r *request) error {
	id, err := events.ParseMessageID(r.c.Params("message"))
	if err != nil {
		return events.Invalid("message", "must be a message's id: a UUID in its 36-character form")
	}
	view, ok, err := s.message(r.ctx, id)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("message %s, among the newest: %w", id, events.ErrMessageNotFound)
	}
	return r.json(http.StatusOK, view)
}

// message returns a message as it stands; ok is false for one that is unknown, too
// old, or whose event was scavenged.
func (s *Server) message(ctx context.Context, id events.MessageID) (view projections.MessageView, ok bool, err error) {
	at, ok := s.deps.Messages.Find(id)
	if !ok {
		return view, false, nil
	}
	for rec, err := range s.deps.History.ReadAll(ctx, events.ReadAllOptions{From: at, Max: 1}) {
		if err != nil {
			return view, false, err
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			return view, false, err
		}
		view, ok = projections.FindMessage(rec, p, id)
		return view, ok && rec.Position == at, nil
	}
	return view, false, nil
}

// getConversation answers with all that was said in a conversation.
func (s *Server) getConversation(r *request) error {
	id, err := url.PathUnescape(r.c.Params("conversation"))
	if err != nil || id == "" || len(id) > events.MaxFieldLength {
		return events.Invalidf("conversation", "must be a conversation's id, 1 to %d bytes", events.MaxFieldLength)
	}
	talk, size := projections.NewTranscript(id), 0
	for rec, err := range s.deps.History.ReadCorrelation(r.ctx, id, maxConversationEvents+1) {
		if err != nil {
			return err
		}
		if size += rec.Size(); talk.Events() == maxConversationEvents || talk.Events() > 0 && size > maxPageBytes {
			talk.Truncate()
			break
		}
		if _, ok := rec.Stream.AgentID(); !ok {
			continue // somebody else's event of the same correlation
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			return err
		}
		talk.Apply(rec, p)
	}
	if talk.Events() == 0 {
		return fmt.Errorf("conversation %.100q: %w", id, events.ErrNoConversation)
	}
	return r.json(http.StatusOK, talk.View())
}
