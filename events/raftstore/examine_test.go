package raftstore

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// examine examines the member on a disk, and returns how many events it has applied and
// the faults that were told.
func examine(t *testing.T, disk vfs.FS) (x Examined, applied uint64, faults []error) {
	t.Helper()
	o := smallOptions(disk).Log
	o.ReadOnly = true
	log, err := pebblestore.Open("data/"+logDir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	x, err = Examine(t.Context(), "data", log, o, true, func(fault error) { faults = append(faults, fault) })
	if err != nil {
		t.Fatal(err)
	}
	return x, uint64(log.Root().Next), faults
}

// TestExamineCountsWhatIsNotApplied cuts the power of a member, so that the log of events
// lacks what was not synced, before a snapshot and after it: what Examine counts on top
// is what the next Open applies.
func TestExamineCountsWhatIsNotApplied(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	for i := range 3 {
		for range 10 {
			n.must(t, "agent-1", "x")
			if _, err := n.SetStreamMetadata(t.Context(), "agent-1", events.Any(), events.StreamMetadata{MaxCount: 100 + uint64(i)}); err != nil {
				t.Fatal(err)
			}
		}
		disk := n.fs.CrashClone(vfs.CrashCloneCfg{})
		x, applied, faults := examine(t, disk)
		want := uint64(n.Root().Next)
		if len(faults) > 0 || applied+x.Events != want || x.Beyond == 0 || x.Last != n.raft.LastIndex() || x.Term != n.raft.CurrentTerm() {
			t.Errorf("%d: %d events applied, %+v, faults %v; want %d events and entry %d of term %d", i, applied, x, faults, want, n.raft.LastIndex(), n.raft.CurrentTerm())
		}
		if i == 1 {
			if err := n.raft.Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if x, applied, faults := examine(t, n.fs); x.Beyond != 0 || x.Events != 0 || applied != uint64(n.Root().Next) || len(faults) > 0 {
		t.Errorf("closed: %d events applied, %+v, faults %v", applied, x, faults)
	}
}

// TestExamineNamesDamage flips bits all over a raft log and removes its files: each is a
// fault, those that mean nothing too.
func TestExamineNamesDamage(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	for range 5 {
		n.must(t, "agent-1", "x")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	sound, _, faults := examine(t, n.fs)
	if len(faults) > 0 || sound.Entries == 0 {
		t.Fatalf("sound: %+v, %v", sound, faults)
	}
	for how, harm := range map[string]func(fs *vfs.MemFS, path string) error{
		"lost": func(fs *vfs.MemFS, path string) error { return fs.Remove(path) },
		"flipped": func(fs *vfs.MemFS, path string) error {
			flip(t, fs, path, 10)
			return nil
		},
	} {
		disk := n.fs.CrashClone(vfs.CrashCloneCfg{})
		if err := harm(disk, "data/"+identityName); err != nil {
			t.Fatal(err)
		}
		if _, _, faults := examine(t, disk); len(faults) != 1 || !strings.Contains(faults[0].Error(), identityName) {
			t.Errorf("identity %s: %v", how, faults)
		}
	}
	names, err := n.fs.List("data/" + raftDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := "data/" + raftDir + "/" + name
		b := contentOf(t, n.fs, path)
		if name == markName { // one that does not read is none
			continue
		}
		for i := 0; i < len(strings.TrimRight(string(b), "\x00")); i++ {
			disk := n.fs.CrashClone(vfs.CrashCloneCfg{})
			b[i] ^= 0x10
			replace(t, disk, path, b)
			b[i] ^= 0x10
			_, _, faults := examine(t, disk)
			if len(faults) == 0 {
				t.Errorf("a flipped bit at byte %d of %s is not noticed", i, name)
			} else if !errors.Is(faults[0], events.ErrCorrupt) {
				t.Errorf("byte %d of %s: %v", i, name, faults[0])
			}
		}
		disk := n.fs.CrashClone(vfs.CrashCloneCfg{})
		if err := disk.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, _, faults := examine(t, disk); len(faults) == 0 {
			t.Errorf("%s is gone and not missed", name)
		}
	}
}

// TestExamineReadsSnapshots flips a bit of each table of a snapshot: it is a fault where
// tables are read. Nothing is changed by that.
func TestExamineReadsSnapshots(t *testing.T) {
	c := newCluster(t)
	c.grow(1)
	n := c.nodes[0]
	for range 30 {
		n.must(t, "agent-1", strings.Repeat("x", 60_000)) // more than fits beside tables
	}
	n.snapshot(t)
	newest := n.fsm.snaps.newest()
	dir := n.fs.PathJoin(newest.dir, filesName)
	snapshots := func(deep bool) (found uint64, faults []error) {
		x := newExamination(t.Context(), "data", pebblestore.Options{FS: n.fs}, func(err error) { faults = append(faults, err) })
		x.deep = deep
		if err := x.snapshot(0); err != nil {
			t.Fatal(err)
		}
		return x.out.Snapshots, faults
	}
	before, err := n.fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	if found, faults := snapshots(true); found != 1 || len(faults) > 0 {
		t.Errorf("sound: %d snapshots, %v", found, faults)
	}
	after, err := n.fs.List(dir)
	if slices.Sort(before); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(after); !slices.Equal(before, after) {
		t.Errorf("files of the snapshot: %v, then %v", before, after)
	}
	tables := 0
	for _, f := range newest.contents.files {
		if !f.table() {
			continue
		}
		tables++
		path := n.fs.PathJoin(dir, f.name)
		b := contentOf(t, n.fs, path)
		b[f.size/2] ^= 0x04
		replace(t, n.fs, path, b) // another file: the log's own table has this one's name no more
		if found, faults := snapshots(true); found != 0 || len(faults) != 1 || !errors.Is(faults[0], events.ErrCorrupt) || !strings.Contains(faults[0].Error(), f.name) {
			t.Errorf("%s: %d snapshots, %v", f.name, found, faults)
		}
		b[f.size/2] ^= 0x04
		replace(t, n.fs, path, b)
	}
	if tables == 0 {
		t.Error("the snapshot has no table")
	}
}

func contentOf(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func replace(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
