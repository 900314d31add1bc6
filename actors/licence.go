package actors

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/caxton-run/caxton/events"
)

// licence is what guests run under: in a turn, in a replay that wakes one, when a new
// module is tried. Revoking it stops them all within a slice, whatever they do, and
// none begins any more; only a new licence lets guests run again.
type licence struct {
	ctx     context.Context // ends with the licence, and with the system
	cancel  context.CancelFunc
	revoked atomic.Pointer[time.Time] // when; nil while it is in force
	guests  atomic.Int64              // that run under it
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
	if l.isRevoked() {
		l.cancel() // revoke may not have come to it: whoever is refused finds the context ended
		l.leave()
		return false
	}
	return true
}

func (l *licence) leave() { l.guests.Add(-1) }

// revoke forbids guests and returns how many it found running. The first time of
// several stands.
func (l *licence) revoke(at time.Time) int64 {
	l.revoked.CompareAndSwap(nil, &at)
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

func (l *licence) isRevoked() bool { return l.revoked.Load() != nil }

// since is when it was revoked; zero while it is in force.
func (l *licence) since() time.Time {
	if at := l.revoked.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// halted reports whether an emergency stop is in force.
func (s *System) halted() bool { return s.licence.Load().isRevoked() }

// StoppedSince is when the emergency stop in force began; zero without one. It waits
// for nothing.
func (s *System) StoppedSince() time.Time { return s.licence.Load().since() }

// licensed does what runs a guest outside an agent's turn, with a context that ends
// with the licence too. Errors: events.ErrEmergencyStop, do's.
func (s *System) licensed(ctx context.Context, do func(context.Context) error) error {
	l := s.licence.Load()
	if !l.take() {
		return events.ErrEmergencyStop
	}
	defer l.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	err := do(ctx)
	if err != nil && l.isRevoked() {
		return events.ErrEmergencyStop
	}
	return err
}
