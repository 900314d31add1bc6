package raftstore

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
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

// TestRecoverReadsAllFirst has a member whose last entry this build cannot apply, or whose
// log takes nothing any more: Recover returns why, and the member is of its cluster still.
func TestRecoverReadsAllFirst(t *testing.T) {
	raised, err := events.Encode(events.NewEventID(), events.ClusterVersionRaised{From: 1, To: memberVersion + 1}, events.Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	newer := func(term uint64) []byte {
		b := encodeEntry(1, term, [][]byte{[]byte("x")})
		b[0] = newestEntry + 1
		return b
	}
	for _, c := range []struct {
		how  string
		harm func(o Options) error
		says string
	}{
		{"entry of a newer build", func(o Options) error { return storeEntry(o, newer) }, "unknown version"},
		{"proposal that does not read", func(o Options) error {
			return storeEntry(o, func(term uint64) []byte { return encodeEntry(1, term, [][]byte{[]byte("x")}) })
		}, "proposal"},
		{"version raised", func(o Options) error {
			p := proposalOf(t, events.ClusterStream(), raised)
			return storeEntry(o, func(term uint64) []byte { return encodeEntry(1, term, [][]byte{p}) })
		}, "takes a build that understands"},
		{"isolated log", func(o Options) error {
			f, err := o.Log.FS.Create("data/log/isolated", vfs.WriteCategoryUnspecified)
			if err != nil {
				return err
			}
			return f.Close()
		}, "read-only"},
	} {
		disk, _ := memberAlone(t)
		o := aloneOn(disk)
		o.Log.Fatal = func(why string) { t.Errorf("%s: ended the process: %s", c.how, why) }
		if err := c.harm(o); err != nil {
			t.Fatal(err)
		}
		was := contentOf(t, disk, "data/"+identityName)
		if out, err := Recover("data", o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", c.how, out, err)
		}
		if !bytes.Equal(contentOf(t, disk, "data/"+identityName), was) {
			t.Errorf("%s: the member is of another cluster", c.how)
		}
		if _, err := disk.Stat("data/" + recoveringName); err == nil {
			t.Errorf("%s: the recovery was begun", c.how)
		}
	}
}

// storeEntry puts a command behind the raft log of a member that is closed.
func storeEntry(o Options, command func(term uint64) []byte) error {
	l, err := openLogs(o.Log.FS, "data/"+raftDir, o.withDefaults(), func(string) {})
	if err != nil {
		return err
	}
	var e raft.Log
	last, err := l.LastIndex()
	if err == nil {
		err = l.read(last, &e)
	}
	if err == nil {
		err = l.StoreLog(&raft.Log{Index: last + 1, Term: e.Term, Type: raft.LogCommand, Data: command(e.Term)})
	}
	return errors.Join(err, l.close())
}

// proposalOf is what a replica proposes for an append.
func proposalOf(t *testing.T, stream events.Stream, evs ...events.Event) (proposal []byte) {
	t.Helper()
	r, err := pebblestore.OpenReplica("log", smallOptions(vfs.NewMem()).Log, func(_ context.Context, p []byte) pebblestore.Outcome {
		proposal = p
		return pebblestore.Outcome{}
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Append(t.Context(), stream, events.Any(), evs...)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return proposal
}
