package events

import "time"

// AgentStormDetected says that several agents failed within a short time on messages
// of one conversation: what one of them said, or what started it, spreads.
//
//   - Stream: storm-<scope>, of which there is one: storm-all.
//   - When: runs of 5 or more agents failed (other than by Refused, Expired or Killed) within 10 seconds of recorded time, on
//     messages of one conversation; again for the same conversation only after 10
//     seconds without a failure.
//   - By: the node whose projections saw it, whatever revision the stream is at. Its id
//     follows from the failure that was one too many, so it is written once.
//   - Agent: nothing; it is no event of an agent's stream.
//   - Projections: nothing.
type AgentStormDetected struct {
	// The common ancestor of the failures, at most 256 bytes.
	ConversationID string `json:"conversation_id"`
	// The agents that failed, in the order of their first failure; the first 64 of them.
	Agents []AgentID `json:"agents"`
	// Agents in all, 5 or more.
	Count int `json:"count"`
	// Failures of theirs within the window, Count or more.
	Failures int `json:"failures"`
	// Recorded time of the first failure that counted, UTC.
	First time.Time `json:"first"`
	// Recorded time of the last one, UTC.
	Last time.Time `json:"last"`
	// Length of the window, in milliseconds.
	WindowMS int64 `json:"window_ms"`
}

// EventType implements Payload.
func (AgentStormDetected) EventType() Type { return "AgentStormDetected" }
