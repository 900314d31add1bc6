package events

import (
	"encoding/json"
	"time"
)

// TimerSet starts a timer of the agent. When it is due, a message with protocol
// timer comes to the agent, once.
//
//   - Stream: agent-<uuid>.
//   - When: a guest called timer_set in a run that ended well.
//   - By: the agent's actor, in the append of that run's MessageHandled and after it.
//   - Agent: the timer is pending, and its number used.
//   - Projections: the timer waits for its time, as long as the agent runs.
type TimerSet struct {
	// Numbers of an agent's timers count from 1.
	Timer TimerID `json:"timer_id"`
	// When it fires at the earliest, UTC, in microseconds: the clock of the run that set
	// it and what the guest asked for, 10 ms to 10 years later.
	DueAt time.Time `json:"due_at"`
	// What the agent is told then: JSON. Absent when the guest gave none or gave bytes.
	Content json.RawMessage `json:"content,omitempty"`
	// What the agent is told then: bytes that are not JSON, in base64.
	ContentBase64 []byte `json:"content_base64,omitempty"`
	// Of the message in whose run it was set; the timer's message belongs to it too.
	ConversationID string `json:"conversation_id"`
	// The message in whose run it was set.
	SetBy MessageID `json:"set_by"`
}

// TimerFired ends a timer whose message has been dealt with, well or not.
//
//   - Stream: agent-<uuid>.
//   - When: the timer's message was handled, failed or was quarantined.
//   - By: the agent's actor, in the append of the event that ends the message and after
//     it. So a timer fires once: whatever is lost in between is lost with its effects.
//   - Agent: the timer is no longer pending.
//   - Projections: the timer is forgotten.
type TimerFired struct {
	// The timer.
	Timer TimerID `json:"timer_id"`
	// Its message, derived from the agent and the timer's number.
	MessageID MessageID `json:"message_id"`
}

// TimerCancelled ends a timer before it has fired.
//
//   - Stream: agent-<uuid>.
//   - When: a guest called timer_cancel for a pending timer in a run that ended well.
//   - By: the agent's actor, in the append of that run's MessageHandled and after it.
//   - Agent: the timer is no longer pending.
//   - Projections: the timer is forgotten.
type TimerCancelled struct {
	// The timer.
	Timer TimerID `json:"timer_id"`
	// The message in whose run it was cancelled.
	CancelledBy MessageID `json:"cancelled_by"`
}

// EventType implements Payload.
func (TimerSet) EventType() Type { return "TimerSet" }

// EventType implements Payload.
func (TimerFired) EventType() Type { return "TimerFired" }

// EventType implements Payload.
func (TimerCancelled) EventType() Type { return "TimerCancelled" }
