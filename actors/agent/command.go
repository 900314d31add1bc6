package agent

import "github.com/caxton-run/caxton/events"

// Command is something an agent is asked to do or is told happened.
type Command interface{ isCommand() }

// Deploy makes a new agent.
type Deploy struct {
	Event        events.AgentDeployed
	Capabilities []string // that the module registered while it was initialised
}

// Suspend holds a running agent still. Suspending a suspended one is no change.
type Suspend struct{ Reason string }

// Resume lets an agent that is suspended, draining, stopped or failed run, as it
// was. Resuming a running one is no change.
type Resume struct{}

// Remove ends an agent, whatever its state.
type Remove struct{}

// Finish says how the run of one message ended.
type Finish struct{ Run Run }

// DeadLetter gives up one of this agent's own sends.
type DeadLetter struct{ Event events.MessageDeadLettered }

// TimeOut records that a conversation in which this agent waits has timed out.
type TimeOut struct {
	Event events.ConversationTimedOut
}

// RetryLetter records that a message which was set aside has been given to its
// receiver again.
type RetryLetter struct{ Event events.DeadLetterRetried }

// SkipInbox closes an inbox entry whose message was handled already.
type SkipInbox struct{ Event events.InboxSkipped }

func (Deploy) isCommand()      {}
func (Suspend) isCommand()     {}
func (Resume) isCommand()      {}
func (Remove) isCommand()      {}
func (Finish) isCommand()      {}
func (DeadLetter) isCommand()  {}
func (SkipInbox) isCommand()   {}
func (RetryLetter) isCommand() {}
func (TimeOut) isCommand()     {}

// Run is one message and what the guest made of it.
type Run struct {
	Message  events.Message
	Inbox    *events.Revision // where the message waited, if it did
	Key      string           // ScopedKey of the request, or empty
	BodyHash string

	Host         events.HostRecord
	Status       events.OutcomeStatus
	GuestStatus  int32  // what caxton_handle returned, when Refused
	Detail       string // for people
	Attempts     int    // runs that ended with the process, when NodeCrash
	Replied      bool
	Reply        []byte
	ReplyBlob    *events.BlobRef // where Reply is, if it is too large for an event
	Sends        []Outgoing
	Logs         []events.LogLine
	State        []events.StateChange
	Timers       []TimerChange
	Capabilities []string
	Fuel         events.Fuel
	MeterVersion int
}

// Outgoing is one send of a guest with its receiver looked up: To, or the reason
// why it leads nowhere.
type Outgoing struct {
	Message events.Message // as the guest gave it
	To      events.AgentID
	Dead    events.DeadLetterReason // empty when To is an agent
	Detail  string
}
