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
// would. It puts a token into done when it has looked, whatever it found.
type rest struct{ done chan<- struct{} }

// restPoll is how often Rest looks for actors that ended before they read their
// message; restWithin how long it waits for those that are busy.
const (
	restPoll   = 10 * time.Millisecond
	restWithin = 5 * time.Second
)

// Rest hibernates every agent in whose mailbox nothing waits, of these priorities if any
// are given, and returns how many these were. Agents that work are left alone. Error:
// ctx's.
func (s *System) Rest(ctx context.Context, of ...events.Priority) (int, error) {
	boxes := s.registry.all()
	maps.DeleteFunc(boxes, func(id events.AgentID, _ *Mailbox) bool {
		v, ok := s.deps.Agents.Get(id)
		p := cmp.Or(v.Priority, events.Normal)
		return ok && len(of) > 0 && !slices.Contains(of, p)
	})
	done := make(chan struct{}, len(boxes))
	for _, box := range boxes {
		box.PostUserMessage(rest{done})
	}
	late, poll := time.NewTimer(restWithin), time.NewTicker(restPoll)
	defer late.Stop()
	defer poll.Stop()
	for looked := 0; looked < len(boxes) && s.stillAwake(boxes) > 0; {
		select {
		case <-done:
			looked++
		case <-poll.C:
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
