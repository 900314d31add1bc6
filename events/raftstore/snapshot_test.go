package raftstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
)

// forgetful makes a snapshot of all there is and keeps no entry behind it.
func forgetful(o *Options) { o.Trailing = 0 }

func (n *node) snapshot(t *testing.T) {
	t.Helper()
	if err := n.raft.Snapshot().Error(); err != nil {
		t.Fatalf("snapshot: %v", err)
	}
}

// isolate cuts a member off, in both directions.
func (c *cluster) isolate(n *node) {
	for _, other := range c.nodes {
		c.net.sever(n.opts.Address, other.opts.Address)
		c.net.sever(other.opts.Address, n.opts.Address)
	}
}

// TestInstallUnderSubscribers lets a member fall behind what the others remember,
// with readers on it: they go on without gap or repetition.
func TestInstallUnderSubscribers(t *testing.T) {
	c := newCluster(t)
	c.grow(3, forgetful)
	lead := c.leader()
	var behind *node
	for _, n := range c.nodes {
		if n != lead {
			behind = n
		}
	}
	lead.must(t, "agent-1", "0")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sub, err := behind.SubscribeAll(ctx, 0, events.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	c.isolate(behind)
	const more = 30
	for i := range more {
		c.leader().must(t, "agent-1", fmt.Sprint(1+i))
	}
	c.leader().snapshot(t)
	c.leader().must(t, "agent-1", "after the snapshot")
	c.net.heal()
	for i := range more + 2 {
		ev, err := sub.Next(ctx)
		if err != nil || ev.Position != events.Position(i) {
			t.Fatalf("subscriber: position %d, %v; want %d", ev.Position, err, i)
		}
	}
	if behind.fsm.snaps.newest() == nil {
		t.Error("the member caught up without a snapshot: the test shows nothing")
	}
	c.agree()
	c.leader().must(t, "agent-1", "and goes on")
	if _, err := behind.Verify(ctx, func(fault error) { t.Error(fault) }, nil); err != nil {
		t.Error(err)
	}
}

// TestLargeLogIsSnapshotted rings as entries of maxLogBytes would.
func TestLargeLogIsSnapshotted(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.leader()
	n.must(t, "agent-1", "x")
	n.fsm.large <- struct{}{}
	c.until("a snapshot", func() bool { return n.fsm.snaps.newest() != nil })
}

// TestJoinWithSnapshot adds a member when the beginning is in no entry any more.
func TestJoinWithSnapshot(t *testing.T) {
	c := newCluster(t)
	c.grow(1, forgetful)
	for i := range 10 {
		c.nodes[0].must(t, "agent-1", fmt.Sprint(i))
	}
	c.nodes[0].snapshot(t)
	c.grow(2, forgetful)
	c.nodes[1].must(t, "agent-1", "by the new one")
	c.agree()
}

// TestTakeOver makes a cluster of a log that was written alone.
func TestTakeOver(t *testing.T) {
	c := newCluster(t)
	fs := vfs.NewCrashableMem()
	ev, root := writeAlone(t, fs)
	n := &node{fs: fs, died: make(chan string, 8)}
	n.opts = smallOptions(fs)
	n.opts.Address, n.opts.Bootstrap = "member-1:1", true
	n.opts.Network = c.net.at(n.opts.Address)
	c.nodes = append(c.nodes, n)
	c.open(n)
	if n.Root() != root {
		t.Errorf("taken over: %s, want %s", n.Root(), root)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if r, err := n.Append(ctx, "agent-1", events.NoStream(), ev); err != nil || !r.Duplicate {
		t.Errorf("the same event again: %+v, %v", r, err)
	}
	c.grow(2)
	c.nodes[1].must(t, "agent-1", "by the new one")
	c.agree()
}

// TestPowerCutAroundSnapshots cuts a member's power after each of many steps, with
// snapshots among them, and opens what the disk kept.
func TestPowerCutAroundSnapshots(t *testing.T) {
	c := newCluster(t)
	c.grow(1, forgetful)
	n := c.nodes[0]
	for i := range 12 {
		r := n.must(t, "agent-1", fmt.Sprint(i))
		if i%3 == 1 {
			n.snapshot(t)
		}
		disk := n.fs.CrashClone(vfs.CrashCloneCfg{})
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		n.fs = disk
		c.open(n)
		c.leader()
		if root := c.agree(); root.Next != r.Position+1 {
			t.Fatalf("after cut %d: next position %d, want %d", i, root.Next, r.Position+1)
		}
	}
}

// TestSnapshotDamageStays sends a snapshot with each kind of damage: it is found by
// name and not taken.
func TestSnapshotDamageStays(t *testing.T) {
	c := newCluster(t)
	c.grow(1, forgetful)
	n := c.nodes[0]
	for i := range 40 {
		n.must(t, "agent-1", fmt.Sprint(i)+strings.Repeat("x", 60_000)) // enough for a table
	}
	n.snapshot(t)
	meta, r, err := n.fsm.snaps.Open(n.fsm.snaps.newest().meta.ID)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if int64(len(whole)) != meta.Size {
		t.Fatalf("stream of %d bytes, announced as %d", len(whole), meta.Size)
	}
	fs := vfs.NewMem()
	other, err := openSnapshots(fs, "snapshots", n.log)
	if err != nil {
		t.Fatal(err)
	}
	send := func(b []byte) error {
		k, err := other.Create(1, 7, 7, n.raft.GetConfiguration().Configuration(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Write(b); err != nil {
			return errors.Join(err, k.Close())
		}
		return k.Close()
	}
	tables := 0
	for _, f := range n.fsm.snaps.newest().contents.files {
		if f.table() {
			tables++
		}
	}
	if tables == 0 {
		t.Fatal("no table in the snapshot: the test shows little")
	}
	for at := 0; at < len(whole); at += 1 + len(whole)/199 {
		b := append([]byte{}, whole...)
		b[at] ^= 0x10
		if err := send(b); err == nil {
			t.Fatalf("bit flipped at %d of %d: taken", at, len(whole))
		}
	}
	if err := send(whole[:len(whole)/2]); err == nil {
		t.Error("half a snapshot was taken")
	}
	if names, err := fs.List("snapshots"); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if err := send(whole); err != nil {
		t.Errorf("the whole one: %v", err)
	}
	// Damage on the sender's disk gets a fresh checksum on its way, and is found.
	newest := n.fsm.snaps.newest()
	for _, f := range newest.contents.files {
		if f.table() {
			flip(t, n.fs, n.fs.PathJoin(newest.dir, filesName, f.name), int64(f.size/2))
		}
	}
	_, r, err = n.fsm.snaps.Open(newest.meta.ID)
	if err != nil {
		t.Fatal(err)
	}
	rotten, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if err := send(rotten); !errors.Is(err, events.ErrCorrupt) {
		t.Errorf("a table with a flipped bit: %v", err)
	}
}

// flip changes one bit of a file.
func flip(t *testing.T, fsys vfs.FS, path string, at int64) {
	t.Helper()
	f, err := fsys.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x04
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// halfway is a disk on which a directory that is removed loses its first file, and then
// the process is killed.
type halfway struct{ vfs.FS }

var errKilled = errors.New("killed")

func (h halfway) RemoveAll(path string) error {
	names, err := h.List(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		if n == metaName {
			return errors.Join(h.Remove(h.PathJoin(path, n)), errKilled)
		}
	}
	return h.FS.RemoveAll(path)
}

// TestKilledWhileSnapshotIsRemoved leaves half of a snapshot that a newer one took the
// place of: it is a leftover, and no damage.
func TestKilledWhileSnapshotIsRemoved(t *testing.T) {
	c := newCluster(t)
	c.grow(1, forgetful)
	n := c.nodes[0]
	n.fsm.snaps.mu.Lock()
	n.fsm.snaps.fs = halfway{n.fsm.snaps.fs}
	n.fsm.snaps.mu.Unlock()
	n.must(t, "agent-1", "0")
	n.snapshot(t)
	n.must(t, "agent-1", "1")
	n.snapshot(t)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, faults := examine(t, n.fs); len(faults) > 0 {
		t.Errorf("Examine: %v", faults)
	}
	if s, err := openSnapshots(n.fs, "data/"+snapshotsDir, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("the next start: %v", err)
	} else if len(s.known) != 1 {
		t.Errorf("%d snapshots, want the newest", len(s.known))
	}
	if names, err := n.fs.List("data/" + snapshotsDir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// unnamed is a disk on which nothing can be renamed.
type unnamed struct{ vfs.FS }

func (u unnamed) Rename(string, string) error { return errKilled }

// forgetsNames is a disk on which a directory cannot be synced in which the last name of a
// snapshot stands.
type forgetsNames struct {
	vfs.FS
	dir string
}

// OpenDir implements vfs.FS.
func (f forgetsNames) OpenDir(name string) (vfs.File, error) {
	if names, err := f.List(name); name == f.dir && err == nil && slices.ContainsFunc(names, func(n string) bool { return !strings.HasPrefix(n, tempPrefix) }) {
		return nil, errKilled
	}
	return f.FS.OpenDir(name)
}

// TestASnapshotThatCannotBeKept leaves nothing behind: its files are a copy of the log, or
// keep tables that are in use no more.
func TestASnapshotThatCannotBeKept(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	n.must(t, "agent-1", "0")
	disk := n.fsm.snaps.fs
	for name, broken := range map[string]vfs.FS{"no name": unnamed{disk}, "no sync": forgetsNames{disk, "data/" + snapshotsDir}} {
		n.fsm.snaps.mu.Lock()
		n.fsm.snaps.fs = broken
		n.fsm.snaps.mu.Unlock()
		if err := n.raft.Snapshot().Error(); err == nil {
			t.Fatalf("%s: it was kept", name)
		}
		if names, err := n.fs.List("data/" + snapshotsDir); err != nil || len(names) != 0 {
			t.Errorf("%s: left behind: %v, %v", name, names, err)
		}
	}
}

// TestNothingNewIsNotSnapshotted: raft asks at every look while its log is empty.
func TestNothingNewIsNotSnapshotted(t *testing.T) {
	c := newCluster(t)
	c.grow(1, forgetful)
	n := c.nodes[0]
	n.must(t, "agent-1", "0")
	n.snapshot(t)
	if err := n.raft.Snapshot().Error(); !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		t.Errorf("%v, want raft.ErrNothingNewToSnapshot", err)
	}
	n.must(t, "agent-1", "1")
	n.snapshot(t)
}

// TestALongLogIsMadeShorter, though none of its entries holds an event.
func TestALongLogIsMadeShorter(t *testing.T) {
	c := newCluster(t)
	const every = 8
	c.grow(1, forgetful, func(o *Options) { o.SnapshotEvery = every })
	n := c.nodes[0]
	n.must(t, "agent-1", "0")
	n.snapshot(t)
	before := n.raft.LastIndex()
	for range 2 * every {
		if err := n.raft.Barrier(patience).Error(); err != nil {
			t.Fatal(err)
		}
	}
	c.until("another", func() bool { return n.fsm.snaps.index() > before })
}

// TestASnapshotHoldsWhatItsNameSays: after a start raft gives again what the log has, and a
// snapshot of the log by the name of one of those entries would hold more than that. Who
// begins with it could lose its power and be told that it lacks what it had applied.
func TestASnapshotHoldsWhatItsNameSays(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	for i := range 300 {
		n.must(t, "agent-1", fmt.Sprint(i))
	}
	for range 5 {
		c.down(n)
		c.open(n)
		c.until("a snapshot", func() bool { return n.raft.Snapshot().Error() == nil })
		if s := n.fsm.snaps.newest(); s.contents.applied > s.meta.Index {
			t.Fatalf("of entry %d, holds entry %d", s.meta.Index, s.contents.applied)
		}
		n.must(t, "agent-1", "new")
	}
	if err := checkExtent(10, 12, 11, 14, 14); err != nil {
		t.Errorf("one of old: %v", err)
	}
}

// TestSnapshotThatEndsWithARefusal: the last entry of a snapshot may be one of which nothing
// was taken. Who begins with it, a member that starts or one that is added, waits for nothing.
func TestSnapshotThatEndsWithARefusal(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	n.must(t, "agent-1", "taken")
	var wrong *events.WrongRevisionError
	if _, err := n.Append(t.Context(), "agent-1", events.Exact(7), event("refused")); !errors.As(err, &wrong) {
		t.Fatalf("%v, want a *events.WrongRevisionError", err)
	}
	n.snapshot(t)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	c.open(n)
	root := c.agree()
	c.grow(2)
	if got := c.agree(); got != root {
		t.Errorf("%s, want %s", got, root)
	}
	if got, want := c.nodes[1].fsm.applied.get(), n.fsm.applied.get(); got != want {
		t.Errorf("the new one has applied %d, the first %d", got, want)
	}
}

// TestEntriesOfItsOwn: an old leader whose log ends with entries that no quorum has comes to
// what the others have, whether they are right behind its snapshot or go further than the
// snapshot that it is sent.
func TestEntriesOfItsOwn(t *testing.T) {
	for name, sent := range map[string]bool{"behind its snapshot": false, "beyond the one sent": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.grow(3, forgetful)
			c.leader().must(t, "agent-1", "0")
			c.agree()
			for _, n := range c.nodes {
				n.snapshot(t)
			}
			old := c.leader()
			term, next := old.raft.CurrentTerm(), old.fsm.snaps.newest().meta.Index+1
			c.down(old)
			old.addEntries(t, term, next, next+20)
			c.leader().must(t, "agent-1", "1")
			if sent {
				c.leader().snapshot(t)
				c.leader().must(t, "agent-1", "2")
			}
			c.open(old)
			c.agree()
			c.until("no entry of its own is left", func() bool {
				var e raft.Log
				err := old.logs.GetLog(next, &e)
				return errors.Is(err, raft.ErrLogNotFound) || err == nil && e.Term > term
			})
			c.leader().must(t, "agent-1", "and goes on")
			c.agree()
		})
	}
}

// addEntries writes entries of a term to the log of a member that is down.
func (n *node) addEntries(t *testing.T, term, first, last uint64) {
	t.Helper()
	l, err := openLogs(n.fs, "data/"+raftDir, n.opts.withDefaults(), func(why string) { t.Error(why) })
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i <= last && err == nil; i++ {
		err = l.StoreLog(&raft.Log{Index: i, Term: term, Type: raft.LogNoop})
	}
	if err = errors.Join(err, l.close()); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCutBeforeTheLogGoes that a snapshot from the leader stands for: what of it is not
// what led to the snapshot goes at the next start, or it would be sent to others one day.
func TestPowerCutBeforeTheLogGoes(t *testing.T) {
	for name, own := range map[string]struct{ beyond, later uint64 }{
		"it ends before": {0, 0}, "it ends with it": {1, 0}, "it goes further": {9, 0}, "in a later term": {9, 9},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.grow(3)
			c.leader().must(t, "agent-1", "0")
			c.agree()
			old := c.leader()
			term, next := old.raft.CurrentTerm(), old.raft.LastIndex()+1
			c.down(old)
			lead := c.leader()
			lead.must(t, "agent-1", "1")
			lead.snapshot(t)
			meta := lead.fsm.snaps.newest().meta
			if meta.Index <= next {
				t.Fatalf("the snapshot ends with entry %d, want more than %d", meta.Index, next)
			}
			old.addEntries(t, term+own.later, next, meta.Index-1+own.beyond)
			path := "data/" + snapshotsDir + "/" + meta.ID
			if ok, err := vfs.Clone(lead.fs, old.fs, path, path, vfs.CloneSync); err != nil || !ok {
				t.Fatal(ok, err)
			}
			if x, _, faults := examine(t, old.fs); x.Last != meta.Index || x.Term != meta.Term || len(faults) > 0 {
				t.Errorf("%+v, %v; want the end of entry %d of term %d", x, faults, meta.Index, meta.Term)
			}
			old.opts.Log.FS = old.disk()
			s := newStore("data", old.opts.withDefaults())
			if err := s.openDisk(); err != nil {
				t.Fatal(err)
			}
			if first, last, err := s.logs.extent(); err != nil || last != 0 {
				t.Errorf("entries %d to %d are there, %v", first, last, err)
			}
			if err := s.logs.GetLog(next, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
				t.Errorf("entry %d: %v, want raft.ErrLogNotFound", next, err)
			}
			if err := s.abandon(); err != nil {
				t.Fatal(err)
			}
			c.open(old)
			c.agree()
		})
	}
}

// TestLateSnapshotTakesNothingBack sends a follower a snapshot that it is beyond, as a network
// does that held it up: it keeps what it has acknowledged since.
func TestLateSnapshotTakesNothingBack(t *testing.T) {
	c := newCluster(t)
	c.grow(3)
	lead := c.leader()
	for i := range 5 {
		lead.must(t, "agent-1", fmt.Sprint(i))
	}
	lead.snapshot(t)
	meta, r, err := lead.fsm.snaps.Open(lead.fsm.snaps.newest().meta.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lead.must(t, "agent-1", "after it")
	root := c.agree()
	var n *node
	for _, m := range c.nodes {
		if m != lead {
			n = m
		}
	}
	ask := lead.gives(meta)
	var answer raft.InstallSnapshotResponse
	if err := lead.wire.InstallSnapshot(n.raftID(), raftAddress(n.opts.Address, n.ID()), &ask, &answer, r); err != nil || !answer.Success {
		t.Fatalf("%+v, %v", answer, err)
	}
	if n.Root() != root {
		t.Errorf("the log is %s, was %s", n.Root(), root)
	}
	lead.must(t, "agent-1", "and goes on")
	c.agree()
	snaps := lead.fsm.snaps
	k, err := snaps.Create(1, meta.Index-1, meta.Term, meta.Configuration, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	older, err := snaps.checkpoint(lead.replica)
	if err = errors.Join(err, older.Persist(k)); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err == nil || snaps.newest().meta.ID != meta.ID {
		t.Errorf("%v; an older snapshot took a newer one's place", err)
	}
	if names, err := lead.fs.List("data/" + snapshotsDir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}
