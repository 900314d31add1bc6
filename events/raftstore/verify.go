package raftstore

import (
	"sync"

	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
)

// verification is a look whether this member still leads: a quorum answers requests
// that were sent after it began.
//
// raft's VerifyLeader is not that. It also counts answers to requests that were on
// their way before, and a member that was stopped, or whose disk hung, finds such
// answers when it goes on: given in a time when it did lead, and another does by now.
type verification struct {
	done chan struct{} // closed when what follows is set
	term uint64        // in which it leads
	err  error
}

// verifying makes one verification of all that are asked for while another runs.
type verifying struct {
	mu   sync.Mutex // guards what follows
	runs bool
	next *verification
}

// verifyLeader returns a term in which this member led at some moment after the call began.
// The caller holds using.
func (s *Store) verifyLeader() (term uint64, err error) {
	w := &s.verifying
	w.mu.Lock()
	if w.next == nil {
		w.next = &verification{done: make(chan struct{})}
	}
	v := w.next
	if !w.runs {
		w.runs = true
		s.tasks.Go(s.verifyAll)
	}
	w.mu.Unlock()
	<-v.done
	return v.term, v.err
}

// verifyAll ends when nobody waits for a verification.
func (s *Store) verifyAll() {
	for {
		s.verifying.mu.Lock()
		v := s.verifying.next
		s.verifying.next = nil
		s.verifying.runs = v != nil
		s.verifying.mu.Unlock()
		if v == nil {
			return
		}
		v.term, v.err = s.askQuorum()
		close(v.done)
	}
}

// askQuorum sends every voter a heartbeat of this member's term. A voter that takes it
// has heard of no later term, so a majority of them has elected nobody since.
func (s *Store) askQuorum() (uint64, error) {
	moved := s.leaderMoved()
	term := s.raft.CurrentTerm() // not a result with a name: those that ask go on after a return
	if !s.Leads() || s.raft.CurrentTerm() != term {
		return 0, raft.ErrNotLeader
	}
	voters, takes := 0, 0
	var others []Member
	for _, m := range s.Members() {
		switch {
		case !m.Voter:
		case m.ID == s.id.self:
			voters, takes = voters+1, takes+1
		default:
			voters, others = voters+1, append(others, m)
		}
	}
	answers := make(chan bool, len(others))
	for _, m := range others {
		s.tasks.Go(func() {
			r, err := s.sendAsLeader(m, raft.AppendEntriesRequest{Term: term})
			answers <- err == nil && r.Success && r.Term == term
		})
	}
	for range others {
		if takes > voters/2 {
			break
		}
		select {
		case yes := <-answers:
			if yes {
				takes++
			}
		case <-moved:
			return 0, raft.ErrNotLeader
		case <-s.quit:
			return 0, events.ErrClosed
		}
	}
	if takes <= voters/2 {
		return 0, raft.ErrLeadershipLost
	}
	return term, nil
}

// sendAsLeader sends a request that raft itself might send in the same term.
func (s *Store) sendAsLeader(m Member, r raft.AppendEntriesRequest) (raft.AppendEntriesResponse, error) {
	r.RPCHeader = raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(s.raftID()),
		Addr: s.wire.EncodePeer(s.raftID(), raftAddress(s.opts.Address, s.id.self)),
	}
	var answer raft.AppendEntriesResponse
	err := s.wire.AppendEntries(raft.ServerID(m.ID.String()), raftAddress(m.Address, m.ID), &r, &answer)
	return answer, err
}
