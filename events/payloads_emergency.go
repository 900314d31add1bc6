package events

// EmergencyStopped is an emergency stop: from now on no guest runs, on any node, until
// it is lifted. What waits is kept: messages from outside in inboxes, those of agents
// in their senders' streams. Agents' own status stays as it is.
//
//   - Stream: emergency-<scope>, of which there is one: emergency-all.
//   - When: an operator stops all agents. The guests have been stopped already: a stop
//     does not wait for the log. Not while one is in force.
//   - By: the gateway, whatever revision the stream is at. The metadata name who asked.
//   - Agent: nothing; it is no event of the agent's stream.
//   - Projections: nothing. A node reads the stream's last event when it starts.
type EmergencyStopped struct {
	// Why, in the words of who asked, at most 256 bytes. Absent when none was given.
	Reason string `json:"reason,omitempty"`
	// The nodes were to be shut down too. Absent (false) when only agents were.
	Cluster bool `json:"cluster,omitempty"`
}

// EmergencyLifted ends an emergency stop: agents go on as they were, with what their
// inboxes hold first.
//
//   - Stream: emergency-<scope>, of which there is one: emergency-all.
//   - When: an operator lets all agents run again. Not unless a stop is in force.
//   - By: the gateway, whatever revision the stream is at, before any guest runs.
//   - Agent: nothing; it is no event of the agent's stream.
//   - Projections: nothing.
type EmergencyLifted struct{}

// EventType implements Payload.
func (EmergencyStopped) EventType() Type { return "EmergencyStopped" }

// EventType implements Payload.
func (EmergencyLifted) EventType() Type { return "EmergencyLifted" }
