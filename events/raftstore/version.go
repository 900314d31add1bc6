package raftstore

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// One number is the version of all that members give each other: entries, proposals,
// the records that these become, snapshots. A build understands every version up to
// its memberVersion. What it writes is of the cluster's version, which the last
// ClusterVersionRaised in the log says; 1 without one. So a cluster whose members are
// replaced one by one writes what the old build reads until the last is new.
const firstVersion = 1

// TooOldError is a build that does not understand what its cluster writes. It cannot
// take part: it would stop at the first entry of the new kind.
type TooOldError struct {
	Writes      uint32 // the cluster's version
	Understands uint32 // the build's
}

// Error implements error.
func (e *TooOldError) Error() string {
	return fmt.Sprintf("the cluster writes version %d and this build understands versions up to %d: "+
		"it was upgraded for good, and takes a build that understands %[1]d", e.Writes, e.Understands)
}

// Version returns the version that the cluster writes, as far as this member has
// applied, and the newest one that this build understands.
func (s *Store) Version() (writes, understands uint32) {
	return s.fsm.version.Load(), s.opts.version
}

// entryVersionAt is the version of entries in a cluster of some version.
func entryVersionAt(cluster uint32) byte { return byte(min(cluster, newestEntry)) }

// readVersion takes the cluster's version from the log. *TooOldError is one that this
// build does not understand.
func (f *fsm) readVersion() error {
	of := events.ReadAllOptions{
		From: events.EndOfLog, Direction: events.Backwards, Max: 1,
		Filter: events.Filter{
			Categories: []events.Category{events.ClusterStream().Category()},
			Types:      []events.Type{events.ClusterVersionRaised{}.EventType()},
		},
	}
	version := uint32(firstVersion)
	for ev, err := range f.replica.ReadAll(context.Background(), of) {
		if err != nil {
			return fmt.Errorf("read the cluster's version: %w", err)
		}
		if version, err = raisedTo(ev.Event); err != nil {
			return err
		}
	}
	f.version.Store(version)
	return f.checkVersion(version)
}

// raisedTo is the version that a ClusterVersionRaised tells.
func raisedTo(ev events.Event) (uint32, error) {
	p, err := events.Decode(ev)
	if err != nil {
		return 0, fmt.Errorf("read the cluster's version: %w", err)
	}
	raised, ok := p.(events.ClusterVersionRaised)
	if !ok {
		return 0, fmt.Errorf("read the cluster's version: %w", &events.CorruptError{Where: fmt.Sprintf("event %s", ev.ID), Reason: "is a " + string(ev.Type)})
	}
	return uint32(raised.To), nil
}

// checkVersion is a *TooOldError for a version that this build does not understand.
func (f *fsm) checkVersion(version uint32) error {
	if version > f.understands {
		return &TooOldError{Writes: version, Understands: f.understands}
	}
	return nil
}

// mayRaise reports whether entries may hold a ClusterVersionRaised.
func mayRaise(entries []pebblestore.Entry) bool {
	for i := range entries {
		for _, p := range entries[i].Proposals {
			if pebblestore.Appends(p, events.ClusterStream()) {
				return true
			}
		}
	}
	return false
}

// raise is the goroutine of a member whose build is newer than its cluster. While it
// leads it looks whether the others are too. It ends when there is nothing to raise.
func (s *Store) raise() {
	for s.fsm.version.Load() < s.opts.version {
		moved := s.leaderMoved()
		if s.Leads() {
			if err := s.raiseOnce(); err != nil {
				s.log.Debug("cluster's version not raised", "err", err)
			}
		}
		s.rest(s.life, moved, s.opts.Heartbeat)
		if _, failed := s.Failed(); failed || s.life.Err() != nil {
			return
		}
	}
}

// raiseOnce raises the cluster's version to what all members announce now, if that is
// more. Nobody is added meanwhile.
func (s *Store) raiseOnce() error {
	if !s.changing.TryLock() {
		return ErrChanging
	}
	defer s.changing.Unlock()
	ctx, cancel := context.WithTimeout(s.life, s.patience())
	defer cancel()
	if err := s.Sync(ctx); err != nil { // of this term: no older leader's act is unknown here
		return err
	}
	from, to := s.fsm.version.Load(), s.opts.version
	for _, m := range s.Members() {
		if m.ID == s.id.self {
			continue
		}
		there, err := s.ask(ctx, m.Address, m.ID)
		if err != nil {
			return fmt.Errorf("ask %s for its version: %w", m.Address, err)
		}
		to = min(to, there.version)
	}
	if to <= from {
		return nil
	}
	// Two leaders that raise at a time make the same event.
	id := uuid.NewSHA1(uuid.UUID(s.id.of()), fmt.Appendf(nil, "ClusterVersionRaised/%d", to))
	ev, err := events.Encode(events.EventID(id), events.ClusterVersionRaised{From: int(from), To: int(to)}, events.Metadata{})
	if err != nil {
		return err
	}
	if _, err := s.Append(ctx, events.ClusterStream(), events.Any(), ev); err != nil {
		return err
	}
	s.log.Info("cluster's version raised: older builds are refused from here on", "from", from, "to", to)
	return nil
}

// tooOld returns why a member whose build understands versions up to understands may
// not take part; "" when it may.
func (s *Store) tooOld(understands uint32) string {
	if writes := s.fsm.version.Load(); understands < writes {
		return (&TooOldError{Writes: writes, Understands: understands}).Error()
	}
	return ""
}
