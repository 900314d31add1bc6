package events

import "time"

// AgentStopRequested begins to stop a running agent: from now on it takes nothing new,
// and works off what waits.
//
//   - Stream: agent-<uuid>.
//   - When: a running agent is told to stop and to drain its messages first. Not for
//     one that does not run: what it holds stays held.
//   - By: the agent's actor, at the request of the principal in the metadata.
//   - Agent: status becomes draining. Messages that waited before are run; later ones
//     from outside are refused, those of agents are kept in their senders' streams.
//   - Projections: the agent shows as draining; it is woken after a start, to go on
//     with it.
type AgentStopRequested struct {
	// Why, in the words of who asked, at most 256 bytes. Absent when none was given.
	Reason string `json:"reason,omitempty"`
	// How long it may take, in milliseconds, from 0.
	GraceMS int64 `json:"grace_ms"`
	// When that time is over, by the wall clock of who asked, UTC, in microseconds. What
	// is not worked off by then is kept.
	Until time.Time `json:"until"`
}

// AgentStopped puts an agent out of service until it is resumed or restarted. It
// takes no messages: those from outside are refused, those of agents are kept in
// their senders' streams, and what stands in its inbox stays there.
//
//   - Stream: agent-<uuid>.
//   - When: a draining agent has worked off what waited, or its time was over; or an
//     agent was told to stop without draining. Not for one that is stopped already.
//   - By: the agent's actor. The metadata name who asked only when nothing was drained.
//   - Agent: status becomes stopped; no message is run.
//   - Projections: the agent shows as stopped; its inbox waits with it.
type AgentStopped struct {
	// Why, in the words of who asked, at most 256 bytes. Absent when none was given.
	Reason string `json:"reason,omitempty"`
	// What ended it: drained, grace_expired or at_once.
	Cause StopCause `json:"cause"`
}

// StopCause says how an agent came to be stopped.
type StopCause string

// How an agent comes to be stopped.
const (
	StopDrained StopCause = "drained"       // it had worked off what waited
	StopExpired StopCause = "grace_expired" // its time was over before that
	StopAtOnce  StopCause = "at_once"       // nothing was to be drained
)

// AgentRestarted has the guest begin anew: its memory is that of a new instance of its
// module. Its durable state, its Idempotency-Keys and its sequences stay, and so does
// its inbox, which is worked off first.
//
//   - Stream: agent-<uuid>.
//   - When: an agent of any status but removed is told to restart. Not for a request that
//     repeats one under its Idempotency-Key.
//   - By: the agent's actor, at the request of the principal in the metadata.
//   - Agent: status becomes running, and all counts of crashes begin anew. A replay
//     makes a new instance here. The key is remembered.
//   - Projections: the agent shows as running; its inbox is worked off; what other
//     agents sent to it is carried to it.
//   - Version 1: had no Idempotency-Key.
type AgentRestarted struct {
	// Why, in the words of who asked, at most 256 bytes. Absent when none was given.
	Reason string `json:"reason,omitempty"`
	// The request's key, scoped to its principal: both quoted, one after the other.
	// Remembered for 24 hours of recorded time. Absent without one.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	// SHA-256 of the request under that key, lower-case hex. Absent without a key.
	BodyHash string `json:"body_hash,omitempty"`
	// When the key was used: the wall clock, or the agent's if that is ahead. Absent
	// without a key.
	At *time.Time `json:"at,omitempty"`
}

// EventType implements Payload.
func (AgentStopRequested) EventType() Type { return "AgentStopRequested" }

// EventType implements Payload.
func (AgentStopped) EventType() Type { return "AgentStopped" }

// EventType implements Payload.
func (AgentRestarted) EventType() Type { return "AgentRestarted" }
