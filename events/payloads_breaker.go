package events

import "time"

// BreakerOpened is a circuit breaker that opened by itself: messages that it would have
// let through are refused, those of agents become dead letters once they were tried
// three times.
//
//   - Stream: breaker-<scope>: all, node-<member>, agent-<uuid> or capability-<name>.
//   - When: breaker.consecutive_failures (10) outcomes in a row were failures, or more of
//     the last 100 than breaker.failure_percent (50); the trial of a half-open breaker
//     failed; failures came back during a gradual reset; the agent is one of those that
//     failed in a storm (AgentStormDetected).
//   - By: the actor of the node's breakers, whatever revision the stream is at. It holds
//     from before the append: protection does not wait for the log.
//   - Agent: nothing; it is no event of the agent's stream.
//   - Projections: nothing. A node reads the last event of each of these streams when it
//     starts; each says by itself how the breaker stands.
//   - Version 1: did not name the storm.
type BreakerOpened struct {
	// When, UTC, in microseconds.
	At time.Time `json:"at"`
	// What opened it: consecutive, share, trial, recovery or storm.
	Cause BreakerCause `json:"cause"`
	// Failures among the outcomes that were counted, from 1. Of a storm, those of all its
	// agents.
	Failures int `json:"failures"`
	// Outcomes that were counted, from 1: 1 for a trial, up to 100 for a share, up to 1000
	// in a row.
	Of int `json:"of"`
	// It had been opened by an operator before, and stays open until it is reset. Absent
	// (false) when it becomes half-open by itself.
	Forced bool `json:"forced,omitempty"`
	// Of a storm: the message that all its failures came of. Absent otherwise.
	Ancestor MessageID `json:"ancestor,omitzero"`
	// Of a storm: the conversation of its first failure, at most 256 bytes. Absent otherwise.
	ConversationID string `json:"conversation_id,omitempty"`
}

// BreakerHalfOpened lets one message through, to see.
//
//   - Stream: breaker-<scope>.
//   - When: a breaker that opened by itself has been open for 60 seconds.
//   - By: as of BreakerOpened.
//   - Agent: nothing; it is no event of the agent's stream.
//   - Projections: nothing.
type BreakerHalfOpened struct {
	// When, UTC, in microseconds.
	At time.Time `json:"at"`
}

// BreakerClosed lets all messages through again.
//
//   - Stream: breaker-<scope>.
//   - When: the trial went well; an operator reset the breaker; a gradual reset came to
//     its end; the agent was removed.
//   - By: as of BreakerOpened. The metadata name the operator.
//   - Agent: nothing; it is no event of the agent's stream.
//   - Projections: nothing.
type BreakerClosed struct {
	// When, UTC, in microseconds.
	At time.Time `json:"at"`
	// What closed it: trial, reset, recovered or removed.
	Cause BreakerCause `json:"cause"`
}

// BreakerForced is a breaker that an operator opened. It stays open until it is reset, or
// its agent is removed.
//
//   - Stream: breaker-<scope>.
//   - When: an operator activates a breaker. Not when it is forced already.
//   - By: as of BreakerOpened. The metadata name the operator.
//   - Agent: nothing; it is no event of the agent's stream.
//   - Projections: nothing.
type BreakerForced struct {
	// When, UTC, in microseconds.
	At time.Time `json:"at"`
	// Why, in the words of who asked, at most 256 bytes. Absent when none was given.
	Reason string `json:"reason,omitempty"`
}

// BreakerResetStarted begins a gradual reset: a share of the messages is let through
// that rises from none to all in equal steps of time. Should failures come back as they
// would open a closed breaker, it opens again.
//
//   - Stream: breaker-<scope>.
//   - When: an operator resets a breaker that is not closed, gradually.
//   - By: as of BreakerOpened. The metadata name the operator.
//   - Agent: nothing; it is no event of the agent's stream.
//   - Projections: nothing.
type BreakerResetStarted struct {
	// When, UTC, in microseconds.
	At time.Time `json:"at"`
	// Until all are let through, in milliseconds, > 0.
	DurationMS int64 `json:"duration_ms"`
	// It was opened by an operator, and will be again if failures come back. Absent
	// (false) when it had opened by itself.
	Forced bool `json:"forced,omitempty"`
}

// BreakerCause says what moved a breaker.
type BreakerCause string

// What moves a breaker.
const (
	BreakerConsecutive BreakerCause = "consecutive" // opens: failures in a row
	BreakerShare       BreakerCause = "share"       // opens: more than half were failures
	BreakerTrial       BreakerCause = "trial"       // opens or closes: the one message of a half-open breaker
	BreakerRecovery    BreakerCause = "recovery"    // opens: failures came back during a gradual reset
	BreakerStorm       BreakerCause = "storm"       // opens: many agents failed for one message
	BreakerReset       BreakerCause = "reset"       // closes: an operator
	BreakerRecovered   BreakerCause = "recovered"   // closes: the end of a gradual reset
	BreakerRemoved     BreakerCause = "removed"     // closes: the agent is no more
)

// EventType implements Payload.
func (BreakerOpened) EventType() Type { return "BreakerOpened" }

// EventType implements Payload.
func (BreakerHalfOpened) EventType() Type { return "BreakerHalfOpened" }

// EventType implements Payload.
func (BreakerClosed) EventType() Type { return "BreakerClosed" }

// EventType implements Payload.
func (BreakerForced) EventType() Type { return "BreakerForced" }

// EventType implements Payload.
func (BreakerResetStarted) EventType() Type { return "BreakerResetStarted" }
