package raftstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
)

// MaxMembers bounds a cluster: every member has all of the log, and each more makes
// every append slower.
const MaxMembers = 7

// ErrNotLeader is an operator's act asked of a member that does not lead. Its text
// names who does.
var ErrNotLeader = errors.New("not the leader")

// ErrChanging is a change of members while another is under way.
var ErrChanging = errors.New("another change of members is under way")

// Member is one server of the cluster, as this member knows it.
type Member struct {
	ID      ServerID
	Address string
	Voter   bool // counts towards the quorum; one that does not is catching up
	Leader  bool
}

// ID is this member's.
func (s *Store) ID() ServerID { return s.id.self }

// Cluster is the cluster's; zeros for a member that waits to be added.
func (s *Store) Cluster() ClusterID { return s.id.of() }

// Members lists the cluster's members in the order in which they were added.
func (s *Store) Members() []Member {
	_, leader := s.raft.LeaderWithID()
	var out []Member
	for _, server := range s.raft.GetConfiguration().Configuration().Servers {
		address, id, err := splitAddress(server.Address)
		if err != nil {
			continue // only Open and AddMember write them
		}
		out = append(out, Member{id, address, server.Suffrage == raft.Voter, server.ID == leader})
	}
	return out
}

// isMember reports whether a server is one of the cluster's. Only the leader is asked
// by servers, and it knows; raft's own requests are not refused by it, because a
// member that was away may be called by one that it never heard of.
func (s *Store) isMember(id ServerID) bool {
	for _, m := range s.Members() {
		if m.ID == id {
			return true
		}
	}
	return false
}

// Leads reports whether this member believes that it leads.
func (s *Store) Leads() bool { return s.raft.State() == raft.Leader }

// leading returns ErrNotLeader with the leader's address, or nil.
func (s *Store) leading() error {
	if s.Leads() {
		return nil
	}
	if at, _ := s.raft.LeaderWithID(); at != "" {
		if address, _, err := splitAddress(at); err == nil {
			return fmt.Errorf("%w: ask %s", ErrNotLeader, address)
		}
	}
	return fmt.Errorf("%w, and none is known", ErrNotLeader)
}

// AddMember takes the member that waits at address into the cluster: first without
// a vote, then, when it has the log, with one. Ended by ctx in between it stays a
// member without a vote, and another call goes on with it. One that is a member already,
// at another address, is called there from now on.
//
// Errors: ErrNotLeader, ErrChanging, *RefusedError (it belongs elsewhere, or is no
// member at all), *events.InvalidError (it has a log, is too old, or would be one
// too many), ctx's.
func (s *Store) AddMember(ctx context.Context, address string) (ServerID, error) {
	if !s.changing.TryLock() {
		return ServerID{}, ErrChanging
	}
	defer s.changing.Unlock()
	if err := s.leading(); err != nil {
		return ServerID{}, err
	}
	if err := s.Sync(ctx); err != nil { // the version that the cluster writes is known then
		return ServerID{}, fmt.Errorf("add %s: %w", address, err)
	}
	there, err := s.ask(ctx, address, ServerID{})
	if err != nil {
		return ServerID{}, fmt.Errorf("add %s: %w", address, err)
	}
	votes, err := s.enrol(address, there)
	if err != nil {
		return ServerID{}, fmt.Errorf("add %s: %w", address, err)
	}
	if votes {
		return there.from, nil
	}
	if err = s.caughtUp(ctx, address, there.from); err == nil {
		err = s.promote(address, there.from)
	}
	if err != nil {
		return there.from, fmt.Errorf("add %s: it is a member without a vote: %w", address, err)
	}
	s.log.Info("member added", "member", there.from.String(), "address", address)
	return there.from, nil
}

// promote gives a member its vote. Only to one that is a member still: it may have been
// removed meanwhile, by another leader too, so the change is one of the members looked at.
func (s *Store) promote(address string, id ServerID) error {
	to := raft.Server{Suffrage: raft.Nonvoter, ID: raft.ServerID(id.String()), Address: raftAddress(address, id)}
	future := s.raft.GetConfiguration()
	if !slices.Contains(future.Configuration().Servers, to) {
		return events.Invalidf("member", "%s at %s is none of the cluster's any more", id, address)
	}
	return s.change(func() raft.Future { return s.raft.AddVoter(to.ID, to.Address, future.Index(), 0) })
}

