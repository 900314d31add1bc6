package raftstore

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
)

// reconcile brings the three things on the disk together: snapshots, raft log, and
// the replica, which may lack what was not synced. A crash leaves one of the states
// it knows; anything else is damage.
func (s *Store) reconcile() error {
	newest := s.fsm.snaps.newest()
	var from, held uint64 // entries up to from are in the snapshot; held is the last one that it was made of
	if newest != nil {
		from, held = newest.meta.Index, newest.contents.applied
		if s.replica.Applied() < newest.contents.applied || s.Root().Next < newest.contents.end.Next {
			s.log.Info("log is older than the snapshot and taken from it", "snapshot", newest.meta.ID)
			if err := s.fsm.restore(newest); err != nil {
				return err
			}
		}
	}
	if err := s.dropStale(); err != nil {
		return err
	}
	first, last, err := s.logs.extent()
	if err != nil {
		return err
	}
	if err := checkExtent(first, last, from, held, s.replica.Applied()); err != nil {
		return err
	}
	s.fsm.applied.raise(s.replica.Applied())
	if s.replica.Applied() == held {
		s.fsm.handed = from
	}
	return s.checkEntries(max(first, from+1), last)
}

// dropStale removes entries of the raft log that did not lead to the newest snapshot, or do
// not follow it: the power was cut between one from the leader and the removal of what the
// log held, or before the leader's entries took the place of those that came after it.
func (s *Store) dropStale() error {
	first, last, err := s.logs.extent()
	newest := s.fsm.snaps.newest()
	if err != nil || newest == nil || last == 0 {
		return err
	}
	at := newest.meta
	head, tail := first <= at.Index && last < at.Index, false
	if first <= at.Index && last >= at.Index {
		term, err := s.logs.term(at.Index)
		if err != nil {
			return err
		}
		head = parts(at, at.Index, term)
		tail = head
	}
	if first <= at.Index+1 && last > at.Index && !tail {
		term, err := s.logs.term(at.Index + 1)
		if err != nil {
			return err
		}
		tail = parts(at, at.Index+1, term)
	}
	if tail && last > at.Index {
		if err := s.logs.DeleteRange(max(first, at.Index+1), last); err != nil {
			return err
		}
	}
	if head {
		return s.logs.DeleteRange(first, min(last, at.Index))
	}
	return nil
}

// parts reports whether an entry says that a log is not that of a snapshot: one in the place
// of the snapshot's last, which would have all before it as the snapshot has, of another
// term, or the one after it of an older term, for terms never fall. No quorum ever had it,
// nor what follows it.
func parts(from raft.SnapshotMeta, index, term uint64) bool {
	return index == from.Index && term != from.Term || index == from.Index+1 && term < from.Term
}

// checkExtent holds against each other the entries of the raft log (zeros for none), the
// last one in a snapshot by its name, the last one that it was made of, which goes further
// in one that was made while entries were applied again (none are any more), and the last
// one that was applied.
func checkExtent(first, last, snapshot, held, applied uint64) error {
	reason := ""
	switch end := max(last, snapshot, held); {
	case last > 0 && first > snapshot+1:
		reason = fmt.Sprintf("begins with entry %d, the snapshot ends with %d", first, snapshot)
	case applied > end:
		reason = fmt.Sprintf("ends with entry %d, entry %d was applied", end, applied)
	default:
		return nil
	}
	return &events.CorruptError{Where: "raft log", Reason: reason}
}

// checkEntries reads the entries that raft will read at once, and ends with an
// error where raft would with a panic.
func (s *Store) checkEntries(first, last uint64) error {
	for i := first; i <= last && i > 0; i++ {
		var e raft.Log
		err := s.logs.read(i, &e)
		if errors.Is(err, raft.ErrLogNotFound) {
			err = &events.CorruptError{Where: fmt.Sprintf("raft entry %d", i), Reason: fmt.Sprintf("is missing; the log ends with %d", last)}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bootstrap makes a cluster of this member alone, if that is wanted and it belongs
// to none. raft's state comes before the cluster's id: a member that has an id and
// no state was added to somebody else's.
func (s *Store) bootstrap(config *raft.Config) error {
	if s.id.of() != (ClusterID{}) {
		return nil
	}
	last, err := s.logs.LastIndex()
	if err != nil {
		return err
	}
	exists := last > 0 || s.fsm.snaps.newest() != nil
	if !exists && !s.opts.Bootstrap {
		return nil
	}
	if !exists {
		// The term is noted before there is anything of it. If the power was cut then,
		// raft would take the term alone for a cluster that it must not make again.
		if err := s.logs.SetUint64([]byte(currentTerm), 0); err != nil {
			return err
		}
	}
	switch {
	case exists: // the power was cut between the two
	case s.Root().Next > 0:
		err = s.takeOver()
	default:
		err = raft.BootstrapCluster(config, s.logs, s.logs, s.fsm.snaps, s.wire, s.alone())
	}
	if err != nil {
		return fmt.Errorf("make a cluster: %w", err)
	}
	_, err = s.id.join(ClusterID(uuid.New()))
	return err
}

// alone is the configuration of a cluster of this member.
func (s *Store) alone() raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: s.raftID(), Address: raftAddress(s.opts.Address, s.id.self),
	}}}
}

// currentTerm is raft's own key of the term in the stable store.
const currentTerm = "CurrentTerm"

// takeOver begins a cluster with a log that was written by pebblestore alone. It is
// not in any raft entry, so it must be a snapshot: who is added later begins with it.
func (s *Store) takeOver() error {
	c, err := s.fsm.snaps.checkpoint(s.replica)
	if err != nil {
		return err
	}
	if err := s.logs.SetUint64([]byte(currentTerm), 1); err != nil {
		return err
	}
	sink, err := s.fsm.snaps.Create(raft.SnapshotVersionMax, 1, 1, s.alone(), 1, s.wire)
	if err != nil {
		return err
	}
	if err := c.Persist(sink); err != nil {
		return err
	}
	return sink.Close()
}
