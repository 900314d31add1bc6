package agent

import "github.com/caxton-run/caxton/events"

// Status is where an agent stands in its life:
//
//	running ⇄ suspended
//	   │  ▲       │
//	   ▼  │       │
//	  failed      │      (resume leads back to running)
//	   │          │
//	   └────┬─────┘
//	        ▼
//	     removed         (from every state, final)
type Status string

// The states of an agent.
const (
	None      Status = ""          // no event yet
	Running   Status = "running"   // takes messages
	Suspended Status = "suspended" // keeps messages in its inbox
	Failed    Status = "failed"    // supervision gave up; resume tries again
	Removed   Status = "removed"   // gone; its history stays
)

// known reports whether s is one of the states above.
func (s Status) known() bool {
	switch s {
	case None, Running, Suspended, Failed, Removed:
		return true
	}
	return false
}

// admits reports whether an event may happen to an agent that stands at s. It is
// the table of the arrows above, and of what each state lets happen within it.
// AgentDeployed is not in it: it must be the first event and no other.
func (s Status) admits(p events.Payload) bool {
	switch p.(type) {
	case events.MessageDeadLettered, events.InboxSkipped:
		return s != None // what an agent sent and received outlives it
	case events.MessageHandled, events.MessageFailed, events.AgentCrashed, events.AgentQuarantined,
		events.AgentFailed, events.AgentSuspended:
		return s == Running
	case events.AgentResumed:
		return s == Suspended || s == Failed
	case events.AgentRemoved:
		return s != None && s != Removed
	}
	return false // not an event of an agent's stream
}
