package events

import "time"

// ConversationTimedOut says that nobody answers any more in a conversation in which
// this agent waits for an answer. It is a record: nothing is cancelled, the agent is
// not told (it can set a timer of its own), and what is said later is delivered.
//
//   - Stream: agent-<uuid> of the agent that has waited longest, which may have been
//     removed.
//   - When: nothing was said in the conversation for messaging.conversation_timeout
//     (30 minutes) while an exchange was open that an agent began.
//   - By: the agent's actor, for the clock. The metadata have the conversation as
//     correlation.
//   - Agent: nothing changes.
//   - Projections: the conversation's open exchanges are closed as timed_out. One that
//     goes on afterwards opens anew.
type ConversationTimedOut struct {
	// The conversation.
	ConversationID string `json:"conversation_id"`
	// What the oldest open exchange follows: request, query or contract-net.
	Protocol string `json:"protocol"`
	// Where it stood: requested, asked, agreed, called, proposed or accepted.
	State string `json:"state"`
	// The agent that was to answer.
	Awaited AgentID `json:"awaited"`
	// Open exchanges of the conversation, from 1.
	Open int `json:"open"`
	// Recorded time of the last event of the conversation, UTC.
	LastActivity time.Time `json:"last_activity"`
}

// EventType implements Payload.
func (ConversationTimedOut) EventType() Type { return "ConversationTimedOut" }
