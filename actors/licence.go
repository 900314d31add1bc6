package actors

import (
	"context"
	"sync/atomic"
	"time"
)

// licence is what guests run under: in a turn, in a replay that wakes one, when a new
// module is tried. Revoking it stops them all within a slice, whatever they do, and
// none begins any more; only a new licence lets guests run again.
type licence struct {
	ctx     context.Context // ends with the licence, and with the system
	cancel  context.CancelFunc
	revoked atomic.Bool
	guests  atomic.Int64 // that run under it
}

func newLicence(life context.Context) *licence {
	l := new(licence)
	l.ctx, l.cancel = context.WithCancel(life)
	return l
}

// take lets one guest run until leave; false when no guest may. It counts before it
// looks, and revoke looks after it has forbidden: either sees the other.
func (l *licence) take() bool {
	l.guests.Add(1)
	if l.revoked.Load() {
		l.leave()
		return false
	}
	return true
}

func (l *licence) leave() { l.guests.Add(-1) }

// revoke forbids guests and returns how many it found running.
func (l *licence) revoke() int64 {
	l.revoked.Store(true)
	l.cancel()
	return l.guests.Load()
}

// still waits until no guest runs any more. Error: ctx's.
func (l *licence) still(ctx context.Context) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for l.guests.Load() > 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// halted reports whether an emergency stop is in force.
func (s *System) halted() bool { return s.licence.Load().revoked.Load() }
