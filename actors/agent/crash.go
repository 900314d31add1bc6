package agent

import (
	"fmt"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Bounds of supervision.
const (
	MaxCrashesOfMessage = 3                // the third time, the message is quarantined
	MaxCrashes          = 10               // within CrashWindow, then the agent has failed
	CrashWindow         = 60 * time.Second // of recorded time
	FirstBackoff        = 100 * time.Millisecond
	MaxBackoff          = 30 * time.Second
)

// GiveUp fails an agent that cannot be woken without the end of the node's process. It
// is no change for one that does not run.
type GiveUp struct{ Times int } // in a row that the process ended, from 1

func (GiveUp) isCommand() {}

func (s *State) giveUp(c GiveUp) []events.Payload {
	if !s.Status.Runs() {
		return nil
	}
	return []events.Payload{events.AgentFailed{
		Reason:  fmt.Sprintf("the node's process ended %d times in a row while the agent was woken; a restart gives it an empty memory", c.Times),
		Crashes: c.Times, Outcome: events.OutcomeNodeCrash,
	}}
}

// crashes counts failures that may pass: of the message now being tried, and of
// the agent lately.
type crashes struct {
	message  events.MessageID
	attempts int
	recent   []int64 // µs since the Unix epoch, within CrashWindow, oldest first
}

func (c *crashes) attemptsOf(id events.MessageID) int {
	if c.message != id {
		return 0
	}
	return c.attempts
}

func (c *crashes) add(id events.MessageID, attempt int, at time.Time) {
	c.message, c.attempts = id, attempt
	now := at.UnixMicro()
	keep := c.recent[:0]
	for _, t := range c.recent {
		if now-t < CrashWindow.Microseconds() {
			keep = append(keep, t)
		}
	}
	c.recent = append(keep, now)
}

// wouldFail reports whether one more crash at now is one too many.
func (c *crashes) wouldFail(now int64) bool {
	n := 1
	for _, t := range c.recent {
		if now-t < CrashWindow.Microseconds() {
			n++
		}
	}
	return n >= MaxCrashes
}

// backoff before attempt+1: doubling from FirstBackoff up to MaxBackoff.
func backoff(attempt int) time.Duration {
	d := FirstBackoff
	for range attempt - 1 {
		if d *= 2; d >= MaxBackoff {
			return MaxBackoff
		}
	}
	return d
}
