package actors

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// unknownBirth is how long an agent is counted of which nobody knows whether it was
// made: an append that is not in the log by then will not come.
const unknownBirth = time.Minute

// births are agents that are being made, or were and are not seen in the projection yet.
// With them the bound of agents holds however many deployments come at once: each takes
// its place before it does anything, under one lock, and leaves it when the projection
// counts its agent, or when there will be none.
type births struct {
	mu      sync.Mutex // guards below
	pending map[events.AgentID]birth
}

// birth is one of them.
type birth struct {
	under int             // requests under way that make it: repetitions of one, under its key
	at    events.Position // of the deployment, once it is durable
	until time.Time       // it counts, when the outcome of a request is unknown
}

// over reports whether an agent is counted elsewhere by now, or will not be.
func (x birth) over(seen events.Position, now time.Time) bool {
	return x.under == 0 && x.at <= seen && !now.Before(x.until)
}

// take counts an agent that is to be made, unless there are most without it: agents that
// the projection has at seen or later, and other births. One that the projection has
// needs no place of its own: the request is a repetition of that which made it. leave must follow.
// Error: events.ErrTooManyAgents, and then it must not.
func (b *births) take(id events.AgentID, most int, agents *projections.Agents, seen events.Position, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.pending, func(_ events.AgentID, x birth) bool { return x.over(seen, now) })
	x, known := b.pending[id]
	if !known && agents.LenWith(append(slices.Collect(maps.Keys(b.pending)), id)) > most {
		return tooMany(most)
	}
	if b.pending == nil {
		b.pending = make(map[events.AgentID]birth)
	}
	x.under++
	b.pending[id] = x
	return nil
}

// leave ends a request: at is where the agent was made, 0 when it was not by this one;
// until is how long it may have been, zero when that is known.
func (b *births) leave(id events.AgentID, at events.Position, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.pending[id]
	x.under, x.at = x.under-1, max(x.at, at)
	if until.After(x.until) {
		x.until = until
	}
	if b.pending[id] = x; x.under == 0 && x.at == 0 && x.until.IsZero() {
		delete(b.pending, id) // nobody made it
	}
}

// found says where an agent was made, if nobody knew whether it was.
func (b *births) found(id events.AgentID, at events.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x, known := b.pending[id]; known {
		x.at, x.until = max(x.at, at), time.Time{}
		b.pending[id] = x
	}
}

func tooMany(most int) error {
	return fmt.Errorf("%w: %d (runtime.max_agents)", events.ErrTooManyAgents, most)
}
