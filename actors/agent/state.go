package agent

import (
	"fmt"

	"github.com/caxton-run/caxton/events"
)

// State is an agent at one revision: everything about it but its linear memory.
// Its zero value is an agent before its first event. It is for one goroutine.
type State struct {
	ID       events.AgentID
	Status   Status
	Name     string
	Module   events.ModuleHash
	Limits   events.ResourceLimits
	Priority events.Priority

	Revision events.Revision // of the last event applied
	Clock    int64           // the last time the guest was told, µs since the Unix epoch
	Handled  uint64          // messages run to their end, well or not
	StopBy   int64           // while draining, when to stop at the latest, µs since the Unix epoch; else 0

	values values // state_put; survives an update of the module
	sent   map[channel]uint64
	seen   map[channel]uint64
	keys   keyring
	inbox  inbox
	crash  crashes

	stopReason string // while draining
	timers     timers
	skills     map[string]struct{} // capabilities
}

// StateError is an event that cannot follow a state: a bug or a damaged log.
type StateError struct {
	Agent    events.AgentID
	Revision events.Revision
	Type     events.Type
	Reason   string
}

// Error implements error.
func (e *StateError) Error() string {
	return fmt.Sprintf("agent %s: %s at revision %d: %s", e.Agent, e.Type, e.Revision, e.Reason)
}

// Exists reports whether the agent has any event.
func (s *State) Exists() bool { return s.Status != None }

// Get returns a value of the guest's durable state. It makes State the reader a
// guest is run with. The bytes must not be changed.
func (s *State) Get(key string) ([]byte, bool) {
	v, ok := s.values.all[key]
	return v, ok
}

// Now is the clock for the next message: wall time, but always later than the
// last one told, so that no guest sees time go backwards after a move.
func (s *State) Now(wallMicros int64) int64 { return max(wallMicros, s.Clock+1) }

// Seen reports whether an agent's send, or a later one of its priority, has been
// handled already.
func (s *State) Seen(m *events.Message) bool {
	from, ok := m.FromAgent()
	return ok && m.Sequence > 0 && m.Sequence <= s.seen[channel{from, m.Class()}]
}

// Expected is what the next append to the agent's stream must expect.
func (s *State) Expected() events.ExpectedRevision {
	if !s.Exists() {
		return events.NoStream()
	}
	return events.Exact(s.Revision)
}

// InboxNext is the first inbox revision that may hold an unhandled message.
func (s *State) InboxNext() events.Revision { return s.inbox.next }

// InboxDone reports whether the inbox entry at r was handled.
func (s *State) InboxDone(r events.Revision) bool { return s.inbox.done(r) }

// Key returns what an Idempotency-Key stands for. The key must be scoped to its
// principal with ScopedKey.
func (s *State) Key(scoped string) (KeyUse, bool) { return s.keys.get(scoped) }

// CrashAttempts is how often this message has crashed the agent in a row.
func (s *State) CrashAttempts(id events.MessageID) int { return s.crash.attemptsOf(id) }
