package events

// AgentDeployed begins the history of an agent: who it is, which module it runs
// and within which bounds. The module's bytes stand in module-<sha256> before it.
//
//   - Stream: agent-<uuid>, revision 0 and nowhere else.
//   - When: a deployment is accepted, once the module compiles and starts.
//   - By: the gateway, expecting that the stream does not exist. Under an
//     Idempotency-Key the agent's id and the event's are derived from principal
//     and key, so the same request makes the same event.
//   - Agent: comes to be, with status running and all that stands here.
//   - Projections: the agent is listed by id, by name and in order of creation;
//     its inbox counts as one that can be worked off.
type AgentDeployed struct {
	// The agent, for ever: the one that the stream is named after.
	AgentID AgentID `json:"agent_id"`
	// 1 to 64 characters without control characters and "/". Need not be unique.
	Name string `json:"name"`
	// SHA-256 of the module as it was uploaded, lower-case hex.
	Module ModuleHash `json:"module_sha256"`
	// Of the module as it was uploaded, in bytes, > 0.
	ModuleSize int `json:"module_size"`
	// What one message may use; all > 0.
	Limits ResourceLimits `json:"resource_limits"`
	// Of the agent among others: low, normal, high or critical; empty means normal.
	Priority Priority `json:"priority"`
	// At most 32, keys of 1 to 63 bytes, values of 0 to 63. Absent when there are none.
	Labels Labels `json:"labels,omitempty"`
	// What a deployer should know about the module, in sentences, e.g. that it
	// handles no messages. Absent when there is nothing.
	Warnings []string `json:"warnings,omitempty"`
	// SHA-256 of the request, lower-case hex, to tell a repeated request from another
	// under the same Idempotency-Key. Absent without a key.
	RequestHash string `json:"request_hash,omitempty"`
}

// AgentSuspended holds an agent still. What is sent to it from now on is accepted
// and kept: messages from outside in its inbox, those of agents in their senders'
// streams.
//
//   - Stream: agent-<uuid>.
//   - When: a running agent is told to pause. Not for one that is suspended already.
//   - By: the agent's actor, at the request of the principal in the metadata.
//   - Agent: status becomes suspended; no message is run.
//   - Projections: the agent shows as suspended; its inbox waits with it.
type AgentSuspended struct {
	// Why, in the words of who asked, at most 256 bytes. Absent when none was given.
	Reason string `json:"reason,omitempty"`
}

// AgentResumed lets an agent that does not run go on, as it was, with what its inbox
// holds first. A stop that is not finished is called off.
//
//   - Stream: agent-<uuid>.
//   - When: a suspended, draining, stopped or failed agent is told to go on. Not for
//     one that runs.
//   - By: the agent's actor, at the request of the principal in the metadata.
//   - Agent: status becomes running, and all counts of crashes begin anew. Its memory
//     and its state are as they were.
//   - Projections: the agent shows as running; its inbox is worked off; what
//     other agents sent to it is carried to it.
type AgentResumed struct{}

// AgentRemoved ends an agent. Its history stays and can be read; its name is free
// and its id is never used again. What it sent before is still delivered.
//
//   - Stream: agent-<uuid>. After it only MessageDeadLettered, InboxSkipped,
//     ConversationTimedOut and DeadLetterRetried follow.
//   - When: an agent of any status is removed.
//   - By: the agent's actor, at the request of the principal in the metadata.
//   - Agent: status becomes removed, for ever.
//   - Projections: the agent leaves all lists; its inbox is forgotten; what is on
//     its way to it becomes dead letters in its senders' streams.
type AgentRemoved struct{}

// AgentFailed ends supervision: too many runs of the agent in too short a time
// ended in a way that may pass (Timeout, Killed, HostFault) without passing, or the agent
// cannot be woken without the end of the node's process.
// Messages from outside are refused until the agent is resumed; what stands in its
// inbox, and what agents send to it, is kept.
//
//   - Stream: agent-<uuid>, in the append of the AgentCrashed that was one too many, if
//     it was that.
//   - When: the tenth crash within 60 seconds of recorded time (the At of AgentCrashed);
//     or an agent is to be woken during whose wake the node's process ended three times
//     in a row.
//   - By: the agent's actor.
//   - Agent: status becomes failed.
//   - Projections: the agent shows as failed; its inbox waits with it.
//   - Version 1: had the reason alone. Crashes, window and outcome are read from its
//     text, which caxton wrote in one form; from any other text they are absent.
type AgentFailed struct {
	// The fields below in a sentence, for people.
	Reason string `json:"reason"`
	// AgentCrashed events within the window, the last one included, from 1; or ends of
	// the node's process. Absent (0) when version 1 did not say.
	Crashes int `json:"crashes,omitempty"`
	// Length of the window, in milliseconds of recorded time. Absent (0) for ends of the
	// process, which are counted in a row, and when version 1 did not say.
	WindowMS int64 `json:"window_ms,omitempty"`
	// How the last of these runs ended: Timeout, Killed or HostFault; or NodeCrash, for
	// ends of the process. Absent (empty) when version 1 did not say.
	Outcome OutcomeStatus `json:"outcome,omitempty"`
}

// EventType implements Payload.
func (AgentDeployed) EventType() Type { return "AgentDeployed" }

// EventType implements Payload.
func (AgentSuspended) EventType() Type { return "AgentSuspended" }

// EventType implements Payload.
func (AgentResumed) EventType() Type { return "AgentResumed" }

// EventType implements Payload.
func (AgentRemoved) EventType() Type { return "AgentRemoved" }

// EventType implements Payload.
func (AgentFailed) EventType() Type { return "AgentFailed" }
