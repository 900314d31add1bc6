package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// TestUnknownVersionStops puts an entry of a newer build into the log: a member that
// cannot read it stops, says why, and acknowledges nothing more.
func TestUnknownVersionStops(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.leader()
	n.must(t, "agent-1", "before")
	entry := encodeEntry(1, n.raft.CurrentTerm(), [][]byte{[]byte("x")})
	entry[0] = newestEntry + 1
	n.raft.Apply(entry, 0).Error() //nolint:errcheck // what became of it is looked at below
	if why := <-n.died; !strings.Contains(why, "unknown version 2") || !strings.Contains(why, "newer member") {
		t.Errorf("stopped because %s", why)
	}
	if _, err := n.Append(t.Context(), "agent-1", events.Any(), event("after")); !errors.Is(err, events.ErrReadOnly) {
		t.Errorf("append: %v", err)
	}
	if err := n.Sync(t.Context()); !errors.Is(err, events.ErrReadOnly) {
		t.Errorf("Sync: %v", err)
	}
	if !n.ReadOnly() {
		t.Error("is not read-only")
	}
	if evs := len(n.Members()); evs != 1 {
		t.Errorf("%d members", evs)
	}
}

// TestDamageOfOneMember harms one file of one member of three, of every kind. It is
// found and named, when the member opens or when its log is verified; the others go
// on; and with a wiped disk the member comes back with what they have.
func TestDamageOfOneMember(t *testing.T) {
	c := newCluster(t)
	c.grow(3, func(o *Options) { o.Trailing = 2 })
	lead := c.leader()
	for i := range 30 {
		lead.must(t, "agent-1", fmt.Sprint(i)+strings.Repeat("x", 60_000))
	}
	var n *node
	for _, m := range c.nodes {
		if m != lead {
			n = m
		}
	}
	c.agree()
	n.snapshot(t)
	lead.must(t, "agent-1", "one more")
	c.agree()
	c.down(n)
	whole := n.fs
	for _, kind := range []string{
		"data/identity", "data/raft/stable", "data/raft/segments", "data/raft/.wal",
		"data/snapshots/*/meta", "data/snapshots/*/contents", "data/snapshots/*/log/MANIFEST", "data/snapshots/*/log/.sst",
		"data/log/MANIFEST", "data/log/.sst",
	} {
		for _, how := range []string{"flipped", "lost"} {
			n.fs = whole.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
			path := findFile(t, n.fs, kind)
			if how == "lost" {
				if err := n.fs.Remove(path); err != nil {
					t.Fatal(err)
				}
			} else {
				info, err := n.fs.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				at := min(info.Size()/3, 4096)
				if strings.HasSuffix(path, ".wal") {
					// What comes first in it may have been let go, and behind it come zeros.
					at = int64(len(bytes.TrimRight(contentOf(t, n.fs, path), "\x00"))) - 40
				}
				flip(t, n.fs, path, at)
			}
			if err := found(t, n); err == nil {
				t.Errorf("%s %s: not found", path, how)
			} else if err != nil && !errors.Is(err, events.ErrCorrupt) {
				t.Errorf("%s %s: %v", path, how, err)
			}
		}
	}
	lead = c.leader()
	lead.must(t, "agent-1", "the others go on")
	n.fs = vfs.NewCrashableMem()
	n.opts.Bootstrap = false
	c.open(n)
	c.add(n)
	c.agree()
	if _, err := n.Verify(t.Context(), func(fault error) { t.Error(fault) }, nil); err != nil {
		t.Error(err)
	}
}

// TestLostRaftDirectory takes the raft log of a member away, whose snapshot holds all that
// it has applied: it does not open, for it would vote where it has voted.
func TestLostRaftDirectory(t *testing.T) {
	c := newCluster(t)
	c.grow(1, forgetful)
	n := c.nodes[0]
	n.must(t, "agent-1", "x")
	n.snapshot(t)
	c.down(n)
	if err := n.fs.RemoveAll("data/" + raftDir); err != nil {
		t.Fatal(err)
	}
	if err := found(t, n); !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), stableName) {
		t.Errorf("opened without its raft log: %v", err)
	}
	if _, _, faults := examine(t, n.fs); len(faults) == 0 || !strings.Contains(faults[0].Error(), stableName) {
		t.Errorf("examined without its raft log: %v", faults)
	}
}

