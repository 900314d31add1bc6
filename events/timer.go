package events

import (
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Bounds of timers.
const (
	MinTimerAfter = 10 * time.Millisecond     // a shorter wait is made this long: a timer costs an append
	MaxTimerAfter = 10 * 365 * 24 * time.Hour // 10 years: what is longer is a slip of units
	MaxTimers     = 1024                      // pending per agent: each stays in memory while it waits
)

// TimerSender is the sender of a fired timer's message, and TimerProtocol its
// protocol. Nobody else may use that protocol, so an agent can rely on either.
const (
	TimerSender   = "timer"
	TimerProtocol = "timer"
)

// TimerID names one timer of one agent: 1, 2, 3 … in the order of their setting,
// never used twice. 0 is no timer.
type TimerID int64

// String returns the decimal form.
func (id TimerID) String() string { return strconv.FormatInt(int64(id), 10) }

// FromTimer returns which timer of the receiver a message is the firing of; ok is
// false for any other message.
func (m *Message) FromTimer() (id TimerID, ok bool) {
	if m.Sender != TimerSender || m.Protocol != TimerProtocol {
		return 0, false
	}
	n, err := strconv.ParseInt(m.InReplyTo, 10, 64)
	return TimerID(n), err == nil && n > 0
}

// Message is what reaches the agent when the timer is due. All of it follows from
// the event, so a timer that is delivered twice is the same message.
func (e *TimerSet) Message(to AgentID) Message {
	return Message{
		ID:           MessageID(uuid.NewSHA1(uuid.UUID(to), fmt.Appendf(nil, "timer/%d", e.Timer))),
		Performative: Inform, Sender: TimerSender, Receiver: to.String(),
		Content: e.Content, ContentBase64: e.ContentBase64, ConversationID: e.ConversationID,
		InReplyTo: e.Timer.String(), Protocol: TimerProtocol,
	}
}
