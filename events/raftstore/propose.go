package raftstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

const (
	// queueLength is how many proposals may wait before a caller blocks.
	queueLength = 1024
	// pause is between two attempts when nothing else says that another may fare
	// better: no leader is known, or it has no room.
	pause = 10 * time.Millisecond
	// maxPatience is how often the patience with a leader is doubled when it does not
	// answer in time. One that is slow has the proposals already, and each attempt is an
	// entry more for it: repeated at one pace they could come faster than it applies them.
	maxPatience = 3
)

// pending is a proposal and who waits for it.
type pending struct {
	ctx      context.Context
	proposal []byte
	done     chan pebblestore.Outcome // of capacity 1
	open     bool                     // an attempt may be taken yet; read by others once Store.settled is closed
}

// propose is the replica's pebblestore.Proposer.
func (s *Store) propose(ctx context.Context, proposal []byte) pebblestore.Outcome {
	if _, failed := s.Failed(); failed {
		return pebblestore.Outcome{Err: events.ErrReadOnly}
	}
	p := &pending{ctx: ctx, proposal: proposal, done: make(chan pebblestore.Outcome, 1)}
	select {
	case s.queue <- p:
	case <-ctx.Done():
		return pebblestore.Outcome{Err: ctx.Err()}
	case <-s.quit:
		return pebblestore.Outcome{Err: events.ErrClosed}
	}
	select {
	case o := <-p.done:
		return o
	case <-s.stopped:
		return pebblestore.Outcome{Err: events.ErrUnknownOutcome}
	case <-ctx.Done():
		return pebblestore.Outcome{Err: ctx.Err()}
	case <-s.quit:
		return s.lastWord(p)
	}
}

// lastWord is what became of a proposal that was under way when the store was closed: an
// entry that raft has taken is applied yet, and refused is only what was never tried.
func (s *Store) lastWord(p *pending) pebblestore.Outcome {
	select {
	case <-s.settled:
	case <-p.ctx.Done():
		return pebblestore.Outcome{Err: p.ctx.Err()}
	}
	select {
	case o := <-p.done:
		return o
	default:
	}
	if p.open {
		return pebblestore.Outcome{Err: fmt.Errorf("%w: the store was closed", events.ErrUnknownOutcome)}
	}
	return pebblestore.Outcome{Err: events.ErrClosed}
}

// gather is the proposer's goroutine: what waits while an entry is on its way to
// the disks of a quorum becomes the next. That one goes to the disks while the last
// is applied; more on the way at a time make smaller entries, and a sync for each.
func (s *Store) gather() {
	var carrying sync.WaitGroup
	defer func() {
		carrying.Wait()
		close(s.settled)
	}()
	way := make(chan struct{}, 1)
	for {
		var group []*pending
		select {
		case way <- struct{}{}:
		case <-s.quit:
			return
		}
		select {
		case p := <-s.queue:
			group = append(group, p)
		case <-s.quit:
			return
		}
		for size := len(group[0].proposal); len(group) < maxProposals; {
			select {
			case p := <-s.queue:
				group = append(group, p)
				if size += len(p.proposal); size < maxEntryBytes {
					continue
				}
			default:
			}
			break
		}
		clear := sync.OnceFunc(func() { <-way })
		carrying.Go(func() {
			defer clear()
			s.carry(group, clear)
		})
	}
}

// carry brings a group into the order and answers it. An attempt whose outcome is
// not known is followed by another with the same proposals, until it is known or
// nobody waits. It calls committed, at least once if the group is taken, when the
// next group may follow.
func (s *Store) carry(group []*pending, committed func()) {
	unknown, within := false, s.patience()
	for {
		if group = stillWaiting(group); len(group) == 0 {
			return
		}
		moved := s.leaderMoved() // before the attempt: a change during it is not missed
		t, what := s.attempt(group, moved, within, committed)
		if what == fateTaken {
			committed()
			s.answer(group, t, unknown)
			return
		}
		if what == fateUnknown {
			unknown, within = true, min(2*within, s.patience()<<maxPatience)
			for _, p := range group {
				p.open = true
			}
		}
		s.rest(context.Background(), moved, pause)
		if _, failed := s.Failed(); failed || s.life.Err() != nil {
			return // propose tells them
		}
	}
}

