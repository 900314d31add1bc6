package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caxton-run/caxton/events"
)

// StoredEvent is one event of a stream as the interface shows it. Data that are
// not JSON are a string of base64.
type StoredEvent struct {
	ID          events.EventID     `json:"id"`
	Type        events.Type        `json:"type"`
	Stream      events.Stream      `json:"stream"`
	Revision    events.Revision    `json:"revision"`
	Position    events.Position    `json:"position"`
	RecordedAt  time.Time          `json:"recorded_at"`
	ContentType events.ContentType `json:"content_type"`
	Data        json.RawMessage    `json:"data"`
	Metadata    json.RawMessage    `json:"metadata"`
}

// agentEvents answers with a page of an agent's history: a removed agent's too,
// by its full id. A page ends at its limit or at maxPageBytes; a Link names the
// next one.
func (s *Server) agentEvents(r *request) error {
	opts, limit, err := r.historyOptions()
	if err != nil {
		return err
	}
	ref, err := r.ref()
	if err != nil {
		return err
	}
	id, err := events.ParseAgentID(ref)
	if err != nil {
		if id, err = r.agent(); err != nil {
			return err
		}
	}
	page := []StoredEvent{} // [] when there are none
	size := 0
	opts.Max = limit + 1 // one more says whether there is a next page
	for rec, err := range s.deps.History.ReadStream(r.ctx, events.AgentStream(id), opts) {
		if errors.Is(err, events.ErrStreamNotFound) {
			return fmt.Errorf("agent %s: %w", id, events.ErrAgentNotFound)
		}
		if err != nil {
			return err
		}
		if len(page) == limit || len(page) > 0 && size+rec.Size() > maxPageBytes {
			r.link(fmt.Sprintf("%s/agents/%s/events?from=%d&limit=%d%s", base, id, rec.Revision, limit, directionQuery(opts.Direction)))
			break
		}
		size += rec.Size()
		page = append(page, storedEvent(rec))
	}
	return r.json(http.StatusOK, page)
}

func (r *request) historyOptions() (events.ReadStreamOptions, int, error) {
	var (
		f    events.Faults
		opts events.ReadStreamOptions
	)
	switch d := r.query.Get("direction"); {
	case d == "backwards":
		opts.Direction, opts.From = events.Backwards, events.EndOfStream
	case d != "forwards" && r.query.Has("direction"):
		f.Add("direction", "must be forwards or backwards")
	}
	from, err := r.number("from", uint64(opts.From), 0, uint64(events.EndOfStream))
	f.Merge("from", err)
	limit, err := r.number("limit", PageEvents, 1, MaxPageEvents)
	f.Merge("limit", err)
	opts.From = events.Revision(from)
	return opts, int(limit), f.Err()
}

func directionQuery(d events.Direction) string {
	if d == events.Backwards {
		return "&direction=backwards"
	}
	return ""
}

func storedEvent(rec events.Recorded) StoredEvent {
	return StoredEvent{
		ID: rec.ID, Type: rec.Type, Stream: rec.Stream, Revision: rec.Revision,
		Position: rec.Position, RecordedAt: rec.RecordedAt, ContentType: rec.ContentType,
		Data: asJSON(rec.Data, rec.ContentType), Metadata: asJSON(rec.Metadata, events.JSON),
	}
}

// asJSON returns bytes as they are when they are the JSON that they claim to be.
func asJSON(b []byte, ct events.ContentType) json.RawMessage {
	if len(b) == 0 {
		return json.RawMessage("{}")
	}
	if ct == events.JSON && json.Valid(b) {
		return b
	}
	quoted, err := json.Marshal(b)
	if err != nil { // bytes: cannot fail
		panic(err)
	}
	return quoted
}
