package events

// CapabilityRegistered says what an agent can do: from now on the receiver
// "capability:<name>" may mean it.
//
//   - Stream: agent-<uuid>.
//   - When: the module names the capability while it is initialised (the event then
//     stands in the append of AgentDeployed or AgentUpdated), or a guest calls register_capability in a
//     run that ended well. Not for one that the agent has already.
//   - By: the gateway, or the agent's actor in the append of that run's MessageHandled
//     and after it.
//   - Agent: has the capability, until it is removed.
//   - Projections: the agent is found by it.
type CapabilityRegistered struct {
	// 1 to 64 letters, digits and ". _ - /".
	Capability string `json:"capability"`
	// The message in whose run it was registered. All zeros when the module did so
	// while it was initialised.
	RegisteredBy MessageID `json:"registered_by"`
}

// EventType implements Payload.
func (CapabilityRegistered) EventType() Type { return "CapabilityRegistered" }
