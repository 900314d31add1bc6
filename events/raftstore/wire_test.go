package raftstore

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
)

// header is that of a member's requests.
func (n *node) header() raft.RPCHeader {
	return raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte(n.raftID()), Addr: []byte(raftAddress(n.opts.Address, n.ID())),
	}
}

// gives is a leader's request to take a snapshot that it has.
func (n *node) gives(meta *raft.SnapshotMeta) raft.InstallSnapshotRequest {
	return raft.InstallSnapshotRequest{
		RPCHeader: n.header(), SnapshotVersion: meta.Version, Term: n.raft.CurrentTerm(), LastLogIndex: meta.Index, LastLogTerm: meta.Term,
		Configuration: raft.EncodeConfiguration(meta.Configuration), ConfigurationIndex: meta.ConfigurationIndex, Size: meta.Size,
	}
}

// TestOldLeaderWritesNothingInTheNextTerm has a leader hear of the next term's from a
// heartbeat, right before an append. It was made leader by a transfer, so it has just heard
// of another one, and such a heartbeat was handled beside raft's goroutine: that wrote the
// append as an entry of the next term.
func TestOldLeaderWritesNothingInTheNextTerm(t *testing.T) {
	c := newCluster(t)
	c.grow(3, func(o *Options) { o.Heartbeat = 2 * time.Second })
	first := c.leader()
	lead, next := c.others(first)[0], c.others(first)[1]
	first.must(t, "agent-1", "x")
	c.agree()
	if err := first.TransferLeadership(t.Context(), lead.ID()); err != nil {
		t.Fatal(err)
	}
	c.until("another leads", lead.Leads)
	term, last := lead.raft.CurrentTerm(), lead.raft.LastIndex()
	var answer raft.AppendEntriesResponse
	beat := raft.AppendEntriesRequest{RPCHeader: next.header(), Term: term + 1}
	if err := next.wire.AppendEntries(lead.raftID(), raftAddress(lead.opts.Address, lead.ID()), &beat, &answer); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		lead.raft.Apply(encodeEntry(1, term, [][]byte{[]byte("x")}), 0).Error() //nolint:errcheck // refused, or of this term
	}
	for i := last + 1; i <= last+2; i++ {
		var e raft.Log
		if err := lead.logs.read(i, &e); err == nil && e.Term > term && e.Type == raft.LogCommand {
			t.Errorf("the leader of term %d wrote entry %d of term %d", term, i, e.Term)
		}
	}
}

// TestRequestsThatDoNotRead sends a member what raft would end its process for.
func TestRequestsThatDoNotRead(t *testing.T) {
	c := newCluster(t)
	c.grow(2)
	lead := c.leader()
	other := c.others(lead)[0]
	id, at, term := other.raftID(), raftAddress(other.opts.Address, other.ID()), lead.raft.CurrentTerm()
	entries := func(e *raft.Log) error {
		ask := &raft.AppendEntriesRequest{RPCHeader: lead.header(), Term: term, Entries: []*raft.Log{e}}
		return lead.wire.AppendEntries(id, at, ask, &raft.AppendEntriesResponse{})
	}
	snapshot := func(configuration []byte, size int64) error {
		ask := &raft.InstallSnapshotRequest{RPCHeader: lead.header(), SnapshotVersion: 1, Term: term, LastLogIndex: 1000, Configuration: configuration, Size: size}
		return lead.wire.InstallSnapshot(id, at, ask, &raft.InstallSnapshotResponse{}, strings.NewReader(""))
	}
	for what, err := range map[string]error{
		"is none":                  entries(nil),
		"unknown type 99":          entries(&raft.Log{Index: 1000, Term: term, Type: 99}),
		"configuration of 1 bytes": entries(&raft.Log{Index: 1000, Term: term, Type: raft.LogConfiguration, Data: []byte("x")}),
		"configuration of 2 bytes": snapshot([]byte("xx"), 0),
		"snapshot of -1 bytes":     snapshot(raft.EncodeConfiguration(raft.Configuration{}), -1),
	} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want one that says %q", err, what)
		}
	}
	lead.must(t, "agent-1", "x")
	c.agree()
}

