package agent

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
