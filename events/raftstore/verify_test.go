package raftstore

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// others are all members but one.
func (c *cluster) others(but *node) []*node {
	var out []*node
	for _, n := range c.nodes {
		if n != but {
			out = append(out, n)
		}
	}
	return out
}

// TestCutOffLeaderAnswersNoRead cuts a leader off and asks it, in the same instant, how
// far all have committed: it leads still, and must not say so.
func TestCutOffLeaderAnswersNoRead(t *testing.T) {
	simulate(t, 1, func(t *testing.T, c *cluster) {
		c.grow(3)
		l := c.leader()
		c.agree()
		c.isolate(l)
		if !l.Leads() {
			t.Fatal("does not lead any more")
		}
		if index, err := l.readIndex(); err == nil {
			t.Errorf("a leader that nobody hears says that %d is the last entry", index)
		}
		c.net.heal()
		if _, err := c.leader().readIndex(); err != nil {
			t.Errorf("after it was mended: %v", err)
		}
	})
}

// TestOldAnswersVouchForNobody has a leader find, when it goes on after it stood still,
// answers to what it sent before, while nobody hears it any more. They say that it led,
// and not that it does.
func TestOldAnswersVouchForNobody(t *testing.T) {
	simulate(t, 1, func(t *testing.T, c *cluster) {
		c.grow(3)
		l := c.leader()
		c.agree()
		c.until("requests are on their way", func() bool { return c.net.underWay(l.opts.Address) })
		c.net.freeze(l.opts.Address)
		<-time.After(4 * laneMost) // the answers are there
		for _, other := range c.others(l) {
			c.net.sever(l.opts.Address, other.opts.Address)
		}
		said := make(chan error, 1)
		go func() {
			_, err := l.readIndex()
			said <- err
		}()
		synctest.Wait() // it asks
		c.net.thaw(l.opts.Address)
		if err := <-said; err == nil {
			t.Error("answers to older requests counted")
		}
		c.net.heal()
	})
}

// underWay reports whether something that a member sent has not arrived.
func (n *testNet) underWay(from string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if l, ok := c.Conn.(*laneConn); ok && c.link.from == from && strings.HasPrefix(string(l.local), from+"/") && l.out.busy() {
			return true
		}
	}
	return false
}

// TestUnknownVoterIsElected gives a member its vote while another does not hear of it,
// and takes the leader away: those two are a majority, and only the new one has the log
// that a leader needs.
func TestUnknownVoterIsElected(t *testing.T) {
	simulate(t, 1, func(t *testing.T, c *cluster) {
		c.grow(2)
		l := c.leader()
		behind := c.others(l)[0]
		added := c.start()
		there, err := l.ask(t.Context(), added.opts.Address, ServerID{})
		if err != nil {
			t.Fatal(err)
		}
		id, at := raft.ServerID(there.from.String()), raftAddress(added.opts.Address, there.from)
		if err := l.change(func() raft.Future { return l.raft.AddNonvoter(id, at, 0, 0) }); err != nil {
			t.Fatal(err)
		}
		c.agree()
		c.net.sever(l.opts.Address, behind.opts.Address)
		if err := l.change(func() raft.Future { return l.raft.AddVoter(id, at, 0, 0) }); err != nil {
			t.Fatal(err)
		}
		c.isolate(l)
		c.until("another leads", func() bool { return added.Leads() || behind.Leads() })
		if !added.Leads() {
			t.Error("who lacks an entry that was committed leads")
		}
		c.net.heal()
		c.agree()
	})
}
