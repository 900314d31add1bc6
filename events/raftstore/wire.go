package raftstore

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// wire is raft's transport. Heartbeats are handled by the goroutines of connections,
// beside raft's own, so that they are answered while that waits for a disk. Three of them
// must not be:
//
// One when raft is asked nothing more: it may write to the disk, and raft panics when that
// is closed already.
//
// One of a later term, or to a member that is no follower. It makes a follower of a leader
// whose own goroutine has looked at that before, and then takes an append: the entry would
// be of the later term, whose leader has another one at its place, and no member would
// ever see that they differ.
//
// One that comes while raft's own goroutine has just heard of no leader for too long, and
// becomes a candidate, leaves a candidate that believes in a leader: it refuses its vote to
// all others. If that leader then stands still and the other's log is the longer one,
// nobody is elected for as long as it does. So a heartbeat that comes late is handled by
// raft's own goroutine, like any other request.
type wire struct {
	*raft.NetworkTransport
	s     *Store
	raft  atomic.Pointer[raft.Raft] // nil until it runs
	calls chan raft.RPC             // for raft's goroutine
	over  chan struct{}             // closed by Close
	once  sync.Once
	tasks sync.WaitGroup
}

func newWire(s *Store, t *raft.NetworkTransport) *wire {
	w := &wire{NetworkTransport: t, s: s, calls: make(chan raft.RPC), over: make(chan struct{})}
	w.tasks.Go(func() {
		for {
			select {
			case r := <-t.Consumer():
				w.do(r)
			case <-w.over:
				return
			}
		}
	})
	return w
}

// do looks at a request and has raft answer it, unless it is settled already. It returns when
// it is answered: what the next is looked at for, raft's log and what it has applied, is then
// as this one left it.
func (w *wire) do(r raft.RPC) {
	if err := wellMeant(r); err != nil {
		r.Respond(nil, err)
		return
	}
	w.vouch(r)
	w.ground(r)
	if w.settled(r) {
		return
	}
	answer := make(chan raft.RPCResponse, 1)
	own := r
	own.RespChan = answer
	defer w.watch(&own)()
	if !w.hand(own) {
		r.Respond(nil, raft.ErrTransportShutdown)
		return
	}
	select {
	case a := <-answer:
		r.RespChan <- a
	case <-w.over: // raft may be at it still; the transport tells who asked
	}
}

// Consumer implements raft.Transport.
func (w *wire) Consumer() <-chan raft.RPC { return w.calls }

// Close implements raft.WithClose; raft calls it too.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.over) })
	err := w.NetworkTransport.Close()
	w.tasks.Wait()
	return err
}

// vouch has raft judge who asks for its vote by term and log alone, as Raft does. It
// would also refuse who is no voter by the members that it knows of itself. That can be
// out of date here, and a leader that was cut off right after it gave one a vote would
// leave others that elect nobody: the new one has the longer log, and the rest do not
// know it. A quorum of one set of members shares somebody with one of the next set, who
// has the entry that says so: a removed member has not, and gets no quorum.
//
// Without an id a request for a vote is not held against the members; one whether there
// would be votes is, so it gets the id of one that has.
func (w *wire) vouch(r raft.RPC) {
	switch ask := r.Command.(type) {
	case *raft.RequestVoteRequest:
		ask.ID = nil
	case *raft.RequestPreVoteRequest:
		if running := w.raft.Load(); running != nil {
			ask.ID = anyVoter(running.GetConfiguration().Configuration(), ask.ID)
		}
	}
}

// anyVoter returns the id of a member with a vote, or otherwise if there is none.
func anyVoter(c raft.Configuration, otherwise []byte) []byte {
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			return []byte(s.ID)
		}
	}
	return otherwise
}

// ground takes from a leader's entries what this member has applied. All of that was
// committed, so the leader has it too and there is nothing to compare; raft would compare,
// with a log that may have lost it to a snapshot. Behind one with an entry of its own that
// no quorum has, a member would refuse what takes that entry's place, for ever.
//
// The commit index goes no further than the request's entries, as in the Raft paper (figure
// 2, AppendEntries, 5): raft takes all that the member has, and what follows those may be
// such an entry.
func (w *wire) ground(r raft.RPC) {
	ask, ok := r.Command.(*raft.AppendEntriesRequest)
	running := w.raft.Load()
	if !ok || running == nil {
		return
	}
	ask.LeaderCommitIndex = min(ask.LeaderCommitIndex, ask.PrevLogEntry+uint64(len(ask.Entries)))
	applied := running.AppliedIndex()
	if ask.PrevLogEntry > applied {
		return
	}
	ask.PrevLogEntry, ask.PrevLogTerm = 0, 0
	ask.Entries = slices.DeleteFunc(ask.Entries, func(e *raft.Log) bool { return e.Index <= applied })
}

// settled answers a snapshot that has come too late. One that a network held up may arrive
// when this member has long had it, by another connection, and what came after; raft looks at
// its term alone, and would put it in the place of what this member has acknowledged since.
// An entry that was applied here was committed, so all before it is as the leader has it.
func (w *wire) settled(r raft.RPC) bool {
	ask, ok := r.Command.(*raft.InstallSnapshotRequest)
	running := w.raft.Load()
	if !ok || running == nil || ask.Term < running.CurrentTerm() {
		return false
	}
	// After a start raft knows of the newest snapshot only, until it hears what is committed.
	if ask.LastLogIndex > max(running.AppliedIndex(), w.s.fsm.applied.get()) {
		return false
	}
	w.tasks.Go(func() { // ends with its connection, at the latest
		_, err := io.Copy(io.Discard, r.Reader)
		r.Respond(&raft.InstallSnapshotResponse{Term: running.CurrentTerm(), Success: err == nil}, err)
	})
	return true
}

// hand gives a request to raft's goroutine; false when there is none any more.
func (w *wire) hand(r raft.RPC) bool {
	select {
	case w.calls <- r:
		return true
	case <-w.over:
		return false
	}
}

// SetHeartbeatHandler implements raft.Transport.
func (w *wire) SetHeartbeatHandler(handle func(raft.RPC)) {
	w.NetworkTransport.SetHeartbeatHandler(func(r raft.RPC) { w.heartbeat(r, handle) })
}

func (w *wire) heartbeat(r raft.RPC, handle func(raft.RPC)) {
	if !w.s.useRaft() {
		r.Respond(nil, raft.ErrRaftShutdown)
		return
	}
	running := w.raft.Load()
	if running == nil || !w.beside(running, r) {
		w.s.release() // before it waits
		if !w.hand(r) {
			r.Respond(nil, raft.ErrTransportShutdown)
		}
		return
	}
	defer w.s.release()
	handle(r)
}

// beside reports whether a heartbeat may be handled beside raft's own goroutine.
func (w *wire) beside(running *raft.Raft, r raft.RPC) bool {
	ask, ok := r.Command.(*raft.AppendEntriesRequest)
	return ok && ask.Term == running.CurrentTerm() && running.State() == raft.Follower &&
		time.Since(running.LastContact()) <= w.s.opts.Heartbeat/2
}
