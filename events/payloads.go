package events

import "time"

// Payload is the content of one event type. Each is a struct whose comment is
// the specification of the event.
type Payload interface {
	EventType() Type
}

// AgentDeployed begins an agent's stream (agent-<uuid>, revision 0).
type AgentDeployed struct {
	AgentID     AgentID        `json:"agent_id"`
	Name        string         `json:"name"`
	Module      ModuleHash     `json:"module_sha256"`
	ModuleSize  int            `json:"module_size"` // bytes
	Limits      ResourceLimits `json:"resource_limits"`
	Priority    Priority       `json:"priority"`
	Labels      Labels         `json:"labels,omitempty"`
	Warnings    []string       `json:"warnings,omitempty"`     // e.g. that the module handles no messages
	RequestHash string         `json:"request_hash,omitempty"` // SHA-256 of the request that an Idempotency-Key stands for
}

// AgentSuspended holds the agent still: messages are accepted and kept.
type AgentSuspended struct {
	Reason string `json:"reason,omitempty"`
}

// AgentResumed lets a suspended agent run again.
type AgentResumed struct{}

// AgentRemoved ends the agent. Its history stays; its name is free.
type AgentRemoved struct{}

// MessageHandled is one message run to its end with status OK (or NoHandler):
// what came in, what the guest did, and what a replay needs.
type MessageHandled struct {
	Message        Message       `json:"message"`
	Outcome        OutcomeStatus `json:"outcome"`
	Reply          *Message      `json:"reply,omitempty"` // to an outsider; a reply to an agent is among Sends
	Sends          []Message     `json:"sends,omitempty"` // to agents; Receiver is an id, Sequence is set
	Logs           []LogLine     `json:"logs,omitempty"`
	State          []StateChange `json:"state,omitempty"`
	Host           HostRecord    `json:"host"`
	Fuel           Fuel          `json:"fuel"`
	MeterVersion   int           `json:"meter"`
	Module         ModuleHash    `json:"module_sha256"`
	Inbox          *Revision     `json:"inbox_revision,omitempty"` // where it waited, if it did
	IdempotencyKey string        `json:"idempotency_key,omitempty"`
	BodyHash       string        `json:"body_hash,omitempty"` // of the request under that key
}

// MessageFailed is one message whose run ended otherwise: its effects are
// dropped and the guest's memory is as before it.
type MessageFailed struct {
	Message        Message       `json:"message"`
	Outcome        OutcomeStatus `json:"outcome"`
	Detail         string        `json:"detail"`           // for people: the trap's text, the refusing status
	Status         int32         `json:"status,omitempty"` // what caxton_handle returned, when Refused
	Reply          *Message      `json:"reply,omitempty"`  // the failure told to an outsider
	Sends          []Message     `json:"sends,omitempty"`  // the failure told to an agent
	Logs           []LogLine     `json:"logs,omitempty"`   // kept: they say why
	Host           HostRecord    `json:"host"`
	Fuel           Fuel          `json:"fuel"`
	MeterVersion   int           `json:"meter"`
	Module         ModuleHash    `json:"module_sha256"`
	Inbox          *Revision     `json:"inbox_revision,omitempty"`
	IdempotencyKey string        `json:"idempotency_key,omitempty"`
	BodyHash       string        `json:"body_hash,omitempty"`
}

// MessageDeadLettered is a send of this agent that nobody will handle. It
// stands in the sender's stream.
type MessageDeadLettered struct {
	Message  Message          `json:"message"`
	Reason   DeadLetterReason `json:"reason"`
	Detail   string           `json:"detail,omitempty"`
	Attempts int              `json:"attempts"`
}

// DeadLetterReason names why a message became a dead letter.
type DeadLetterReason string

// Why a message becomes a dead letter.
const (
	DeadAgentNotFound DeadLetterReason = "AgentNotFound"
	DeadTimeout       DeadLetterReason = "Timeout"
	DeadTooLarge      DeadLetterReason = "TooLarge"
	DeadHopLimit      DeadLetterReason = "HopLimit"
	DeadInvalid       DeadLetterReason = "Invalid"
	DeadRefused       DeadLetterReason = "Refused"
)

