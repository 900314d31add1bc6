package agent

import (
	"fmt"

	"github.com/caxton-run/caxton/events"
)

// Decide turns a command into the events that follow from it, in order; none
// means that nothing changes. It leaves the state alone: Apply each event to
// move on.
//
// Errors: events.ErrAgentNotFound (no such agent, or removed),
// events.ErrConflict (Deploy of an agent that exists),
// events.ErrIllegalLifecycle (e.g. suspending a failed agent).
func Decide(s *State, c Command) ([]events.Payload, error) {
	if d, ok := c.(Deploy); ok {
		if s.Exists() {
			return nil, fmt.Errorf("deploy agent %s: %w", s.ID, events.ErrConflict)
		}
		return []events.Payload{d.Event}, nil
	}
	switch c := c.(type) {
	// A removed agent still answers for what it sent and received.
	case DeadLetter:
		return []events.Payload{c.Event}, nil
	case SkipInbox:
		return []events.Payload{c.Event}, nil
	}
	if !s.Exists() || s.Status == Removed {
		return nil, fmt.Errorf("agent %s: %w", s.ID, events.ErrAgentNotFound)
	}
	switch c := c.(type) {
	case Suspend:
		return s.suspend(c)
	case Resume:
		return s.resume()
	case Remove:
		return []events.Payload{events.AgentRemoved{}}, nil
	case Finish:
		return s.finish(c.Run), nil
	}
	return nil, fmt.Errorf("agent %s: unknown command %T", s.ID, c)
}

func (s *State) suspend(c Suspend) ([]events.Payload, error) {
	switch s.Status {
	case Suspended:
		return nil, nil
	case Failed:
		return nil, fmt.Errorf("suspend agent %s, which has failed: %w", s.ID, events.ErrIllegalLifecycle)
	}
	return []events.Payload{events.AgentSuspended{Reason: c.Reason}}, nil
}

func (s *State) resume() ([]events.Payload, error) {
	if s.Status == Running {
		return nil, nil
	}
	return []events.Payload{events.AgentResumed{}}, nil
}
