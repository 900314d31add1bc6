package events

import "time"

// MessageHandled is one message run to its end, with outcome OK, or NoHandler when
// the module takes no messages: what came in, what the guest did, and everything
// that a replay needs to have the guest do it again.
//
//   - Stream: agent-<uuid> of the receiver.
//   - When: a run ended well. All messages of a turn are committed in one append.
//   - By: the agent's actor. The metadata have the conversation as correlation, the
//     message as cause and its sender as actor.
//   - Agent: the message counts as handled, its sequence as seen, its inbox entry as
//     closed, its Idempotency-Key as used; the clock moves to the host's; state is
//     written; the sends use up their sequences. A replay runs the guest on it.
//   - Projections: handled messages and fuel are counted; the message is no longer in
//     flight nor waiting; the sends are in flight.
//   - Version 1: counted one sequence for all priorities of a pair of agents, which is
//     now normal's; such a send of another priority has that as sequence_class. Had no
//     blob.
//   - Version 2: had no content_limit.
//   - Version 3: had no machine.
type MessageHandled struct {
	// As the guest got it, byte for byte but for white space between tokens of its content.
	Message Message `json:"message"`
	// OK or NoHandler.
	Outcome OutcomeStatus `json:"outcome"`
	// To who asked from outside. Absent when an agent asked (its reply is among the
	// sends), and when the guest gave none.
	Reply *Message `json:"reply,omitempty"`
	// To agents, in the order of the guest's calls. Each has its receiver's id and a
	// sequence. What led nowhere is not here but in MessageDeadLettered. Absent when
	// there are none.
	Sends []Message `json:"sends,omitempty"`
	// What the guest logged, in order. Absent when nothing.
	Logs []LogLine `json:"logs,omitempty"`
	// Writes to the guest's durable state, in order; the last one of a key counts.
	// Absent when there are none.
	State []StateChange `json:"state,omitempty"`
	// Clock and randomness that the guest was given.
	Host HostRecord `json:"host"`
	// Metered instructions that the run took. Comparable between equal meter versions only.
	Fuel Fuel `json:"fuel"`
	// Version of the meter's cost table, from 1.
	MeterVersion int `json:"meter"`
	// SHA-256 of the module that ran, lower-case hex.
	Module ModuleHash `json:"module_sha256"`
	// Revision of its MessageReceived in inbox-<uuid>. Absent when the message was
	// never put there.
	Inbox *Revision `json:"inbox_revision,omitempty"`
	// The request's key, scoped to its principal: both quoted, one after the other.
	// Remembered for 24 hours of recorded time. Absent without one.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	// SHA-256 of the request under that key, lower-case hex. Absent without a key.
	BodyHash string `json:"body_hash,omitempty"`
}

// MessageFailed is one message whose run ended in a way that would recur: its
// effects are dropped, the guest's memory and state are as before it, and whoever
// sent it is told. It is not tried again.
//
//   - Stream: agent-<uuid> of the receiver.
//   - When: a run ended with Refused, OutOfFuel, MemoryLimit, StackOverflow, Trap,
//     BadABI or EffectsTooLarge; or the message's reply_by had passed when its turn came
//     (Expired), and it was not run.
//   - By: the agent's actor. Metadata as of MessageHandled.
//   - Agent: the message counts as handled, its sequence as seen, its inbox entry as
//     closed, its Idempotency-Key as used; the clock moves; the sends use up their
//     sequences. Nothing is written to the guest's state, and a replay does not run it.
//   - Projections: failed messages and fuel are counted, and it is the agent's last
//     error; the message is no longer in flight nor waiting; the sends are in flight.
//   - Version 1: counted one sequence for all priorities of a pair of agents, which is
//     now normal's; such a send of another priority has that as sequence_class. Had no
//     blob.
//   - Version 2: had no content_limit.
//   - Version 3: had no machine.
type MessageFailed struct {
	// As the guest got it.
	Message Message `json:"message"`
	// How the run ended.
	Outcome OutcomeStatus `json:"outcome"`
	// For people: the trap and the functions it came through, the limit that was met.
	Detail string `json:"detail"`
	// What caxton_handle returned. Absent (0) unless the outcome is Refused.
	Status int32 `json:"status,omitempty"`
	// The failure, told to who asked from outside: performative failure, content
	// {code, reason}. Absent when an agent asked, and when the message was itself an
	// answer of this kind.
	Reply *Message `json:"reply,omitempty"`
	// The failure, told to the agent that asked. Absent as for reply, the other way round.
	Sends []Message `json:"sends,omitempty"`
	// What the guest logged before it failed: kept, for it says why. Absent when nothing.
	Logs []LogLine `json:"logs,omitempty"`
	// Clock and randomness that the guest was given.
	Host HostRecord `json:"host"`
	// Metered instructions until the end.
	Fuel Fuel `json:"fuel"`
	// Version of the meter's cost table, from 1.
	MeterVersion int `json:"meter"`
	// SHA-256 of the module that ran, lower-case hex.
	Module ModuleHash `json:"module_sha256"`
	// Revision of its MessageReceived in inbox-<uuid>. Absent when the message was
	// never put there.
	Inbox *Revision `json:"inbox_revision,omitempty"`
	// The request's key, scoped to its principal. Absent without one.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	// SHA-256 of the request under that key, lower-case hex. Absent without a key.
	BodyHash string `json:"body_hash,omitempty"`
}

