package pebblestore

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

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
