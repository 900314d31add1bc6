package projections

import (
	"sync/atomic"

	"github.com/caxton-run/caxton/events"
)

// Letters counts the messages that nobody will handle: dead letters, and those that
// are quarantined.
type Letters struct{ n atomic.Int64 }

// Apply implements Fold.
func (l *Letters) Apply(_ events.Recorded, p events.Payload) {
	switch p.(type) {
	case events.MessageDeadLettered, events.AgentQuarantined:
		l.n.Add(1)
	}
}

// Len is how many there are.
func (l *Letters) Len() int { return int(l.n.Load()) }
