package events

// MessageReceived keeps a message from outside that was acknowledged before it was
// handled. The event that ends the message names this entry by its revision.
//
//   - Stream: inbox-<uuid> of the receiver.
//   - When: the agent is suspended or slower than messaging.spill_after (100 ms).
//   - By: the gateway, or the agent's actor for one it holds, whatever revision the
//     inbox is at. The event's id is derived from the message's, so a message has one
//     entry however often it is put there.
//   - Agent: nothing; it is no event of the agent's stream.
//   - Projections: the entry waits, unless the agent is removed.
//   - Version 1: had no blob.
type MessageReceived struct {
	// As it was accepted; its receiver is the agent's id.
	Message Message `json:"message"`
	// The request's key, scoped to its principal. Absent without one.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	// SHA-256 of the request under that key, lower-case hex. Absent without a key.
	BodyHash string `json:"body_hash,omitempty"`
}

// InboxSkipped closes an inbox entry without running it: the message that it keeps
// has been handled.
//
//   - Stream: agent-<uuid> of the receiver.
//   - When: the agent comes to an entry whose Idempotency-Key stands for an earlier
//     event; or a message was put into the inbox while it was being handled: then in
//     the append of the event that ended it.
//   - By: the agent's actor.
//   - Agent: the entry counts as closed.
//   - Projections: the entry no longer waits.
type InboxSkipped struct {
	// Of the entry's message.
	MessageID MessageID `json:"message_id"`
	// Of the entry, in inbox-<uuid>.
	Inbox Revision `json:"inbox_revision"`
	// Of the event that ended the message, in agent-<uuid>.
	HandledAt Revision `json:"handled_revision"`
}

// EventType implements Payload.
func (MessageReceived) EventType() Type { return "MessageReceived" }

// EventType implements Payload.
func (InboxSkipped) EventType() Type { return "InboxSkipped" }
