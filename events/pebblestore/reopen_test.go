package pebblestore

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/caxton-run/caxton/events"
)

// TestPowerCutWhileOpening makes a log, or opens one that a crash left, appends a
// little and closes it, and cuts the power before operations that change the disk,
// with none, any and all of the unsynced bytes and names kept: each time the
// log opens, with all that was acknowledged. CAXTON_LONG=1 cuts three times as
// often and in more ways.
func TestPowerCutWhileOpening(t *testing.T) {
	ways := []int{0, 50, 100}
	if os.Getenv("CAXTON_LONG") != "" {
		ways = []int{0, 20, 50, 80, 100}
	}
	for _, kept := range ways {
		for seed := range seedsOf(1, 20) {
			t.Run(fmt.Sprint("new ", kept, " ", seed), func(t *testing.T) { cutWhileOpening(t, vfs.NewCrashableMem(), newLedger(), kept, seed) })
			t.Run(fmt.Sprint("left ", kept, " ", seed), func(t *testing.T) {
				left, l := crashed(t)
				cutWhileOpening(t, left, l, kept, seed)
			})
			if kept == 0 || kept == 100 {
				break // there is one way
			}
		}
	}
}

// seedsOf is how many random courses a test takes: few, or many with CAXTON_LONG.
func seedsOf(few, many uint64) uint64 {
	if os.Getenv("CAXTON_LONG") != "" {
		return many
	}
	return few
}

// powerCut is a disk after one, with what was acknowledged before it.
type powerCut struct {
	fsys  *vfs.MemFS
	acked map[events.EventID]events.Recorded
	op    errorfs.Op // that it came before
}

func cutWhileOpening(t *testing.T, disk *vfs.MemFS, l *ledger, kept int, seed uint64) {
	t.Helper()
	var cuts []powerCut
	hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			rng := rand.New(rand.NewPCG(uint64(len(cuts)), seed))
			cuts = append(cuts, powerCut{disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rng}), l.snapshot(), op})
		}
		return nil
	})
	s := open(t, "log", smallOptions(errorfs.Wrap(disk, oneByOne(hook))))
	if err := newWorkers(s, l, 2, 7)[1].work(t.Context(), 4, 2000); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(cuts) < 30 {
		t.Fatalf("only %d cuts", len(cuts))
	}
	every := 3 - int(seedsOf(0, 2)) // by default a third of them
	for i, c := range cuts {
		if i%every != 0 {
			continue
		}
		checkAfter(t, c.fsys, maps.Clone(c.acked))
		if t.Failed() {
			t.Fatalf("at cut %d of %d, before operation %d on %s", i, len(cuts), c.op.Kind, c.op.Path)
		}
	}
}

// crashed returns a log as a power cut left it, with something in tables, in a
// write-ahead log, and in an older one.
func crashed(t *testing.T) (*vfs.MemFS, *ledger) {
	t.Helper()
	mem, l := vfs.NewCrashableMem(), newLedger()
	s := open(t, "log", smallOptions(mem))
	w := newWorkers(s, l, 1, 3)[0]
	for range 2 {
		if err := w.work(t.Context(), 10, 4000); err != nil {
			t.Fatal(err)
		}
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.work(t.Context(), 10, 4000); err != nil {
		t.Fatal(err)
	}
	left := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return left, l
}

// oneByOne calls an injector for one operation at a time.
func oneByOne(in errorfs.Injector) errorfs.Injector {
	turn := make(chan struct{}, 1)
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		turn <- struct{}{}
		defer func() { <-turn }()
		return in.MaybeError(op)
	})
}
