package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/events"
)

// TestCheckpointUnderLoad copies a log while four writers append, cuts the power
// right after, and opens the copy.
func TestCheckpointUnderLoad(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s, l := open(t, "source", smallOptions(mem)), newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range newWorkers(s, l, 4, 1) {
		wg.Go(func() {
			if err := w.work(ctx, 10_000, 2000); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	l.wait(100)
	acked := l.snapshot()
	next, err := s.Checkpoint("log")
	clone := mem.CrashClone(vfs.CrashCloneCfg{})
	cancel()
	wg.Wait()
	if err != nil || int(next) < len(acked) {
		t.Fatalf("Checkpoint: %d, %v; %d events were acknowledged before it", next, err, len(acked))
	}
	checkAfter(t, clone, acked)

	if _, err := s.Checkpoint("log"); err == nil {
		t.Error("a checkpoint was made over another")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Checkpoint("late"); !errors.Is(err, events.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestCheckpointOnABrokenDisk: the disk that a copy goes to is not the log's.
// What fails there is an error of Checkpoint, and the log goes on.
func TestCheckpointOnABrokenDisk(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileClose} {
		mem := vfs.NewMem()
		opts := smallOptions(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind && strings.HasPrefix(op.Path, "copy") {
				return unix.EIO
			}
			return nil
		})))
		opts.Fatal = func(msg string) { t.Errorf("operation %d fails beside the log: %s", kind, msg) }
		s := open(t, "log", opts)
		l := newLedger()
		if err := newWorkers(s, l, 1, 1)[0].work(t.Context(), 10, 2000); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Checkpoint("copy"); kind != errorfs.OpFileClose && err == nil { // of a close Pebble does not ask
			t.Errorf("operation %d: no error", kind)
		}
		if s.ReadOnly() {
			t.Errorf("operation %d: the log is read-only", kind)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		checkAfter(t, mem, l.snapshot())
	}
}

// TestPowerCutWhileCopying cuts the power at every operation of a Checkpoint, with any
// part of what was not synced kept: the copy is whole or not there. A directory with
// some files of it could be opened as a log that begins.
func TestPowerCutWhileCopying(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		mem := vfs.NewCrashableMem()
		copying, looks, whole := false, 0, 0
		look := func(next events.Position) {
			looks++
			clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, uint64(looks)))})
			if _, err := clone.Stat("copy"); errors.Is(err, fs.ErrNotExist) {
				return
			}
			s, err := Open("copy", smallOptions(clone))
			if err != nil {
				t.Errorf("%d %%, at operation %d: %v", percent, looks, err)
				return
			}
			if whole++; s.limit() < next {
				t.Errorf("%d %%, at operation %d: %d of %d events", percent, looks, s.limit(), next)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		var next events.Position
		s, want := filled(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(errorfs.Op) error {
			if copying {
				look(next)
			}
			return nil
		})))
		next, copying = events.Position(len(want)), true
		at, err := s.Checkpoint("copy")
		if copying = false; err != nil || at != next {
			t.Fatal(at, err)
		}
		was := whole
		if look(next); whole != was+1 {
			t.Errorf("%d %%: the copy is gone after it was made", percent)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCopyAfterPowerCut cuts the power at every change of the disk while a log is made,
// closed and opened again. A copy that is made at once when it is opened then, before
// anything is changed, is the log.
func TestCopyAfterPowerCut(t *testing.T) {
	for n := 1; ; n++ {
		mem := vfs.NewCrashableMem()
		c := &cutter{disk: mem, left: n}
		o := smallOptions(errorfs.Wrap(mem, errorfs.InjectorFunc(c.inject)))
		for i := range 2 {
			s := open(t, "log", o)
			if _, err := s.Append(t.Context(), "agent-1", events.Any(), part(fmt.Sprint(i), 1, 1)...); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		c.mu.Lock()
		disk := c.kept
		c.mu.Unlock()
		if disk == nil {
			if n < 50 {
				t.Errorf("%d cuts: the test shows little", n)
			}
			return
		}
		s := open(t, "log", smallOptions(disk))
		root := s.Root()
		_, err := s.Checkpoint("copy")
		if err = errors.Join(err, s.Close()); err != nil {
			t.Fatalf("cut %d: %v", n, err)
		}
		s, err = Open("copy", smallOptions(disk))
		if err != nil {
			t.Errorf("cut %d: %v", n, err)
			continue
		}
		if s.Root() != root {
			t.Errorf("cut %d: %s, want %s", n, s.Root(), root)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
