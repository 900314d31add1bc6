package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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
// next one. What a reader is slow to take is read when it takes it.
func (s *Server) agentEvents(r *request) error {
	opts, limit, err := r.historyOptions()
	if err != nil {
		return err
	}
	id, err := r.anyAgent()
	if err != nil {
		return err
	}
	if err := r.keeps(id, opts); err != nil {
		return err
	}
	page := &eventStream{server: s, ctx: r.connContext(), stream: events.AgentStream(id), opts: opts}
	next, err := page.measure(r.ctx, limit)
	if errors.Is(err, events.ErrStreamNotFound) {
		return fmt.Errorf("agent %s: %w", id, events.ErrAgentNotFound)
	}
	if err != nil {
		return err
	}
	if next != nil {
		r.link(fmt.Sprintf("%s/agents/%s/events?from=%d&limit=%d%s", base, id, *next, limit, directionQuery(opts.Direction)))
	}
	return r.events(page)
}

// Headers of a page of a history of which the beginning is gone.
const (
	HeaderHistoryFrom    = "Caxton-History-From"       // first revision that is kept
	HeaderHistoryRemoved = "Caxton-History-Removed-At" // when the rest was removed, RFC 3339
)

// keeps refuses a read of an agent's history that names a revision which is gone, and
// says on any other from where it is kept.
func (r *request) keeps(id events.AgentID, opts events.ReadStreamOptions) error {
	trim, ok, err := events.Trimmed(r.ctx, r.server.deps.History, id)
	if err != nil || !ok {
		return err
	}
	if r.query.Has("from") && opts.From < trim.Before {
		return &events.HistoryRemovedError{Agent: id, Before: trim.Before, At: trim.At}
	}
	r.c.Set(HeaderHistoryFrom, strconv.FormatUint(uint64(trim.Before), 10))
	if !trim.At.IsZero() {
		r.c.Set(HeaderHistoryRemoved, trim.At.UTC().Format(time.RFC3339))
	}
	return nil
}

// anyAgent is the agent of the path: by its full id a removed one too.
func (r *request) anyAgent() (events.AgentID, error) {
	ref, err := r.ref()
	if err != nil {
		return events.AgentID{}, err
	}
	if id, err := events.ParseAgentID(ref); err == nil {
		return id, nil
	}
	return r.agent()
}

// measure finds where a page of at most limit events and maxPageBytes ends, and
// which revision follows it, nil for none. Its first events are made; those beyond
// answerFree are only counted, and read again when the reader takes them.
func (e *eventStream) measure(ctx context.Context, limit int) (next *events.Revision, err error) {
	opts := e.opts
	opts.Max = limit + 1 // one more says whether there is a next page
	count, size := 0, 0
	for rec, err := range e.server.deps.History.ReadStream(ctx, e.stream, opts) {
		if err != nil {
			return nil, err
		}
		if count == limit || count > 0 && size+rec.Size() > maxPageBytes {
			return &rec.Revision, nil
		}
		count, size = count+1, size+rec.Size()
		if e.opts.Max > 0 || len(e.buf) >= answerFree {
			e.opts.Max++
			continue
		}
		if err := e.add(rec); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// events answers with a page that was measured.
func (r *request) events(page *eventStream) error {
	if page.opts.Max == 0 {
		page.end()
		return r.bytes(http.StatusOK, typeJSON, page.buf)
	}
	ctx := r.c.Context()
	ctx.Response.Header.SetContentType(typeJSON)
	if ctx.IsHead() { // the engine would end the missing body with a stray line
		return nil
	}
	if page.count() != nil {
		_ = page.Close()
		return r.noRoom()
	}
	ctx.SetBodyStream(page, -1)
	return nil
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
