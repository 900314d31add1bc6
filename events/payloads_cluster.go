package events

// ClusterVersionRaised lets the members of a cluster write what older builds cannot
// read: from this event on records, commands and entries may be of version To.
//
//   - Stream: cluster-<scope>: main.
//   - When: every member of the cluster runs a build that understands To, and said so to
//     the leader. Until then all members write From, and each may go back to the build
//     it had; afterwards a build that does not understand To is refused.
//   - By: the leader of the replicated log, whatever revision the stream is at. The
//     event's id is made of the cluster's and of To, so it stands once.
//   - Agent: nothing; it is no event of an agent's stream.
//   - Projections: nothing.
type ClusterVersionRaised struct {
	// What members wrote before, from 1.
	From int `json:"from"`
	// What they may write from here on; more than From.
	To int `json:"to"`
}

// EventType implements Payload.
func (ClusterVersionRaised) EventType() Type { return "ClusterVersionRaised" }
