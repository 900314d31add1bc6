package raftstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// cuts keeps what a power cut would leave before each sync, and each rename, beside the
// log of events.
type cuts struct {
	mu   sync.Mutex
	fs   *vfs.MemFS
	kept []*vfs.MemFS
	at   []string
}

func (c *cuts) disk() vfs.FS {
	return errorfs.Wrap(c.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRename:
			if !strings.HasPrefix(op.Path, "data/log") {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.kept = append(c.kept, c.fs.CrashClone(vfs.CrashCloneCfg{}))
				c.at = append(c.at, op.Path)
			}
		}
		return nil
	}))
}

// TestPowerCutWhileAClusterIsMade cuts the power at every step of it, with an empty log
// and with one that was written alone: the next start makes it, or finds it made.
func TestPowerCutWhileAClusterIsMade(t *testing.T) {
	for _, written := range []bool{false, true} {
		t.Run(map[bool]string{false: "anew", true: "of a log"}[written], func(t *testing.T) {
			c := &cuts{fs: vfs.NewCrashableMem()}
			if written {
				writeAlone(t, c.fs)
			}
			o := smallOptions(c.disk())
			o.Address, o.Network, o.Bootstrap, o.Heartbeat = "member-1:1", nobody{}, true, 20*time.Millisecond
			foundCluster(t, o, written)
			if len(c.kept) < 8 {
				t.Fatalf("%d cuts: the test shows little", len(c.kept))
			}
			for i, fs := range c.kept {
				o.Log.FS = fs
				foundCluster(t, o, written)
				if t.Failed() {
					t.Fatalf("cut %d of %d, before %s", i, len(c.kept), c.at[i])
				}
			}
		})
	}
}

// writeAlone makes a log of one event, which pebblestore writes alone.
func writeAlone(t *testing.T, fs *vfs.MemFS) (events.Event, pebblestore.Root) {
	t.Helper()
	if err := makeDir(fs, "data"); err != nil {
		t.Fatal(err)
	}
	s, err := pebblestore.Open("data/log", smallOptions(fs).Log)
	if err != nil {
		t.Fatal(err)
	}
	ev := event("alone")
	_, err = s.Append(t.Context(), "agent-1", events.NoStream(), ev)
	root := s.Root()
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return ev, root
}

// foundCluster opens a member that makes a cluster or has made one: it leads, and takes an
// append behind what was written before. Adopt comes first, as in a server: no cut leaves
// what it would refuse.
func foundCluster(t *testing.T, o Options, written bool) {
	t.Helper()
	if err := Adopt("data", o.Log); err != nil {
		t.Error(err)
		return
	}
	s, err := Open("data", o)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := s.Append(ctx, "agent-1", events.Any(), event("after"))
	if err != nil || written && r.First == 0 {
		t.Errorf("append: %+v, %v", r, err)
	}
}