// standstill makes two members of a cluster one that sends a snapshot, of which no more
// than the beginning comes, and one that reads it. The cleanup ends it.
func standstill(t *testing.T, c *cluster) (lead, n *node) {
	t.Helper()
	lead = c.leader()
	n = c.others(lead)[0]
	lead.must(t, "agent-1", "x")
	c.agree()
	lead.snapshot(t)
	meta, r, err := lead.fsm.snaps.Open(lead.fsm.snaps.newest().meta.ID)
	if err != nil {
		t.Fatal(err)
	}
	rest, stop := io.Pipe()
	ask := lead.gives(meta)
	ask.LastLogIndex += 100 // what the other has not
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		lead.wire.InstallSnapshot(n.raftID(), raftAddress(n.opts.Address, n.ID()), &ask, &raft.InstallSnapshotResponse{}, //nolint:errcheck // it fails
			io.MultiReader(io.LimitReader(r, 100), rest))
	}()
	t.Cleanup(func() {
		stop.CloseWithError(errors.New("it goes on")) //nolint:errcheck // always nil
		<-sent
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	c.until("raft reads the snapshot", func() bool {
		names, err := n.fs.List("data/" + snapshotsDir)
		return err == nil && len(names) > 0
	})
	return lead, n
}

// TestCloseWithinASnapshot closes a member that reads a snapshot whose sender stands still.
func TestCloseWithinASnapshot(t *testing.T) {
	c := newCluster(t)
	c.grow(3)
	_, n := standstill(t, c)
	if err := n.Close(); err != nil { // or never
		t.Error(err)
	}
}

// TestLeaderStandsStillWithinASnapshot stops a leader that sends one of three a snapshot:
// the other two elect one of them.
func TestLeaderStandsStillWithinASnapshot(t *testing.T) {
	c := newCluster(t)
	c.grow(3)
	lead, _ := standstill(t, c)
	c.net.freeze(lead.opts.Address)
	defer c.net.thaw(lead.opts.Address)
	c.until("another leads", func() bool {
		for _, n := range c.nodes {
			if n != lead && n.Leads() {
				return true
			}
		}
		return false
	})
}

// TestCloseWhileSending closes those of three of which one, the leader, sends a snapshot to
// the third, which stands still.
func TestCloseWhileSending(t *testing.T) {
	c := newCluster(t)
	c.grow(2, forgetful, func(o *Options) { o.Heartbeat = time.Second })    // on a busy machine too the lead stays
	n := c.start(forgetful, func(o *Options) { o.Heartbeat = time.Minute }) // it does not lose patience
	c.add(n)
	lead := c.leader()
	lead.must(t, "agent-1", "x")
	c.agree()
	c.isolate(n)
	for range 400 {
		noise := make([]byte, 30_000)
		rand.Read(noise)                                   //nolint:errcheck // never fails
		lead.must(t, "agent-1", hex.EncodeToString(noise)) // more than connections hold, and large enough for a long deadline
	}
	for _, m := range c.others(n) {
		m.snapshot(t)
	}
	lead.must(t, "agent-1", "after it")
	c.net.heal()
	c.until("the snapshot is on its way", func() bool {
		names, err := n.fs.List("data/" + snapshotsDir)
		return err == nil && len(names) > 0
	})
	c.net.freeze(n.opts.Address)
	defer c.net.thaw(n.opts.Address)
	closed := make(chan error, 2)
	for _, m := range c.others(n) {
		go func() { closed <- m.Close() }()
	}
	c.until("they are closed", func() bool { return len(closed) == cap(closed) })
	if err := errors.Join(<-closed, <-closed); err != nil {
		t.Error(err)
	}
}

// TestSnapshotAfterAStart sends a member that has started, and was not told yet what is
// committed, a snapshot that ends before what it has applied: its log does not go back.
func TestSnapshotAfterAStart(t *testing.T) {
	c := newCluster(t)
	c.grow(3)
	lead := c.leader()
	n := c.others(lead)[0]
	lead.must(t, "agent-1", "x")
	lead.snapshot(t)
	meta, r, err := lead.fsm.snaps.Open(lead.fsm.snaps.newest().meta.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lead.must(t, "agent-1", "after it")
	root := c.agree()
	ask := lead.gives(meta)
	c.down(n)
	c.isolate(n)
	c.revive(n)
	answer := make(chan raft.RPCResponse, 1)
	n.wire.do(raft.RPC{Command: &ask, Reader: io.LimitReader(r, meta.Size), RespChan: answer})
	if a := <-answer; a.Error != nil || !a.Response.(*raft.InstallSnapshotResponse).Success {
		t.Errorf("%+v", a)
	}
	if n.Root() != root {
		t.Errorf("the log went back to %s, it was %s", n.Root(), root)
	}
}

// TestStrangersDoNotHoldTheGate connects to a member more often than it greets at a time,
// and says nothing: another member is greeted.
func TestStrangersDoNotHoldTheGate(t *testing.T) {
	c := newCluster(t)
	c.grow(2)
	a, b := c.nodes[0], c.nodes[1]
	c.net.mu.Lock()
	at := c.net.listeners[a.opts.Address].Addr().String()
	c.net.mu.Unlock()
	for range 3 * maxUngreeted {
		stranger, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
	}
	if _, err := b.ask(t.Context(), a.opts.Address, a.ID()); err != nil {
		t.Error(err)
	}
}

// TestNoVoteForWhoIsRemoved gives a vote to a member that was removed meanwhile.
func TestNoVoteForWhoIsRemoved(t *testing.T) {
	c := newCluster(t)
	c.grow(2)
	lead := c.leader()
	other := c.others(lead)[0]
	id, address := other.ID(), other.opts.Address
	if err := lead.RemoveMember(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := lead.promote(address, id); !errors.As(err, new(*events.InvalidError)) {
		t.Errorf("a vote for a member that was removed: %v", err)
	}
}