// found opens a member far from the others and verifies its log.
func found(t *testing.T, n *node) error {
	t.Helper()
	o := n.opts
	o.Log.FS, o.Network = n.fs, newTestNet().at(n.opts.Address)
	s, err := Open("data", o)
	if err != nil {
		return err
	}
	var first error
	_, err = s.Verify(t.Context(), func(fault error) {
		if first == nil {
			first = fault
		}
	}, nil)
	if newest := s.fsm.snaps.newest(); first == nil && err == nil && newest != nil {
		first = inspect(t.Context(), n.fs, n.fs.PathJoin(newest.dir, filesName), newest.contents)
	}
	return errors.Join(first, err, s.Close())
}

// findFile finds the first file below the folders of kind whose name holds the last
// part, or the last table or piece of the raft log, for the first may be about to go; a folder *
// is any.
func findFile(t *testing.T, fs vfs.FS, kind string) string {
	t.Helper()
	parts := strings.Split(kind, "/")
	path := parts[0]
	for _, p := range parts[1:] {
		names, err := fs.List(path)
		if err != nil {
			t.Fatal(err)
		}
		next := ""
		slices.Sort(names)
		for _, name := range names {
			if (next == "" || p == ".sst" || p == ".wal") && (p == "*" || strings.Contains(name, p)) && !strings.Contains(name, "marker") {
				next = name
			}
		}
		if next == "" {
			t.Fatalf("%s: no %s in %s: %v", kind, p, path, names)
		}
		path = fs.PathJoin(path, next)
	}
	return path
}

// TestLargeSnapshot adds a member that is sent more than memory should hold: 4 MiB,
// 64 MiB with CAXTON_LONG=1, 1 GiB with CAXTON_LONG=all.
func TestLargeSnapshot(t *testing.T) {
	size := map[string]int{"": 4 << 20, "all": 1 << 30}[os.Getenv("CAXTON_LONG")]
	if size == 0 {
		size = 64 << 20
	}
	c := newCluster(t)
	onDisk := func(o *Options) {
		o.Log = DefaultOptions().Log
		o.Log.BallastBytes = 0
		o.Trailing, o.SegmentBytes = 0, defaultSegment
		o.Heartbeat = time.Second
	}
	open := func(i int) *Store {
		o := DefaultOptions()
		onDisk(&o)
		o.Address, o.Bootstrap = fmt.Sprintf("member-%d:1", i), i == 1
		o.Network = c.net.at(o.Address)
		s, err := Open(t.TempDir(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	first := open(1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	pad, random := make([]byte, 1<<20-4096), rand.NewChaCha8([32]byte{1}) // what does not compress
	for i := 0; i < size; i += len(pad) {
		if _, err := random.Read(pad); err != nil {
			t.Fatal(err)
		}
		ev := events.Event{ID: events.NewEventID(), Type: "Tested", ContentType: events.Binary, Data: append([]byte{}, pad...)}
		if _, err := first.Append(ctx, "agent-1", events.Any(), ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	second := open(2)
	sub, err := second.SubscribeAll(ctx, 0, events.Filter{}) // it waits for what is yet to come
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if _, err := first.AddMember(ctx, "member-2:1"); err != nil {
		t.Fatal(err)
	}
	if err := second.Sync(ctx); err != nil || second.Root() != first.Root() {
		t.Errorf("sent %s, arrived %s, %v", first.Root(), second.Root(), err)
	}
	for pos := range first.Root().Next {
		if ev, err := sub.Next(ctx); err != nil || ev.Position != pos {
			t.Fatalf("subscriber: position %d, %v; want %d", ev.Position, err, pos)
		}
	}
	if newest := second.fsm.snaps.newest(); newest == nil || newest.meta.Size < int64(size) {
		t.Errorf("arrived as %+v: the test shows little", newest)
	}
}
