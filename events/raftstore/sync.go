package raftstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
)

// Sync implements events.Store: what was committed anywhere before the call can be
// read here after it. It needs a leader that a quorum believes; without one it waits
// for ctx. events.ErrReadOnly is a member that failed.
func (s *Store) Sync(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case <-s.quit:
			return events.ErrClosed
		case <-s.stopped:
			return events.ErrReadOnly
		default:
		}
		moved := s.leaderMoved()
		index, err := s.askReadIndex(ctx, moved)
		if err == nil {
			return s.fsm.applied.wait(ctx, s.quit, s.stopped, index)
		}
		s.rest(ctx, moved, pause)
	}
}

// askReadIndex asks the leader, wherever it is.
func (s *Store) askReadIndex(ctx context.Context, moved <-chan struct{}) (uint64, error) {
	address, leader := s.raft.LeaderWithID()
	switch leader {
	case "":
		return 0, raft.ErrNotLeader
	case s.raftID():
		if !s.useRaft() {
			return 0, events.ErrClosed
		}
		defer s.release()
		return s.readIndex()
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	with, err := s.sessionWith(ctx, address, leader)
	if err != nil {
		return 0, err
	}
	reply, err := with.ask(ctx, moved, askReadIndex, nil)
	if err != nil {
		return 0, err
	}
	if reply.kind != replyIndex || len(reply.body) != 8 {
		return 0, fmt.Errorf("read index: %w", raft.ErrNotLeader)
	}
	return binary.BigEndian.Uint64(reply.body), nil
}

// readIndex returns the index of an entry with proposals such that whoever has
// applied it has applied all that was committed before the call. Errors mean that
// this member is not, or may not be, the leader. The caller holds using.
func (s *Store) readIndex() (uint64, error) {
	// All that follows is of one term: a leader that loses its term on the way, and wins a
	// later one, knows less than it did, until it has committed something in that.
	term := s.raft.CurrentTerm()
	// A new leader does not know how far its predecessors committed before it
	// committed something itself.
	if s.termOf(s.raft.CommitIndex()) != term {
		if err := s.raft.Barrier(0).Error(); err != nil {
			return 0, err
		}
	}
	index := s.raft.CommitIndex()
	if verified, err := s.verifyLeader(); err != nil {
		return 0, err
	} else if verified != term {
		return 0, raft.ErrLeadershipLost
	}
	return s.lastProposals(index)
}

// termOf returns the term of an entry; 0 when it is in a snapshot.
func (s *Store) termOf(index uint64) uint64 {
	var e raft.Log
	if s.logs.GetLog(index, &e) != nil {
		return 0
	}
	return e.Term
}

// lastProposals returns the last entry up to index that a replica is given: of the
// others it never hears.
func (s *Store) lastProposals(index uint64) (uint64, error) {
	for ; index > 0; index-- {
		var e raft.Log
		err := s.logs.GetLog(index, &e)
		switch {
		case errors.Is(err, raft.ErrLogNotFound):
			// In the snapshot, which this member has applied: no later than this.
			return s.fsm.applied.get(), nil
		case err != nil:
			return 0, err
		case e.Type == raft.LogCommand:
			return index, nil
		}
	}
	return 0, nil
}