// enrol makes who is at an address a member without a vote, and reports whether it has one
// already. Of one that is a member the address alone changes, if it does.
func (s *Store) enrol(address string, there answer) (votes bool, err error) {
	future := s.raft.GetConfiguration()
	servers := future.Configuration().Servers
	id, to := raft.ServerID(there.from.String()), raftAddress(address, there.from)
	at := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == id })
	if at < 0 {
		if err := admissible(there, s.fsm.version.Load(), len(servers)); err != nil {
			return false, err
		}
	}
	votes = at >= 0 && servers[at].Suffrage == raft.Voter
	if at >= 0 && servers[at].Address == to {
		return votes, nil
	}
	return votes, s.change(func() raft.Future { return s.raft.AddNonvoter(id, to, future.Index(), 0) }) // it takes no vote away
}

// admissible judges a member that is to be added.
func admissible(there answer, writes uint32, members int) error {
	switch {
	case there.last > 0:
		return events.Invalidf("address", "is that of a member with a log of %d entries: only an empty one joins", there.last)
	case there.version < writes:
		return events.Invalidf("address", "is that of a member that cannot join: %s", &TooOldError{Writes: writes, Understands: there.version})
	case members >= MaxMembers:
		return events.Invalidf("members", "are %d, at most %d", members, MaxMembers)
	}
	return nil
}

// ask greets whoever is at address and returns what they say of themselves.
func (s *Store) ask(ctx context.Context, address string, want ServerID) (answer, error) {
	c, a, err := s.gate.dial(ctx, address, want, forStatus)
	if err != nil {
		return answer{}, err
	}
	return a, c.Close()
}

// caughtUp returns when a member has applied what is applied here, and did so within
// a heartbeat: one that is further behind would hold up the quorum.
func (s *Store) caughtUp(ctx context.Context, address string, id ServerID) error {
	for {
		began, goal := time.Now(), s.fsm.applied.get()
		for {
			there, err := s.ask(ctx, address, id)
			if err == nil && there.applied >= goal && there.last > 0 {
				break
			}
			if err := s.leading(); err != nil {
				return err
			}
			timer := time.NewTimer(s.opts.Heartbeat / 4)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return errors.Join(ctx.Err(), err)
			case <-s.quit:
				timer.Stop()
				return events.ErrClosed
			}
		}
		if time.Since(began) <= s.opts.Heartbeat {
			return nil
		}
	}
}

// RemoveMember takes a member out of the cluster. What it held stays on its disk;
// it must be wiped before it can be added again, as another. Errors: ErrNotLeader,
// ErrChanging, *events.InvalidError (no such member, or the last one).
func (s *Store) RemoveMember(_ context.Context, id ServerID) error {
	if !s.changing.TryLock() {
		return ErrChanging
	}
	defer s.changing.Unlock()
	if err := s.leading(); err != nil {
		return err
	}
	future := s.raft.GetConfiguration()
	voters, found := 0, false
	for _, server := range future.Configuration().Servers {
		isIt := server.ID == raft.ServerID(id.String())
		found = found || isIt
		if server.Suffrage == raft.Voter && !isIt {
			voters++
		}
	}
	switch {
	case !found:
		return events.Invalidf("member", "%s is none of the cluster's", id)
	case voters == 0:
		return events.Invalidf("member", "%s is the last one with a vote", id)
	}
	err := s.change(func() raft.Future {
		return s.raft.RemoveServer(raft.ServerID(id.String()), future.Index(), 0)
	})
	if err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	s.log.Info("member removed", "member", id.String())
	return nil
}

// TransferLeadership lets another member lead: the one with id, or with zeros the
// one that lags least. Errors: ErrNotLeader, *events.InvalidError (no such member).
func (s *Store) TransferLeadership(_ context.Context, id ServerID) error {
	if err := s.leading(); err != nil {
		return err
	}
	if id == (ServerID{}) {
		return s.change(s.raft.LeadershipTransfer)
	}
	for _, m := range s.Members() {
		if m.ID == id && m.Voter {
			to := raft.ServerID(uuid.UUID(id).String())
			return s.change(func() raft.Future {
				return s.raft.LeadershipTransferToServer(to, raftAddress(m.Address, id))
			})
		}
	}
	return events.Invalidf("member", "%s has no vote here", id)
}

// change asks raft for one, and waits for it.
func (s *Store) change(ask func() raft.Future) error {
	if !s.useRaft() {
		return events.ErrClosed
	}
	defer s.release()
	return translate(ask().Error())
}

// translate makes raft's errors this package's.
func translate(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return events.ErrClosed
	}
	return err
}
