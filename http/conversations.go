package http

import (
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
	unknown := fmt.Errorf("message %s, among the newest: %w", id, events.ErrMessageNotFound)
	at, ok := s.deps.Messages.Find(id)
	if !ok {
		return unknown
	}
	for rec, err := range s.deps.History.ReadAll(r.ctx, events.ReadAllOptions{From: at, Max: 1}) {
		if err != nil {
			return err
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			return err
		}
		if view, ok := projections.FindMessage(rec, p, id); ok && rec.Position == at {
			return r.json(http.StatusOK, view)
		}
	}
	return unknown // its event was scavenged
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
