package raftstore

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// aloneOn are the options of a member alone on a disk.
func aloneOn(fs vfs.FS) Options { return smallOptions(fs).Alone() }

// leaderAlone opens the member on a disk, as a server does, once it has applied what it
// acknowledged. Close it.
func leaderAlone(t *testing.T, o Options) *node {
	t.Helper()
	if err := Adopt("data", o.Log); err != nil {
		t.Fatal(err)
	}
	s, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Sync(ctx); err != nil {
		t.Fatal(errors.Join(err, s.Close()))
	}
	return &node{Store: s, opts: o}
}

// memberAlone makes a member that has acknowledged some events, the first of them as a log
// that pebblestore wrote alone, and has a snapshot that some come after. It is closed.
func memberAlone(t *testing.T) (disk *vfs.MemFS, end pebblestore.Root) {
	t.Helper()
	disk = vfs.NewMem()
	o := aloneOn(disk)
	o.Trailing = 1
	log, err := pebblestore.Open("data", o.Log)
	if err != nil {
		t.Fatal(err)
	}
	_, err = log.Append(t.Context(), "agent-1", events.NoStream(), event("alone"))
	if err = errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	n := leaderAlone(t, o)
	n.must(t, "agent-1", "before the snapshot")
	if err := n.raft.Snapshot().Error(); err != nil {
		t.Error(err)
	}
	n.must(t, "agent-1", "after it")
	end = n.Root()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return disk, end
}

// TestMemberWithoutItsLog takes a member's log away, as a power cut does while another log
// takes its place, and as whoever removes it. Snapshot and raft log make it again, with all
// that was acknowledged; so does Recover.
func TestMemberWithoutItsLog(t *testing.T) {
	for how, take := range map[string]func(fs *vfs.MemFS) error{
		"moved away": func(fs *vfs.MemFS) error { return fs.Rename("data/"+logDir, "data/"+logDir+".old") },
		"removed":    func(fs *vfs.MemFS) error { return fs.RemoveAll("data/" + logDir) },
	} {
		for _, recovers := range []bool{false, true} {
			disk, end := memberAlone(t)
			if err := take(disk); err != nil {
				t.Fatal(err)
			}
			o := aloneOn(disk)
			if recovers {
				if out, err := Recover("data", o); err != nil || out.End != end {
					t.Fatalf("%s: recovered %+v, %v; want %s", how, out, err, end)
				}
			}
			n := leaderAlone(t, o)
			if n.Root() != end {
				t.Errorf("%s, recovered %t: %s, want %s", how, recovers, n.Root(), end)
			}
			n.must(t, "agent-1", "goes on")
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := disk.Stat("data/" + logDir + ".old"); err == nil {
				t.Errorf("%s, recovered %t: the old log is left", how, recovers)
			}
		}
	}
}

// TestMemberWithoutItsLogRefused has a member whose log is missing, or is not the only one,
// so that what it acknowledged is not all to be had: it is refused by name, and nothing is
// begun in the log's place.
func TestMemberWithoutItsLogRefused(t *testing.T) {
	gone := func(fs *vfs.MemFS, names ...string) (err error) {
		for _, n := range names {
			err = errors.Join(err, fs.RemoveAll("data/"+n))
		}
		return err
	}
	for _, c := range []struct {
		how  string
		harm func(fs *vfs.MemFS) error
		says string
	}{
		{"snapshots too", func(fs *vfs.MemFS) error { return gone(fs, logDir, snapshotsDir) }, "is missing, and cannot be made again: corrupt data: raft log: begins with entry"},
		{"raft log too", func(fs *vfs.MemFS) error { return gone(fs, logDir, snapshotsDir, raftDir) }, "is missing, and "},
		{"all of one that is not yet a cluster's", func(fs *vfs.MemFS) error {
			id, err := openIdentity(fs, "data")
			if err != nil {
				return err
			}
			return errors.Join(id.leave(ClusterID{}), gone(fs, logDir, snapshotsDir, raftDir))
		}, "is missing, and there is neither a snapshot nor a raft log"},
		{"identity too", func(fs *vfs.MemFS) error { return gone(fs, logDir, identityName) }, "is missing, and cannot be made again: corrupt data: file data/identity"},
		{"another begun", func(fs *vfs.MemFS) error {
			// As builds did that knew a member by its log alone. They left no mark that
			// one had been moved where the member began without.
			if err := gone(fs, logDir, "log-was-moved.sst"); err != nil {
				return err
			}
			s, err := pebblestore.Open("data", smallOptions(fs).Log)
			if err != nil {
				return err
			}
			return s.Close()
		}, "holds a log beside that of a member"},
	} {
		disk, _ := memberAlone(t)
		if err := c.harm(disk); err != nil {
			t.Fatal(err)
		}
		o := aloneOn(disk)
		if err := Adopt("data", o.Log); !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), "data/"+logDir) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: adopted: %v", c.how, err)
		}
		if _, err := Recover("data", o); !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: recovered: %v", c.how, err)
		}
		if _, err := Open("data", o); !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: opened: %v", c.how, err)
		}
		if _, err := disk.Stat("data/" + logDir); err == nil {
			t.Errorf("%s: a log was begun", c.how)
		}
	}
}