// MessageDeadLettered gives up a message that nobody will handle: a send of this
// agent, or, with an inbox revision, one that was accepted for it from outside.
//
//   - Stream: agent-<uuid> of the sender, which may have been removed; of the receiver
//     for a message from outside.
//   - When: in the append of the event that caused the send, when the receiver's name
//     leads nowhere or the hop limit is reached; later, when its delivery is given up;
//     of a message from outside, when an operator discards what waits, after
//     AgentRemoved, or when its Idempotency-Key stands for another request; of what
//     somebody else wrote into the inbox, with that as the content.
//   - By: the actor of the agent whose stream it is, for the dispatcher where delivery
//     was tried.
//   - Agent: a sequence that was used stays used; the inbox entry counts as closed, the
//     Idempotency-Key, if there is one, as used.
//   - Projections: the send is no longer in flight, the inbox entry no longer waits.
//   - Version 1: had no inbox revision, because only sends became dead letters; a
//     removal ended what waited without an event.
//   - Version 2: counted one sequence for all priorities of a pair of agents, which is
//     now normal's; such a send of another priority has that as sequence_class. Had no
//     blob.
//   - Version 3: had no key: a discarded request that was repeated was handled.
type MessageDeadLettered struct {
	// The message. Its sequence is 0 (absent) when it never had a receiver.
	Message Message `json:"message"`
	// Why, as a name.
	Reason DeadLetterReason `json:"reason"`
	// Why, for people. Absent when the name says it all.
	Detail string `json:"detail,omitempty"`
	// Deliveries that were tried, from 1; 0 when none was possible.
	Attempts int `json:"attempts"`
	// Revision of its MessageReceived in inbox-<uuid>. Absent for a send.
	Inbox *Revision `json:"inbox_revision,omitempty"`
	// Of a message that was discarded, or whose agent was removed, the request's key,
	// scoped to its principal: a repetition is told so. Absent without one.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	// SHA-256 of the request under that key, lower-case hex. Absent without a key.
	BodyHash string `json:"body_hash,omitempty"`
	// When the key was used: the wall clock, or the agent's if that is ahead. Absent
	// without a key.
	At *time.Time `json:"at,omitempty"`
}

// DeadLetterReason names why a message became a dead letter.
type DeadLetterReason string

// Why a message becomes a dead letter.
const (
	DeadAgentNotFound DeadLetterReason = "AgentNotFound" // no agent has that id or name, or it was removed
	DeadTimeout       DeadLetterReason = "Timeout"       // its reply_by, or messaging.send_timeout, passed before it was delivered
	DeadTooLarge      DeadLetterReason = "TooLarge"      // beyond the limit of a message; not written yet
	DeadHopLimit      DeadLetterReason = "HopLimit"      // 1,000 agents had passed its cause on
	DeadInvalid       DeadLetterReason = "Invalid"       // its Idempotency-Key stands for another request, or it is no message
	DeadRefused       DeadLetterReason = "Refused"       // delivery ended in an error three times
	DeadBreakerOpen   DeadLetterReason = "BreakerOpen"   // a circuit breaker held the receiver off, three times
	DeadDiscarded     DeadLetterReason = "Discarded"     // an operator emptied the queue
)

// EventType implements Payload.
func (MessageHandled) EventType() Type { return "MessageHandled" }

// EventType implements Payload.
func (MessageFailed) EventType() Type { return "MessageFailed" }

// EventType implements Payload.
func (MessageDeadLettered) EventType() Type { return "MessageDeadLettered" }
