package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// Inboxes says which messages wait in an agent's inbox. It may be called from any
// goroutine and does not block.
type Inboxes interface {
	// Entries returns the revisions of the inbox's stream that wait, in order.
	Entries(id events.AgentID) []events.Revision

	// Open reports whether the entry at a revision waits.
	Open(id events.AgentID, rev events.Revision) bool
}

// agentMessages answers with what was said to an agent and by it, in the order of
// its history, each message as it stands now; with ?waiting=true with what waits in
// its inbox, oldest first. What one event tells of is not parted: a page may hold
// that many messages more than its limit.
func (s *Server) agentMessages(r *request) error {
	opts, limit, err := r.historyOptions()
	if err != nil {
		return err
	}
	waiting, err := r.flag("waiting")
	if err != nil {
		return err
	}
	if waiting && opts.Direction == events.Backwards {
		return events.Invalid("direction", "must be forwards with waiting=true")
	}
	id, err := r.anyAgent()
	if err != nil {
		return err
	}
	page := &messagePage{server: s, limit: limit, at: make(map[events.MessageID]int), list: []projections.MessageView{}}
	read := page.said
	if waiting {
		read = page.waiting
	} else if err := r.keeps(id, opts); err != nil {
		return err
	}
	if err := read(r.ctx, id, opts); err != nil {
		return err
	}
	if page.next != nil {
		more := directionQuery(opts.Direction)
		if waiting {
			more = "&waiting=true"
		}
		r.link(fmt.Sprintf("%s/agents/%s/messages?from=%d&limit=%d%s", base, id, *page.next, limit, more))
	}
	return r.json(http.StatusOK, page.list)
}

// messagePage gathers messages until there are limit of them, or maxPageBytes of
// events were read.
type messagePage struct {
	server *Server
	limit  int
	size   int
	list   []projections.MessageView
	at     map[events.MessageID]int // index into list
	next   *events.Revision         // of the page behind this one; nil for none
}

// full notes that a record is the next page's.
func (p *messagePage) full(rec events.Recorded) bool {
	if len(p.list) < p.limit && (p.size == 0 || p.size+rec.Size() <= maxPageBytes) {
		p.size += rec.Size()
		return false
	}
	p.next = &rec.Revision
	return true
}

// said reads the agent's history.
func (p *messagePage) said(ctx context.Context, id events.AgentID, opts events.ReadStreamOptions) error {
	for rec, err := range p.server.deps.History.ReadStream(ctx, events.AgentStream(id), opts) {
		if errors.Is(err, events.ErrStreamNotFound) {
			return fmt.Errorf("agent %s: %w", id, events.ErrAgentNotFound)
		}
		if err != nil {
			return err
		}
		if p.full(rec) {
			return nil
		}
		payload, err := events.Decode(rec.Event)
		if err != nil {
			return err
		}
		if err := p.add(ctx, rec, payload); err != nil {
			return err
		}
	}
	return nil
}

// add takes an event's messages. What an event says of a send is as of that event;
// the receiver's own says more.
func (p *messagePage) add(ctx context.Context, rec events.Recorded, payload events.Payload) error {
	for _, v := range projections.MessagesOf(rec, payload) {
		if v.Status == projections.MessageInFlight {
			now, ok, err := p.server.message(ctx, v.ID)
			if err != nil {
				return err
			}
			if ok {
				v = now
			} else if p.server.ended(&v) {
				v.Status = projections.MessageEnded
			}
		}
		if i, ok := p.at[v.ID]; ok { // an agent that sends to itself
			if p.list[i].Position < v.Position {
				p.list[i] = v
			}
			continue
		}
		p.at[v.ID] = len(p.list)
		p.list = append(p.list, v)
	}
	return nil
}

// waiting reads the agent's inbox, from its first entry that waits.
func (p *messagePage) waiting(ctx context.Context, id events.AgentID, opts events.ReadStreamOptions) error {
	if _, ok := p.server.deps.Agents.Get(id); !ok {
		return fmt.Errorf("agent %s: %w", id, events.ErrAgentNotFound)
	}
	open := p.server.deps.Inboxes.Entries(id)
	first, _ := slices.BinarySearch(open, opts.From)
	if open = open[first:]; len(open) == 0 {
		return nil
	}
	opts.From = open[0]
	for rec, err := range p.server.deps.History.ReadStream(ctx, events.InboxStream(id), opts) {
		if err != nil {
			return err
		}
		if rec.Revision > open[len(open)-1] {
			return nil
		}
		if _, waits := slices.BinarySearch(open, rec.Revision); !waits {
			continue
		}
		if p.full(rec) {
			return nil
		}
		payload, err := events.Decode(rec.Event)
		if err != nil {
			return err
		}
		p.list = append(p.list, projections.MessagesOf(rec, payload)...)
	}
	return nil
}
