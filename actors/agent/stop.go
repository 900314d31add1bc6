package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Stop puts an agent out of service. With Drain a running one first works off what
// waits, until Until at the latest; one that does not run has nothing worked off.
// Stopping a stopped agent is no change, and neither is asking a draining one to
// drain.
type Stop struct {
	Reason string
	Drain  bool
	Grace  time.Duration // from now to Until; recorded for people
	Until  time.Time     // of the wall clock
}

// EndStop ends the draining of an agent that is to end by By, which says what stop is
// meant. It is no change for one that does not drain any more, or for another stop.
type EndStop struct {
	Cause events.StopCause
	By    int64 // State.StopBy
}

// Restart has the guest begin anew with its durable state, and lets the agent run,
// whatever its state.
//
// One that repeats a restart under its key is no change; under the key of another
// request it is events.ErrKeyReused.
type Restart struct {
	Reason   string
	Key      string // ScopedKey of the request, or empty
	BodyHash string
	At       time.Time // of the wall clock; not looked at without a key
}

func (Stop) isCommand()    {}
func (EndStop) isCommand() {}
func (Restart) isCommand() {}

func (s *State) stop(c Stop) []events.Payload {
	switch {
	case s.Status == Stopped, s.Status == Draining && c.Drain:
		return nil
	case s.Status == Running && c.Drain:
		return []events.Payload{events.AgentStopRequested{
			Reason: plain(c.Reason), GraceMS: c.Grace.Milliseconds(), Until: c.Until.UTC().Truncate(time.Microsecond),
		}}
	}
	return []events.Payload{events.AgentStopped{Reason: plain(c.Reason), Cause: events.StopAtOnce}}
}

func (s *State) endStop(c EndStop) []events.Payload {
	if s.Status != Draining || s.StopBy != c.By {
		return nil
	}
	return []events.Payload{events.AgentStopped{Reason: s.stopReason, Cause: c.Cause}}
}

func (s *State) restart(c Restart) ([]events.Payload, error) {
	e := events.AgentRestarted{Reason: c.Reason}
	if c.Key != "" {
		if use, known := s.Key(c.Key); known && use.BodyHash == c.BodyHash {
			return nil, nil
		} else if known {
			return nil, fmt.Errorf("restart agent %s: %w", s.ID, events.ErrKeyReused)
		}
		at := time.UnixMicro(max(c.At.UnixMicro(), s.Clock)).UTC()
		e.IdempotencyKey, e.BodyHash, e.At = c.Key, c.BodyHash, &at
	}
	return []events.Payload{e}, nil
}

// restarted is what an AgentRestarted does.
func (s *State) restarted(rev events.Revision, e events.AgentRestarted) {
	s.goTo(Running)
	s.crash = crashes{}
	s.useKey(e.IdempotencyKey, KeyUse{BodyHash: e.BodyHash, Revision: rev}, e.At)
}

// plain is a text as it comes back from the log, which is UTF-8: a reason is part of
// the state.
func plain(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// draining is what an AgentStopRequested does.
func (s *State) draining(e events.AgentStopRequested) {
	s.Status, s.StopBy, s.stopReason = Draining, e.Until.UnixMicro(), e.Reason
}

// goTo moves to a state in which nothing of a stop is left over.
func (s *State) goTo(to Status) {
	s.Status, s.StopBy, s.stopReason = to, 0, ""
}

// illegal is the error of a command that a state does not admit.
func (s *State) illegal(verb string) error {
	return fmt.Errorf("%s agent %s, which is %s: %w", verb, s.ID, s.Status, events.ErrIllegalLifecycle)
}