// AgentCrashed is a run that failed in a way that may pass: the agent restarts
// from its history and tries the message again after Backoff.
type AgentCrashed struct {
	MessageID MessageID     `json:"message_id"`
	Outcome   OutcomeStatus `json:"outcome"`
	Detail    string        `json:"detail"`
	Attempt   int           `json:"attempt"`    // of this message, from 1
	BackoffMS int64         `json:"backoff_ms"` // before the next one
	At        time.Time     `json:"at"`         // the turn's clock; crash rates are counted in it
}

// AgentQuarantined sets a message aside that crashed the agent again and again.
type AgentQuarantined struct {
	Message        Message       `json:"message"`
	Outcome        OutcomeStatus `json:"outcome"`
	Detail         string        `json:"detail"`
	Attempts       int           `json:"attempts"`
	Reply          *Message      `json:"reply,omitempty"`
	Sends          []Message     `json:"sends,omitempty"`
	Inbox          *Revision     `json:"inbox_revision,omitempty"`
	IdempotencyKey string        `json:"idempotency_key,omitempty"`
	BodyHash       string        `json:"body_hash,omitempty"`
}

// AgentFailed ends supervision: the agent crashed too often. It takes no more
// messages until it is resumed.
type AgentFailed struct {
	Reason string `json:"reason"`
}

// MessageReceived keeps a message that was acknowledged before it was handled
// (inbox-<uuid>).
type MessageReceived struct {
	Message        Message `json:"message"`
	IdempotencyKey string  `json:"idempotency_key,omitempty"`
	BodyHash       string  `json:"body_hash,omitempty"`
}

// InboxSkipped closes an inbox entry without running it: the same request had
// been handled already under its Idempotency-Key.
type InboxSkipped struct {
	MessageID MessageID `json:"message_id"`
	Inbox     Revision  `json:"inbox_revision"`
	HandledAt Revision  `json:"handled_revision"` // of the event that handled the first request
}

// ModuleUploaded begins module-<sha256>: Chunks ModuleChunk events follow.
type ModuleUploaded struct {
	Module ModuleHash `json:"module_sha256"`
	Size   int        `json:"size"`   // bytes
	Chunks int        `json:"chunks"` // of at most ModuleChunkBytes
}

// ModuleChunkBytes is the size of all chunks of a module but the last: half an
// append, so that any chunk fits one with room.
const ModuleChunkBytes = 512 << 10

// TypeModuleChunk is the one event type whose data is not JSON: a part of a
// module's bytes, in order.
const TypeModuleChunk Type = "ModuleChunk"

// TypeSnapshotTaken is a guest's memory and its agent's state at a revision, in
// the binary form that the package actors/agent defines.
const TypeSnapshotTaken Type = "SnapshotTaken"

// EventType implements Payload.
func (AgentDeployed) EventType() Type { return "AgentDeployed" }

// EventType implements Payload.
func (AgentSuspended) EventType() Type { return "AgentSuspended" }

// EventType implements Payload.
func (AgentResumed) EventType() Type { return "AgentResumed" }

// EventType implements Payload.
func (AgentRemoved) EventType() Type { return "AgentRemoved" }

// EventType implements Payload.
func (MessageHandled) EventType() Type { return "MessageHandled" }

// EventType implements Payload.
func (MessageFailed) EventType() Type { return "MessageFailed" }

// EventType implements Payload.
func (MessageDeadLettered) EventType() Type { return "MessageDeadLettered" }

// EventType implements Payload.
func (AgentCrashed) EventType() Type { return "AgentCrashed" }

// EventType implements Payload.
func (AgentQuarantined) EventType() Type { return "AgentQuarantined" }

// EventType implements Payload.
func (AgentFailed) EventType() Type { return "AgentFailed" }

// EventType implements Payload.
func (MessageReceived) EventType() Type { return "MessageReceived" }

// EventType implements Payload.
func (InboxSkipped) EventType() Type { return "InboxSkipped" }

// EventType implements Payload.
func (ModuleUploaded) EventType() Type { return "ModuleUploaded" }