// rest is between two attempts: it ends early when another leader is known, or when
// there is nothing more to try for.
func (s *Store) rest(ctx context.Context, moved <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-moved:
	case <-timer.C:
	case <-ctx.Done():
	case <-s.stopped:
	case <-s.quit:
	}
}

func stillWaiting(group []*pending) []*pending {
	var out []*pending
	for _, p := range group {
		if p.ctx.Err() == nil {
			out = append(out, p)
		}
	}
	return out
}

// answer tells a group what became of it, once this member has applied it: who
// reads here after an append finds it. When the store closes nobody reads here any more.
func (s *Store) answer(group []*pending, t *taken, unknown bool) {
	err := s.fsm.applied.wait(context.Background(), s.quit, s.stopped, t.index)
	if err != nil && !errors.Is(err, events.ErrClosed) { // propose tells them: it was taken, whoever else knows
		for _, p := range group {
			p.open = true
		}
		return
	}
	for i, p := range group {
		o := t.outcomes[i]
		if unknown && errors.Is(o.Err, events.ErrStreamDeleted) {
			// The stream ended since an earlier attempt, which may have been taken.
			o.Err = fmt.Errorf("%w: %w", events.ErrUnknownOutcome, o.Err)
		}
		p.done <- o
	}
}

// fate is what is known of an attempt.
type fate uint8

const (
	fateTaken   fate = iota // it is applied, and its outcomes are known
	fateVoid                // it changed nothing, and never will
	fateUnknown             // it may be applied yet, in its term
)

// attempt tries once to bring a group into the order; another member that leads has
// within to answer.
func (s *Store) attempt(group []*pending, moved <-chan struct{}, within time.Duration, committed func()) (*taken, fate) {
	proposals := make([][]byte, len(group))
	for i, p := range group {
		proposals[i] = p.proposal
	}
	address, leader := s.raft.LeaderWithID()
	switch {
	case leader == "":
		return nil, fateVoid
	case leader == s.raftID():
		if !s.useRaft() {
			return nil, fateVoid
		}
		defer s.release()
		entry := encodeEntry(entryVersionAt(s.fsm.version.Load()), s.raft.CurrentTerm(), proposals)
		defer s.fsm.expect(entry, committed)()
		return fateOf(s.raft.Apply(entry, 0))
	}
	ctx, cancel := context.WithTimeout(s.life, within)
	defer cancel()
	return s.forward(ctx, address, leader, proposals, moved)
}

// fateOf waits for what becomes of an entry given to raft.
func fateOf(future raft.ApplyFuture) (*taken, fate) {
	switch err := future.Error(); {
	case err == nil:
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return nil, fateVoid // it did not get into the log
	default:
		return nil, fateUnknown
	}
	t, ok := future.Response().(*taken)
	switch {
	case !ok || t.err != nil || (!t.void && t.outcomes == nil):
		return nil, fateUnknown
	case t.void:
		return nil, fateVoid
	}
	return t, fateTaken
}

// forward sends a group to the leader.
func (s *Store) forward(ctx context.Context, at raft.ServerAddress, leader raft.ServerID, proposals [][]byte, moved <-chan struct{}) (*taken, fate) {
	with, err := s.sessionWith(ctx, at, leader)
	if err != nil {
		s.log.Debug("no session with the leader", "member", string(leader), "err", err)
		return nil, fateVoid
	}
	reply, err := with.ask(ctx, moved, askPropose, encodeEntry(entryVersionAt(s.fsm.version.Load()), with.term, proposals))
	if err == nil && reply.kind == replyTaken && len(reply.body) >= 8 {
		t := &taken{index: binary.BigEndian.Uint64(reply.body)}
		if t.outcomes, err = readOutcomes(reply.body[8:], len(proposals)); err == nil {
			return t, fateTaken
		}
	}
	s.endSession() // its term may be over, or it is slow: what it still holds never comes after the next
	if err == nil && reply.kind == replyVoid {
		return nil, fateVoid
	}
	return nil, fateUnknown
}
