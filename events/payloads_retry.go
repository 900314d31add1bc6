package events

// DeadLetterRetried says that a message which had been set aside was given to its
// receiver again, as a new message with the same content.
//
//   - Stream: agent-<uuid>, the one that the dead letter or quarantined message stands
//     in, whose agent may have been removed.
//   - When: an operator retries it, once the new message stands in the receiver's inbox.
//   - By: the actor of the agent whose stream it is, at the request of the principal in
//     the metadata.
//   - Agent: nothing changes.
//   - Projections: the message is no longer in the list of dead letters.
type DeadLetterRetried struct {
	// The message that had been set aside.
	MessageID MessageID `json:"message_id"`
	// The new message, whose id follows from the first one's: a retry that is repeated
	// makes the same.
	RetryID MessageID `json:"retry_id"`
	// Whose inbox it stands in.
	Receiver AgentID `json:"receiver"`
}

// EventType implements Payload.
func (DeadLetterRetried) EventType() Type { return "DeadLetterRetried" }
