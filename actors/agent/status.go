package agent

import "github.com/caxton-run/caxton/events"

// Status is where an agent stands in its life:
//
//	suspended ⇄ running ──stop──▶ draining ──drained, or late──▶ stopped
//	                │
//	                ▼
//	             failed
//
//	stop     from suspended and failed leads to stopped at once, as it does from
//	         running and draining when nothing is to be drained
//	resume   from every other state leads to running
//	restart  from every state leads to running
//	remove   from every state leads to removed, which is final
//
// There is no state before running: an agent that was deployed and never woken costs
// nothing and runs at its first message; nobody could tell it from one that
// hibernates. And only a running agent drains: one that is held still is not set
// going in order to be stopped.
type Status string

// The states of an agent.
const (
	None      Status = ""          // no event yet
	Running   Status = "running"   // takes messages
	Suspended Status = "suspended" // keeps messages in its inbox
	Draining  Status = "draining"  // works off what waits, then stops
	Stopped   Status = "stopped"   // takes no messages; resume and restart let it
	Failed    Status = "failed"    // supervision gave up; resume tries again
	Removed   Status = "removed"   // gone; its history stays
)

// known reports whether s is one of the states above.
func (s Status) known() bool {
	switch s {
	case None, Running, Suspended, Draining, Stopped, Failed, Removed:
		return true
	}
	return false
}

// Runs reports whether an agent at s may be given messages that wait for it.
func (s Status) Runs() bool { return s == Running || s == Draining }

// living reports whether there is an agent that is not removed.
func (s Status) living() bool { return s != None && s != Removed }

// admits reports whether an event may happen to an agent that stands at s. It is
// the table of the arrows above, and of what each state lets happen within it.
// AgentDeployed is not in it: it must be the first event and no other.
func (s Status) admits(p events.Payload) bool {
	switch p.(type) {
	case events.MessageDeadLettered, events.InboxSkipped, events.ConversationTimedOut, events.DeadLetterRetried:
		return s != None // what an agent sent and received outlives it
	case events.MessageHandled, events.MessageFailed, events.AgentCrashed, events.AgentQuarantined, events.AgentFailed,
		events.TimerSet, events.TimerFired, events.TimerCancelled:
		return s.Runs()
	case events.AgentSuspended, events.AgentStopRequested, events.HistoryTrimmed:
		return s == Running
	case events.AgentResumed:
		return s.living() && s != Running
	case events.AgentStopped:
		return s.living() && s != Stopped
	case events.AgentUpdated, events.CapabilityRegistered, events.AgentRestarted, events.AgentRemoved:
		return s.living()
	}
	return false // not an event of an agent's stream
}
