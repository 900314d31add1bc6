package events

import "time"

// AgentStormDetected says that several agents failed within a short time on messages
// that come of one: what it says, or what one of them said because of it, spreads.
//
//   - Stream: storm-<scope>, of which there is one: storm-all.
//   - When: runs of 5 or more agents failed (other than by Refused, Expired or Killed) within 10 seconds of recorded time, on
//     messages with a common ancestor, through sends, replies and timers, in whatever conversations; again
//     for the same ancestor only after 10 seconds without a failure. Agents that join it
//     until then have their breakers opened too, without another of these.
//   - By: the node whose projections saw it, whatever revision the stream is at. Its id
//     follows from the failure that was one too many, so it is written once.
//   - Agent: nothing; it is no event of an agent's stream.
//   - Projections: nothing.
//   - Version 1: had conversation_id in place of ancestor and conversations: storms were looked for within one conversation.
type AgentStormDetected struct {
	// The common ancestor: the message from outside with which the chain of causes began
	// that led to each failure or, when that was over an hour before, the one in its chain that was
	// being handled then. Absent in what was version 1.
	Ancestor MessageID `json:"ancestor,omitzero"`
	// The conversations of the messages that failed, in the order of their first failure;
	// the first 16 of them.
	Conversations []string `json:"conversations"`
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

// Conversation is that of the first failure.
func (s AgentStormDetected) Conversation() string {
	if len(s.Conversations) == 0 {
		return ""
	}
	return s.Conversations[0]
}

// EventType implements Payload.
func (AgentStormDetected) EventType() Type { return "AgentStormDetected" }
