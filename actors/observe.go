package actors

import (
	"time"

	"github.com/caxton-run/caxton/events"
)

// Observer is told what the system does, for metrics. Its methods are called on
// hot paths from many goroutines: they must be quick and must not block.
type Observer interface {
	Routed(d time.Duration)                                                      // accepted by the gateway → in the mailbox
	Processed(status events.OutcomeStatus, fuel events.Fuel, wall time.Duration) // in the mailbox → its events durable
	Woke(d time.Duration)                                                        // a hibernating agent → able to run
	Crashed()                                                                    // an AgentCrashed event or an actor restarted
	Failed()                                                                     // an agent that supervision gave up, by an AgentFailed event
	DeadLettered(reason events.DeadLetterReason)
	Stormed() // many agents failed in one conversation
	Fenced()  // an append lost against another writer
}

// Unobserved is the Observer of those who do not look.
type Unobserved struct{}

// Routed implements Observer.
func (Unobserved) Routed(time.Duration) {}

// Processed implements Observer.
func (Unobserved) Processed(events.OutcomeStatus, events.Fuel, time.Duration) {}

// Woke implements Observer.
func (Unobserved) Woke(time.Duration) {}

// Crashed implements Observer.
func (Unobserved) Crashed() {}

// Failed implements Observer.
func (Unobserved) Failed() {}

// DeadLettered implements Observer.
func (Unobserved) DeadLettered(events.DeadLetterReason) {}

// Fenced implements Observer.
func (Unobserved) Fenced() {}

// Stormed implements Observer.
func (Unobserved) Stormed() {}
