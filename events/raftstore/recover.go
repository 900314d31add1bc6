package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// Recovered is what Recover did, for the operator to judge.
type Recovered struct {
	Cluster ClusterID // the new one: members of the old are refused from here on
	Was     ClusterID

	// End is the log that is left. Events at End.Next and beyond, if the members
	// that are gone acknowledged any, are lost.
	End pebblestore.Root
	// Unsure is the first position that this member had in its log without knowing
	// whether a quorum had it too: events from there to End are kept, though nobody
	// may ever have been told that they were taken. It is End.Next when there are
	// none.
	Unsure events.Position
}

// Recover makes the member in dir, which must not be open, a cluster of its own: for
// when the quorum is gone for good. What its log holds is kept, what only the others
// held is lost; Recovered says where the line is. The cluster gets a new id, so that
// no old member can come back and vote.
//
// All that it will apply is read before: a member that holds what this build does not
// understand stays as it is. Ended in the middle it is to be called again, and says the same.
// Errors: those of Adopt and Open, *TooOldError, and *events.InvalidError for a member that
// was never one of a cluster.
func Recover(dir string, o Options) (Recovered, error) {
	if err := o.Validate(); err != nil {
		return Recovered{}, err
	}
	o = o.withDefaults()
	s := newStore(dir, o)
	s.failing.Do(func() {}) // what fails is returned: there is no member yet that could go on
	out, err := s.recover()
	if err = errors.Join(err, s.abandon()); err != nil {
		return out, fmt.Errorf("recover member in %s: %w", dir, err)
	}
	return out, nil
}

func (s *Store) recover() (out Recovered, err error) {
	for _, step := range []func() error{s.checkDir, s.openDisk, s.recoverable, s.checkRest} {
		if err := step(); err != nil {
			return out, err
		}
	}
	begun, err := s.beginRecovery()
	if err != nil {
		return out, err
	}
	out.Was, out.Unsure = begun.was, begun.unsure
	// First of all: a crash in what follows must not leave a member that others
	// speak with.
	out.Cluster = ClusterID(uuid.New())
	if err := s.id.leave(out.Cluster); err != nil {
		return out, err
	}
	index, term, err := s.applyRest()
	if err != nil {
		return out, err
	}
	out.End = s.Root()
	return out, s.beginAnew(index, term)
}

// checkDir is checkMember: before openDisk.
func (s *Store) checkDir() error {
	_, err := checkMember(s.dir, s.opts.Log)
	return err
}

// recoverable refuses a member that has nothing to go on with, or cannot.
func (s *Store) recoverable() error {
	if s.id.of() == (ClusterID{}) {
		return events.Invalid("dir", "holds a member that belongs to no cluster")
	}
	if s.replica.ReadOnly() { // isolated: nothing can be applied to it
		return events.ErrReadOnly
	}
	last, err := s.logs.LastIndex()
	if err == nil && last == 0 && s.fsm.snaps.newest() == nil {
		err = events.Invalid("dir", "holds a member without a log")
	}
	return err
}

// recoveringName is the note of a recovery that was begun: cluster id (16) and first unsure
// position (8, big-endian), as they were before anything was changed. The next Open removes
// it.
const recoveringName = "recovering"

// recovering is what a recovery cannot find out again once it has begun.
type recovering struct {
	was    ClusterID
	unsure events.Position
}

// beginRecovery notes what this member is and knows, or returns what was noted.
func (s *Store) beginRecovery() (r recovering, err error) {
	path := s.fs.PathJoin(s.dir, recoveringName)
	b, ok, err := readNote(s.fs, path)
	if err != nil {
		return r, err
	}
	if ok {
		if len(b) != len(r.was)+8 {
			return r, &events.CorruptError{Where: "file " + path, Reason: fmt.Sprintf("holds %d bytes", len(b))}
		}
		copy(r.was[:], b)
		r.unsure = events.Position(binary.BigEndian.Uint64(b[len(r.was):]))
		return r, nil
	}
	// What is applied was committed; of what follows nobody here knows.
	r = recovering{s.id.of(), s.Root().Next}
	return r, writeNote(s.fs, path, binary.BigEndian.AppendUint64(append([]byte{}, r.was[:]...), uint64(r.unsure)))
}

// endRecovery removes the note: whoever opens the member has read what Recover said.
func (s *Store) endRecovery() error {
	err := s.fs.Remove(s.fs.PathJoin(s.dir, recoveringName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(s.fs, s.dir)
}

// commands goes through those of all entries behind the newest snapshot, committed or not,
// and returns where the log ends.
func (s *Store) commands(visit func(e *raft.Log) error) (index, term uint64, err error) {
	if newest := s.fsm.snaps.newest(); newest != nil {
		index, term = newest.meta.Index, newest.meta.Term
	}
	first, last, err := s.logs.extent()
	if err != nil {
		return 0, 0, err
	}
	for i := max(first, index+1); i <= last && last > 0; i++ {
		var e raft.Log
		if err := s.logs.read(i, &e); err != nil {
			return 0, 0, err
		}
		if e.Type == raft.LogCommand {
			if err := visit(&e); err != nil {
				return 0, 0, err
			}
		}
		index, term = e.Index, e.Term
	}
	return index, term, nil
}

// checkRest finds what applyRest could not apply, while nothing of the member is changed
// but what each start mends.
func (s *Store) checkRest() error {
	_, _, err := s.commands(func(e *raft.Log) error {
		term, proposals, err := decodeEntry(e.Data)
		if err == nil && term == e.Term && e.Index > s.replica.Applied() {
			err = s.checkProposals(proposals)
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		return nil
	})
	return err
}

// checkProposals refuses what the replica could not read, and what would end this build's
// part once it is applied.
func (s *Store) checkProposals(proposals [][]byte) error {
	for _, p := range proposals {
		appended, err := pebblestore.Appended(p, events.ClusterStream())
		if err != nil {
			return err
		}
		for _, ev := range appended {
			if ev.Type != (events.ClusterVersionRaised{}).EventType() {
				continue
			}
			version, err := raisedTo(ev)
			if err == nil {
				err = s.fsm.checkVersion(version)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// applyRest applies all that commands goes through.
func (s *Store) applyRest() (index, term uint64, err error) {
	return s.commands(func(e *raft.Log) error {
		s.fsm.Apply(e)
		return s.fsm.broken
	})
}

// beginAnew makes a snapshot of the log as it is, with this member as the only one,
// in the place of all entries.
func (s *Store) beginAnew(index, term uint64) error {
	c, err := s.fsm.snaps.checkpoint(s.replica)
	if err != nil {
		return err
	}
	// One index further: the snapshot is another than one that may be there at the
	// end of the log, and speaks of other members.
	sink, err := s.fsm.snaps.Create(raft.SnapshotVersionMax, index+1, term, s.alone(), index+1, nil)
	if err != nil {
		return err
	}
	if err := c.Persist(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return err
	}
	first, err := s.logs.FirstIndex()
	if err != nil {
		return err
	}
	return s.logs.DeleteRange(first, index)
}
