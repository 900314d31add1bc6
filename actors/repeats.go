package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// placeWithin bounds the wait for the projections before a capability's agent is chosen.
const placeWithin = 5 * time.Second

// sendOnce sends a request under an Idempotency-Key whose receiver may mean another agent
// by now than when the request was made first: it goes to the one that has it.
func (g *Gateway) sendOnce(ctx context.Context, r SendRequest) (Sent, error) {
	if strings.HasPrefix(r.Ref, events.CapabilityPrefix) {
		return g.sendPlaced(ctx, r)
	}
	// An agent that is no more runs nothing: it says what became of the request, or that
	// it never had it.
	for _, id := range g.sys.deps.Agents.Former(r.Ref) {
		before := r
		before.To = id
		if sent, err := g.send(ctx, before, func() {}); !errors.Is(err, events.ErrAgentNotFound) {
			return sent, err
		}
	}
	if r.Unfound != nil {
		return Sent{}, r.Unfound
	}
	return g.send(ctx, r, func() {})
}

// sendPlaced sends a request to a capability. While it is under way its place is kept, so
// that the same request goes to the same agent though none has it durably yet.
func (g *Gateway) sendPlaced(ctx context.Context, r SendRequest) (Sent, error) {
	id := messageID(r)
	to, leave, err := g.sys.places.take(ctx, id, func() (events.AgentID, error) { return g.sys.place(ctx, id, r) })
	if err != nil {
		return Sent{}, err
	}
	r.To = to
	return g.send(ctx, r, leave)
}

// messageID is the id of a request's message under its Idempotency-Key. It must not follow
// from whom a capability happens to mean.
func messageID(r SendRequest) events.MessageID {
	receiver := r.To.String()
	if strings.HasPrefix(r.Ref, events.CapabilityPrefix) {
		receiver = r.Ref
	}
	return events.KeyedMessageID(agent.ScopedKey(r.Principal, r.IdempotencyKey), receiver)
}

// place finds the agent that has a request; of a new one, that is the one chosen for it.
// Who has it shows only once the projections have seen all that is durable.
func (s *System) place(ctx context.Context, id events.MessageID, r SendRequest) (events.AgentID, error) {
	own, cancel := context.WithTimeout(ctx, placeWithin)
	defer cancel()
	if err := s.caughtUp(own); err != nil {
		return events.AgentID{}, fmt.Errorf("message to %s: %w: reads have not caught up, and whether the request is known is not either: %w",
			r.Ref, events.ErrOverloaded, err)
	}
	if to, known := s.deps.Requests.Find(id, s.deps.Now()); known {
		return to, nil
	}
	return r.To, r.Unfound
}

// places are the agents of those requests to capabilities that are under way. Its zero
// value is ready.
type places struct {
	mu   sync.Mutex // guards open, and the users of all in it
	open map[events.MessageID]*place
}

type place struct {
	users int
	found chan struct{} // closed when to and err are set
	to    events.AgentID
	err   error
}

// take returns the agent of a request: what find says, asked by one at a time and by none
// while another has the place. leave is to be called when nothing more will come of the
// request but what is durable. Errors: find's,
// events.ErrUnknownOutcome when ctx ended first.
func (p *places) take(ctx context.Context, id events.MessageID, find func() (events.AgentID, error)) (to events.AgentID, leave func(), err error) {
	for {
		at, first := p.join(id)
		leave = sync.OnceFunc(func() { p.leave(id, at) })
		if first {
			if at.to, at.err = find(); at.err != nil {
				leave() // before anyone is told: who tries again finds by itself
			}
			close(at.found)
			return at.to, leave, at.err
		}
		select {
		case <-at.found:
		case <-ctx.Done():
			leave()
			return events.AgentID{}, nil, unsettled(ctx)
		}
		if at.err == nil {
			return at.to, leave, nil
		}
		leave()
	}
}

func (p *places) join(id events.MessageID) (at *place, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at = p.open[id]
	if at == nil {
		if p.open == nil {
			p.open = make(map[events.MessageID]*place)
		}
		at, first = &place{found: make(chan struct{})}, true
		p.open[id] = at
	}
	at.users++
	return at, first
}

func (p *places) leave(id events.MessageID, at *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.users--; (at.users == 0 || at.err != nil) && p.open[id] == at {
		delete(p.open, id)
	}
}
