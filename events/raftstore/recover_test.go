package raftstore

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// TestRecover loses two of three members for good. The one that is left goes on
// alone, knows what it kept, and speaks with no old member again.
func TestRecover(t *testing.T) {
	c := newCluster(t)
	c.grow(3)
	last := c.nodes[0].must(t, "agent-1", "kept")
	c.agree()
	left, gone := c.nodes[0], c.nodes[1]
	was := left.Cluster()
	for _, n := range c.nodes {
		c.down(n)
	}
	out, err := Recover("data", withDisk(left))
	if err != nil {
		t.Fatal(err)
	}
	if out.Was != was || out.Cluster == was || out.End.Next != last.Position+1 || out.Unsure > out.End.Next {
		t.Errorf("recovered %+v; the log ended at %d", out, last.Position)
	}
	again, err := Recover("data", withDisk(left)) // as after a crash in the middle
	if err != nil || again.End != out.End || again.Was != out.Was || again.Unsure != out.Unsure {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	c.revive(left)
	c.until("the one that is left leads", left.Leads)
	left.must(t, "agent-1", "alone")
	c.revive(gone)
	if _, err := gone.ask(t.Context(), left.opts.Address, ServerID{}); err == nil || !strings.Contains(err.Error(), "belongs to cluster") {
		t.Errorf("an old member asks: %v", err)
	}
	c.down(gone)
	if _, err := Recover("data", withDisk(left)); err == nil {
		t.Error("recovered while it is open")
	}
	fresh := c.start()
	c.add(fresh)
	fresh.must(t, "agent-1", "with a new one")
	c.agree()
}

func withDisk(n *node) Options {
	o := n.opts
	o.Log.FS = n.fs
	return o
}

// TestRecoverRefuses names what it cannot recover.
func TestRecoverRefuses(t *testing.T) {
	o := smallOptions(vfs.NewMem())
	o.Address = "member-1:1"
	var invalid *events.InvalidError
	if _, err := Recover("data", o); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "no cluster") {
		t.Errorf("an empty directory: %v", err)
	}
}
