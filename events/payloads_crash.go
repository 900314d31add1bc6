package events

import "time"

// AgentCrashed is a run that ended in a way that may pass (Timeout, Killed,
// HostFault). Nothing of it counts; the agent is rebuilt from its history and
// tries the message again after a pause.
//
//   - Stream: agent-<uuid>.
//   - When: such a run ended, also for the last time, beside AgentQuarantined.
//   - By: the agent's actor. The metadata name the message as cause.
//   - Agent: the message's attempts and the agent's recent crashes are counted; the
//     clock moves to At.
//   - Projections: it is the agent's last error. The message waits, or is in flight,
//     as before.
type AgentCrashed struct {
	// The message that ran; its content stands in the event that ends it.
	MessageID MessageID `json:"message_id"`
	// Timeout, Killed or HostFault.
	Outcome OutcomeStatus `json:"outcome"`
	// For people: the limit that was met, the host's fault.
	Detail string `json:"detail"`
	// Of this message in a row, from 1; the third one quarantines it.
	Attempt int `json:"attempt"`
	// Pause before the next attempt, in milliseconds: 100, doubled with each attempt,
	// at most 30,000.
	BackoffMS int64 `json:"backoff_ms"`
	// The clock that the run was given, UTC, in microseconds. Crash rates are counted in it.
	At time.Time `json:"at"`
}

// AgentQuarantined sets a message aside that crashed the agent three times in a
// row, or was running twice when the node's process ended uncleanly. It is not tried
// again; it is kept here whole. Whoever sent it is told.
//
//   - Stream: agent-<uuid> of the receiver, in the append of the third AgentCrashed if
//     there was one.
//   - When: the third run of one message in a row ended in a way that may pass; or in
//     place of its third run, when the process ended during the first two.
//   - By: the agent's actor. Metadata as of MessageHandled.
//   - Agent: the message counts as handled, its sequence as seen, its inbox entry as
//     closed, its Idempotency-Key as used; the sends use up their sequences; the
//     attempts of the message are forgotten.
//   - Projections: failed messages are counted; the message is no longer in flight nor
//     waiting; the sends are in flight.
//   - Version 1: counted one sequence for all priorities of a pair of agents, which is
//     now normal's; such a send of another priority has that as sequence_class. Had no
//     blob.
type AgentQuarantined struct {
	// As the guest got it.
	Message Message `json:"message"`
	// How the last run ended: Timeout, Killed or HostFault; NodeCrash when the process
	// ended with it.
	Outcome OutcomeStatus `json:"outcome"`
	// For people, of the last run.
	Detail string `json:"detail"`
	// Runs in all, 2 or more.
	Attempts int `json:"attempts"`
	// The failure, told to who asked from outside. Absent when an agent asked, and
	// when the message was itself such an answer.
	Reply *Message `json:"reply,omitempty"`
	// The failure, told to the agent that asked. Absent as for reply, the other way round.
	Sends []Message `json:"sends,omitempty"`
	// Revision of its MessageReceived in inbox-<uuid>. Absent when the message was
	// never put there.
	Inbox *Revision `json:"inbox_revision,omitempty"`
	// The request's key, scoped to its principal. Absent without one.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	// SHA-256 of the request under that key, lower-case hex. Absent without a key.
	BodyHash string `json:"body_hash,omitempty"`
}

// EventType implements Payload.
func (AgentCrashed) EventType() Type { return "AgentCrashed" }

// EventType implements Payload.
func (AgentQuarantined) EventType() Type { return "AgentQuarantined" }
