package http

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// Pages of dead letters.
const (
	PageLetters    = 100  // in a page when ?limit= is not given
	MaxPageLetters = 1000 // ?limit= of GET /dead-letters
)

// LetterView is one dead letter with the message that it is about.
type LetterView struct {
	projections.Letter
	Message events.Message `json:"message"`
}

// RetryReceipt is the answer to a retry.
type RetryReceipt struct {
	MessageID events.MessageID `json:"message_id"` // of the new message
	RetryOf   events.MessageID `json:"retry_of"`
	Receiver  events.AgentID   `json:"receiver"`
	Status    actors.Delivery  `json:"status"`
}

// listLetters answers with a page of messages that are set aside, the newest first.
func (s *Server) listLetters(r *request) error {
	limit, err := r.number("limit", PageLetters, 1, MaxPageLetters)
	if err != nil {
		return err
	}
	page, err := s.deps.Letters.List(r.query.Get("cursor"), int(limit))
	if err != nil {
		return err
	}
	r.c.Set(HeaderTotal, strconv.Itoa(page.Total))
	if page.Next != "" {
		r.link(fmt.Sprintf("%s/dead-letters?limit=%d&cursor=%s", base, limit, url.QueryEscape(page.Next)))
	}
	return r.json(http.StatusOK, page.Letters)
}

func (r *request) letterID() (events.MessageID, error) {
	id, err := events.ParseMessageID(r.c.Params("message"))
	if err != nil {
		return id, events.Invalid("message", "must be a message's id: a UUID in its 36-character form")
	}
	return id, nil
}

// getLetter answers with a letter and its message whole.
func (s *Server) getLetter(r *request) error {
	id, err := r.letterID()
	if err != nil {
		return err
	}
	unknown := fmt.Errorf("message %s: %w", id, events.ErrLetterNotFound)
	letter, ok := s.deps.Letters.Get(id)
	if !ok {
		return unknown
	}
	_, p, err := events.PayloadAt(r.ctx, s.deps.History, letter.Agent, letter.Revision)
	if errors.Is(err, events.ErrStreamNotFound) {
		return unknown
	}
	if err != nil {
		return err
	}
	switch p := p.(type) {
	case events.MessageDeadLettered:
		return r.json(http.StatusOK, LetterView{letter, p.Message})
	case events.AgentQuarantined:
		return r.json(http.StatusOK, LetterView{letter, p.Message})
	}
	return unknown
}

// retryLetter gives a letter to its receiver again.
func (s *Server) retryLetter(r *request) error {
	id, err := r.letterID()
	if err != nil {
		return err
	}
	out, err := s.deps.Commands.RetryLetter(r.ctx, r.caller, id)
	if err != nil {
		return err
	}
	r.reached(out.Position)
	return r.json(http.StatusAccepted, RetryReceipt{out.MessageID, out.RetryOf, out.Receiver, out.Status})
}
