package raftstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/events/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(processEnv) != "" {
		runProcess()
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds a wait for a condition: far beyond what a loaded machine needs.
const patience = 60 * time.Second

// cluster is some members in this process.
type cluster struct {
	t     *testing.T
	net   *testNet
	nodes []*node

	mu sync.Mutex // guards each node's Store where clients work meanwhile
}

// node is one member, or the place of one that is down.
type node struct {
	*Store
	opts Options
	fs   *vfs.MemFS
	slow *stall      // holds up its syncs
	died chan string // told by Fatal
}

// smallOptions are quick, flush and rotate often, and lie in memory.
func smallOptions(fsys vfs.FS) Options {
	o := DefaultOptions()
	o.Log.FS = fsys
	o.Log.CacheBytes, o.Log.MemTableBytes, o.Log.HeadCache = 1<<20, 1<<20, 16
	o.Log.BallastBytes = 0
	o.Heartbeat = 200 * time.Millisecond
	o.SegmentBytes = minSegmentBytes
	return o
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, net: newTestNet()}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			if n.Store != nil {
				if err := n.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}
		}
	})
	return c
}

// start opens another member; the first makes the cluster, the others wait.
func (c *cluster) start(change ...func(*Options)) *node {
	c.t.Helper()
	fs := vfs.NewCrashableMem()
	n := &node{fs: fs, slow: c.net.stall(), died: make(chan string, 8)}
	n.opts = smallOptions(fs)
	n.opts.Address = fmt.Sprintf("member-%d:1", len(c.nodes)+1)
	n.opts.Bootstrap = len(c.nodes) == 0
	n.opts.Network = c.net.at(n.opts.Address)
	n.opts.Log.Fatal = func(msg string) {
		select {
		case n.died <- msg:
		default:
		}
	}
	for _, f := range change {
		f(&n.opts)
	}
	c.nodes = append(c.nodes, n)
	c.open(n)
	return n
}

// open opens a member on the disk that it has.
func (c *cluster) open(n *node) {
	c.t.Helper()
	n.opts.Log.FS = n.disk()
	s, err := Open("data", n.opts)
	if err != nil {
		c.t.Fatal(err)
	}
	n.Store = s
}

// grow starts members and adds them, until there are size.
func (c *cluster) grow(size int, change ...func(*Options)) {
	c.t.Helper()
	for len(c.nodes) < size {
		n := c.start(change...)
		if len(c.nodes) == 1 {
			continue
		}
		c.add(n)
	}
}

func (c *cluster) add(n *node) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		_, err := c.leader().AddMember(ctx, n.opts.Address)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			c.t.Fatalf("add %s: %v", n.opts.Address, err)
		}
		c.pause()
	}
}

// leader waits for a member that leads.
func (c *cluster) leader() *node {
	c.t.Helper()
	var found *node
	c.until("a leader", func() bool {
		for _, n := range c.nodes {
			if n.Store != nil && n.Leads() {
				found = n
				return true
			}
		}
		return false
	})
	return found
}

// until waits for a condition.
func (c *cluster) until(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s", what, patience)
		}
		c.pause()
	}
}

// pause lets others run between two looks at a condition.
func (c *cluster) pause() {
	select {
	case <-time.After(time.Millisecond):
	case <-c.t.Context().Done():
	}
}

// agree waits until all members hold the same log, and returns its root. What was
// under way when the clients went may come for a moment yet.
func (c *cluster) agree() pebblestore.Root {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var root pebblestore.Root
	c.until("all roots are equal", func() bool {
		for i, n := range c.nodes {
			if n.Store == nil {
				continue
			}
			if err := n.Sync(ctx); err != nil {
				c.t.Fatalf("member %d: Sync: %v", i+1, err)
			}
		}
		roots := make(map[pebblestore.Root]bool)
		for _, n := range c.nodes {
			if n.Store != nil {
				root = n.Root()
				roots[root] = true
			}
		}
		return len(roots) == 1
	})
	return root
}

func event(name string) events.Event {
	return events.Event{
		ID: events.NewEventID(), Type: "Tested", ContentType: events.JSON,
		Data: fmt.Appendf(nil, `{"name":%q}`, name),
	}
}

func (n *node) must(t *testing.T, stream events.Stream, name string) events.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := n.Append(ctx, stream, events.Any(), event(name))
	if err != nil {
		t.Fatalf("append %s: %v", name, err)
	}
	return r
}

// member is what the suite of stores gets: closing it closes the cluster.
type member struct {
	events.Store
	closeAll func() error
}

func (m member) Close() error { return m.closeAll() }

// TestConformance runs the suite of stores with 1, 3 and 5 members: on the only
// one, on a follower, and on the leader. The last two wait for CAXTON_LONG, for each
// of their many clusters holds elections.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		leader bool
		long   bool
	}{{"1", 1, true, false}, {"3 by a follower", 3, false, false}, {"3 by the leader", 3, true, true}, {"5 by a follower", 5, false, true}} {
		t.Run(c.name, func(t *testing.T) {
			if c.long && os.Getenv("CAXTON_LONG") == "" {
				t.Skip("CAXTON_LONG is not set")
			}
			storetest.Run(t, func(t *testing.T) events.Store {
				cl := newCluster(t)
				cl.grow(c.size, func(o *Options) {
					// Many copies of 1 MiB and a busy machine keep a member from its turn
					// for 100 ms and more under the race detector.
					if o.Heartbeat = 500 * time.Millisecond; c.size == 1 {
						o.Heartbeat = 20 * time.Millisecond // nobody to hear
					}
				})
				pick := cl.leader()
				for _, n := range cl.nodes {
					if !c.leader && n != pick {
						pick = n
						break
					}
				}
				var once sync.Once
				return member{pick.Store, func() (err error) {
					err = pick.Close()
					once.Do(func() {
						for _, n := range cl.nodes {
							if e := n.Close(); e != nil {
								err = e
							}
						}
					})
					return err
				}}
			})
		})
	}
}

