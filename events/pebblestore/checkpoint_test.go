package pebblestore

import (
	"context"
	"errors"
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
