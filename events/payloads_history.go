package events

import "time"

// HistoryTrimmed says that the oldest events of an agent may go: a replay has
// confirmed two snapshots that lie behind them, and nothing that is still open needs
// them. It carries what only they told, so that every fold of the log comes to the
// same as before without them.
//
//   - Stream: agent-<uuid>.
//   - When: events.retention is set, the agent runs, and at least 256 of its events are
//     older than that and no longer needed. The events are hidden after this one is
//     durable, and dropped by the next scavenge.
//   - By: the agent's actor, at the request of the node's keeper of histories.
//   - Agent: nothing changes.
//   - Projections: the agent shows from where its history is kept. Whoever reads the
//     log without the events that are gone takes from here what they said: the agent
//     itself, its counts, which inbox entries and which sends to it had ended.
type HistoryTrimmed struct {
	// The first revision that is kept. All below it may be gone.
	Before Revision `json:"before"`
	// The newest recorded time of an event below it, UTC, in microseconds.
	Until time.Time `json:"until"`
	// Events that this step gives up, from 256. Those of earlier steps are not counted.
	Events uint64 `json:"events"`
	// Their size in bytes: data, metadata and type.
	Bytes uint64 `json:"bytes"`
	// The age from which on events may go, in milliseconds: events.retention as it was
	// then.
	RetentionMS int64 `json:"retention_ms"`
	// The revisions of the two snapshots that a replay has confirmed, the older one
	// first. Before is at most one beyond the older.
	Snapshots []Revision `json:"snapshots"`
	// No conversation that was open, and no storm that was under way at this event,
	// began before this position; all events below Before lie before it.
	Settled Position `json:"settled"`
	// The event that made the agent.
	Deployed AgentDeployed `json:"deployed"`
	// When that was recorded.
	DeployedAt time.Time `json:"deployed_at"`
	// Its position in the whole log.
	Position Position `json:"position"`
	// The agent as readers see it at this event.
	Totals AgentTotals `json:"totals"`
	// The first inbox entry that may be open.
	InboxNext Revision `json:"inbox_next"`
	// Entries beyond it that are closed.
	InboxAhead []Revision `json:"inbox_ahead,omitempty"`
	// The last send of each other agent, by priority, that has ended here.
	Seen []SeenSend `json:"seen,omitempty"`
}

// AgentTotals are what readers see of an agent and what no other field of a
// HistoryTrimmed says.
type AgentTotals struct {
	Module          ModuleHash     `json:"module_sha256"`        // that it runs
	ModuleSize      int            `json:"module_size"`          // of it, in bytes
	Warnings        []string       `json:"warnings,omitempty"`   // what was found wanting of it
	Limits          ResourceLimits `json:"resource_limits"`      // it runs under
	Priority        Priority       `json:"priority"`             // of the agent
	Labels          Labels         `json:"labels"`               // of the agent, all of them
	Capabilities    []string       `json:"capabilities"`         // it has registered, sorted
	Timers          int            `json:"timers"`               // that are pending
	FuelUsed        Fuel           `json:"fuel_used"`            // by messages that were handled or failed
	MessagesHandled uint64         `json:"messages_handled"`     // MessageHandled events
	MessagesFailed  uint64         `json:"messages_failed"`      // MessageFailed and AgentQuarantined events
	LastError       *AgentError    `json:"last_error,omitempty"` // the newest failure; absent when there was none
	UpdatedAt       time.Time      `json:"updated_at"`           // when its last event was recorded that is no HistoryTrimmed
}

// AgentError is the newest failure of an agent.
type AgentError struct {
	Outcome OutcomeStatus `json:"outcome"` // how the run ended
	Detail  string        `json:"detail"`  // for people
	At      time.Time     `json:"at"`      // when it was recorded
}

// SeenSend is the last send of an agent that another one has dealt with: all of its
// priority up to this sequence have ended.
type SeenSend struct {
	From     AgentID  `json:"from"`     // the sender
	Class    Priority `json:"class"`    // the priority within which it counts
	Sequence uint64   `json:"sequence"` // of the send
}

// EventType implements Payload.
func (HistoryTrimmed) EventType() Type { return "HistoryTrimmed" }