// TestRestart closes a member and opens it again, then cuts its power.
func TestRestart(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	for i := range 20 {
		n.must(t, "agent-1", fmt.Sprint(i))
	}
	root := n.Root()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	c.open(n)
	if got := c.agree(); got != root {
		t.Errorf("after Close and Open: %s, want %s", got, root)
	}
	n.must(t, "agent-1", "more")
	root = n.Root()
	disk := n.fs.CrashClone(vfs.CrashCloneCfg{})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n.fs = disk
	c.open(n)
	if got := c.agree(); got != root {
		t.Errorf("after a power cut: %s, want %s", got, root)
	}
}

var _ net.Conn = (*testConn)(nil)

// crashAll keeps nothing of what was not synced.
func crashAll() vfs.CrashCloneCfg { return vfs.CrashCloneCfg{} }

// TestHeartbeatAfterClose has a heartbeat of a later term come to a member that is
// closed, on a connection that was there before: it writes nothing.
func TestHeartbeatAfterClose(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	term := n.raft.CurrentTerm()
	handled := make(chan any, 1)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	answer := make(chan raft.RPCResponse, 1)
	n.wire.heartbeat(raft.RPC{Command: &raft.AppendEntriesRequest{Term: term + 1}, RespChan: answer}, func(raft.RPC) { handled <- nil })
	if r := <-answer; r.Error == nil || len(handled) > 0 {
		t.Errorf("a heartbeat after Close: %+v, handled %d", r, len(handled))
	}
}

// TestLateHeartbeat: one that comes while raft may be about to be a candidate, or from the
// leader of a later term, is handled by raft itself, and one in time beside it.
func TestLateHeartbeat(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	s := &Store{life: t.Context(), opts: Options{Heartbeat: time.Hour}}
	w := &wire{s: s, calls: make(chan raft.RPC, 1), over: make(chan struct{})}
	beside, term := 0, n.raft.CurrentTerm()+1
	beat := func() {
		w.heartbeat(raft.RPC{Command: &raft.AppendEntriesRequest{Term: term}}, func(raft.RPC) { beside++ })
	}
	late := func(why string) {
		t.Helper()
		if beat(); beside != 0 || len(w.calls) != 1 {
			t.Errorf("%s: %d handled beside, %d by raft", why, beside, len(w.calls))
		}
		<-w.calls
	}
	late("before raft runs")
	w.raft.Store(n.raft) // a leader that never heard of another
	late("without one before")
	answer := make(chan raft.RPCResponse, 1)
	n.wire.do(raft.RPC{RespChan: answer, Command: &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, Addr: []byte("another")},
		Term:      term,
	}})
	if r := <-answer; r.Error != nil {
		t.Fatal(r.Error)
	}
	term++
	late("of a later term")
	term--
	if beat(); beside != 1 || len(w.calls) != 0 {
		t.Errorf("right after another: %d handled beside, %d by raft", beside, len(w.calls))
	}
	s.opts.Heartbeat, beside = 0, 0
	late("a long time after the last")
	close(w.over)
	w.calls = nil
	w.raft.Store(nil)
	w.heartbeat(raft.RPC{RespChan: answer}, nil)
	if r := <-answer; !errors.Is(r.Error, raft.ErrTransportShutdown) {
		t.Errorf("after the end: %v", r.Error)
	}
}

// TestRequestsOneByOne: none is looked at before raft has answered the last, or it would be
// held against a log that is about to be another.
func TestRequestsOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{s: &Store{}, calls: make(chan raft.RPC), over: make(chan struct{})}
		answered := false
		var slow sync.WaitGroup
		slow.Go(func() {
			r := <-w.calls
			<-time.After(time.Hour) // simulated
			answered = true
			r.Respond(&raft.TimeoutNowResponse{}, nil)
		})
		answer := make(chan raft.RPCResponse, 1)
		w.do(raft.RPC{Command: &raft.TimeoutNowRequest{}, RespChan: answer})
		if !answered || len(answer) != 1 {
			t.Error("the next request may be looked at though this one is not answered")
		}
		slow.Wait()
		close(w.over)
		<-answer
		w.do(raft.RPC{Command: &raft.TimeoutNowRequest{}, RespChan: answer})
		if r := <-answer; !errors.Is(r.Error, raft.ErrTransportShutdown) {
			t.Errorf("after the end: %v", r.Error)
		}
	})
}

// TestAMemberThatMoves is called at its new address, with its vote.
func TestAMemberThatMoves(t *testing.T) {
	c := newCluster(t)
	c.grow(3)
	lead := c.leader()
	lead.must(t, "agent-1", "0")
	others := c.others(lead)
	moves := others[0]
	c.down(moves)
	moves.opts.Address = "elsewhere:1"
	moves.opts.Network = c.net.at(moves.opts.Address)
	c.open(moves)
	c.add(moves)
	c.down(others[1])
	lead.must(t, "agent-1", "by the two that are left")
	c.agree()
}
