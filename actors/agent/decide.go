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
// events.ErrConflict (Deploy of an agent that exists), *events.InvalidError
// (Deploy without an id), events.ErrIllegalLifecycle (suspending an agent that is
// draining, stopped or failed; finishing a message of one that does not run),
// events.ErrKeyReused (Restart), *events.MigrationError (Update, whose migration leaves more state than is kept),
// those of Trim.
func Decide(s *State, c Command) ([]events.Payload, error) {
	if d, ok := c.(Deploy); ok {
		return s.deploy(d)
	}
	if !s.Exists() {
		return nil, fmt.Errorf("agent %s: %w", s.ID, events.ErrAgentNotFound)
	}
	switch c := c.(type) {
	// A removed agent still answers for what it sent and received.
	case DeadLetter:
		return []events.Payload{c.Event}, nil
	case TimeOut:
		return []events.Payload{c.Event}, nil
	case SkipInbox:
		return []events.Payload{c.Event}, nil
	case RetryLetter:
		return []events.Payload{c.Event}, nil
	}
	if s.Status == Removed {
		return nil, fmt.Errorf("agent %s: %w", s.ID, events.ErrAgentNotFound)
	}
	switch c := c.(type) {
	case Suspend:
		return s.suspend(c)
	case Resume:
		return s.resume()
	case Stop:
		return s.stop(c), nil
	case EndStop:
		return s.endStop(c), nil
	case Update:
		return s.update(c)
	case Trim:
		return s.trim(c)
	case Restart:
		return s.restart(c)
	case GiveUp:
		return s.giveUp(c), nil
	case Remove:
		return []events.Payload{events.AgentRemoved{}}, nil
	case Finish:
		if !s.Status.Runs() {
			return nil, s.illegal("finish message " + c.Run.Message.ID.String() + " of")
		}
		return s.finish(c.Run), nil
	}
	return nil, fmt.Errorf("agent %s: unknown command %T", s.ID, c)
}

func (s *State) deploy(c Deploy) ([]events.Payload, error) {
	if s.Exists() {
		return nil, fmt.Errorf("deploy agent %s: %w", s.ID, events.ErrConflict)
	}
	if c.Event.AgentID.IsZero() {
		return nil, events.Invalid("id", "must not be zero")
	}
	return append([]events.Payload{c.Event}, s.register(c.Capabilities, events.MessageID{})...), nil
}

func (s *State) suspend(c Suspend) ([]events.Payload, error) {
	switch s.Status {
	case Suspended:
		return nil, nil
	case Failed, Draining, Stopped:
		return nil, s.illegal("suspend")
	}
	return []events.Payload{events.AgentSuspended{Reason: c.Reason}}, nil
}

func (s *State) resume() ([]events.Payload, error) {
	if s.Status == Running {
		return nil, nil
	}
	return []events.Payload{events.AgentResumed{}}, nil
}
