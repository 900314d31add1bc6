package actors

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/caxton-run/caxton/events"
)

// rest tells an agent's actor to hibernate if nothing waits, as its idle timeout
// would.
type rest struct{ looked chan struct{} } // closed by the actor when it has done so, whatever it found

// restWithin is how long Rest waits for agents that are busy.
const restWithin = 5 * time.Second

// Rest hibernates every agent in whose mailbox nothing waits, of these priorities if any
// are given, and returns how many these were, when they have given back their memory.
// Agents that work are left alone. Error: ctx's.
func (s *System) Rest(ctx context.Context, of ...events.Priority) (int, error) {
	boxes := s.registry.all()
	maps.DeleteFunc(boxes, func(id events.AgentID, _ *Mailbox) bool {
		v, ok := s.deps.Agents.Get(id)
		p := cmp.Or(v.Priority, events.Normal)
		return ok && len(of) > 0 && !slices.Contains(of, p)
	})
	looks := make(map[*Mailbox]chan struct{}, len(boxes))
	for _, box := range boxes {
		looks[box] = make(chan struct{})
		box.PostUserMessage(rest{looks[box]})
	}
	late := time.NewTimer(restWithin)
	defer late.Stop()
	for box, looked := range looks {
		select {
		case <-looked:
		case <-box.gone: // before it read its message
		case <-late.C:
			return len(boxes) - s.stillAwake(boxes), nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return len(boxes) - s.stillAwake(boxes), nil
}

// stillAwake counts the agents that have the same mailbox as then.
func (s *System) stillAwake(then map[events.AgentID]*Mailbox) int {
	now, n := s.registry.all(), 0
	for id, box := range then {
		if now[id] == box {
			n++
		}
	}
	return n
}
