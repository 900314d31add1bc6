package agent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/caxton-run/caxton/events"
)

// maxCarried bounds the senders and inbox entries that a HistoryTrimmed carries, so
// that it fits an append with room: some 80 bytes each. An agent with more keeps its
// history.
const maxCarried = 8192

// Trim gives up the oldest events of a running agent. Event has all but what the state
// knows: Seen, InboxNext and InboxAhead.
type Trim struct{ Event events.HistoryTrimmed }

func (Trim) isCommand() {}

// SafeLine returns the first revision that the state needs of the agent's history, or
// one beyond the last event when it needs none. Needed are where pending timers were
// set, whose content stands there, and where messages ended whose Idempotency-Keys
// still have their answer.
//
// It is one of several: a snapshot must stand for what is below, and sends, dead
// letters and conversations that are open are known to the projections.
func (s *State) SafeLine() events.Revision {
	line := s.Revision + 1
	for _, rev := range s.timers.pending {
		line = min(line, rev)
	}
	// Keys stand in the order of their events. One that is past its time and still
	// remembered is known, and its answer is not promised any more.
	for _, k := range s.keys.order {
		if use := s.keys.uses[k]; s.Clock-use.AtMicros <= KeyLifetimeMicros {
			return min(line, use.Revision)
		}
	}
	return line
}

// Trimmable reports why the state cannot give up its history before a revision now;
// nil when it can. Errors: events.ErrIllegalLifecycle (the agent does not run),
// events.ErrConflict (it needs an event below the line), events.ErrTooLarge (there is
// too much to carry).
func (s *State) Trimmable(before events.Revision) error {
	if s.Status != Running {
		return s.illegal("trim the history of")
	}
	if line := s.SafeLine(); before == 0 || before > line {
		return fmt.Errorf("trim the history of agent %s: before revision %d, and events from %d on are needed: %w",
			s.ID, uint64(before), uint64(line), events.ErrConflict)
	}
	if n := len(s.seen) + len(s.inbox.ahead); n > maxCarried {
		return fmt.Errorf("trim the history of agent %s: %d senders and inbox entries are to be carried over, at most %d can be: %w",
			s.ID, n, maxCarried, events.ErrTooLarge)
	}
	return nil
}

// trim decides a Trim. Errors: those of Trimmable, *events.InvalidError (Deployed is of
// another agent).
func (s *State) trim(c Trim) ([]events.Payload, error) {
	e := c.Event
	if err := s.Trimmable(e.Before); err != nil {
		return nil, err
	}
	if e.Deployed.AgentID != s.ID { // a fold of what is left would not know the agent
		return nil, fmt.Errorf("trim the history of agent %s: %w", s.ID, events.Invalid("deployed", "must be the event that made the agent"))
	}
	e.InboxNext, e.InboxAhead = s.inbox.next, slices.Sorted(maps.Keys(s.inbox.ahead))
	e.Seen = nil
	for ch, seq := range s.seen {
		e.Seen = append(e.Seen, events.SeenSend{From: ch.peer, Class: ch.class, Sequence: seq})
	}
	slices.SortFunc(e.Seen, func(x, y events.SeenSend) int {
		return cmp.Or(slices.Compare(x.From[:], y.From[:]), cmp.Compare(x.Class, y.Class))
	})
	return []events.Payload{e}, nil
}
