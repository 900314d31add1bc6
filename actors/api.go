package actors

import (
	"time"

	"github.com/caxton-run/caxton/events"
)

// Caller is who asks for a change and how the request can be recognised when it
// comes again.
type Caller struct {
	Principal      string // "user:anonymous" on an unauthenticated server
	IdempotencyKey string // at most events.MaxKeyLength bytes; empty means none
	TraceParent    string // W3C Trace Context, carried into the events' metadata
}

// DeployRequest asks for a new agent. Every field is checked again here: the
// REST server is not the only caller.
type DeployRequest struct {
	Caller
	Name       string
	UniqueName bool // refuse with events.ErrNameTaken when a living agent has the name
	Wasm       []byte
	Limits     events.ResourceLimits
	Priority   events.Priority
	Labels     events.Labels
}

// Deployed is an agent whose deployment is durable.
type Deployed struct {
	ID       events.AgentID
	Position events.Position
}

// SendRequest gives a message from outside to an agent.
type SendRequest struct {
	Caller
	To      events.AgentID
	Ref     string         // under a key, the receiver as the caller wrote it: an agent that has the request goes before To; empty is To
	Unfound error          // with Ref: why To is zero, which is said when no agent has the request
	Message events.Message // ID and ConversationID are chosen where they are empty
	Wait    time.Duration  // for the reply, after the message is durable; 0 does not wait
}

// Delivery is what had become of a message when the call returned. In every
// case the message is durable.
type Delivery string

// What becomes of a message.
const (
	Handled     Delivery = "handled"
	Failed      Delivery = "failed"      // its run ended other than OK; the reply says how
	Quarantined Delivery = "quarantined" // set aside after crashing the agent again and again
	Queued      Delivery = "queued"      // in the agent's inbox; it will be handled
	Discarded   Delivery = "discarded"   // a dead letter: an operator emptied the queue, or removed the agent
	Held        Delivery = "held"        // in the inbox of a suspended agent
)

// Sent answers a SendRequest.
type Sent struct {
	MessageID      events.MessageID
	ConversationID string
	Status         Delivery
	Reply          *events.Message // set only if the message was handled or failed before Send returned
	Position       events.Position // of the event that made it durable
}

// Command changes an agent's lifecycle.
type Command struct {
	Caller
	Agent  events.AgentID
	Reason string
}
