package http

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

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
		return fmt.Errorf("message %s, among the newest: %w%s", id, events.ErrMessageNotFound, s.unlessRemoved())
	}
	return r.json(http.StatusOK, view)
}

// unlessRemoved is what an error says that looks for something in vain while parts of
// histories are gone.
func (s *Server) unlessRemoved() string {
	until := s.deps.Agents.RemovedUntil()
	if until.IsZero() {
		return ""
	}
	return "; events up to " + until.UTC().Format(time.RFC3339) + " may have been removed by events.retention"
}

// message returns a message as it stands; ok is false for one that is unknown, too
// old, or whose event was scavenged.
func (s *Server) message(ctx context.Context, id events.MessageID) (view projections.MessageView, ok bool, err error) {
	for {
		at, found := s.deps.Messages.Find(id)
		if !found {
			return view, false, nil
		}
		if view, ok, err = s.messageAt(ctx, id, at); !ok || err != nil || !s.ended(&view) {
			return view, ok, err
		}
		if now, _ := s.deps.Messages.Find(id); now == at {
			view.Status = projections.MessageEnded
			return view, true, nil
		}
	}
}

// ended reports whether a message that an event tells to be on its way is not. A newer
// event says how it ended, or did so before it was removed.
func (s *Server) ended(v *projections.MessageView) bool {
	if v.Position > s.deps.Agents.Position() {
		return false // not all projections know of it yet
	}
	switch v.Status {
	case projections.MessageInFlight:
		return !s.deps.Sends.InFlight(&v.Message)
	case projections.MessageQueued:
		return v.Inbox != nil && !s.deps.Inboxes.Open(v.Inbox.Agent, v.Inbox.Revision)
	}
	return false
}

// messageAt reads what the event at a position says about a message.
func (s *Server) messageAt(ctx context.Context, id events.MessageID, at events.Position) (view projections.MessageView, ok bool, err error) {
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
		return fmt.Errorf("conversation %.100q: %w%s", id, events.ErrNoConversation, s.unlessRemoved())
	}
	view := talk.View()
	if until := s.deps.Agents.RemovedUntil(); !until.IsZero() {
		view.RemovedUntil = &until
		for i := range view.Messages {
			if m := &view.Messages[i]; !view.Truncated && s.ended(m) {
				m.Status = projections.MessageEnded
			}
		}
	}
	return r.json(http.StatusOK, view)
}
