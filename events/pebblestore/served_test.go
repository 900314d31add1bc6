package pebblestore

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/caxton-run/caxton/events"
)

// lookAround reads a log in each way that there is, and returns what it was shown.
func lookAround(t *testing.T, s *Store, streams []events.Stream) map[events.Position]events.EventID {
	shown := make(map[events.Position]events.EventID)
	note := func(ev events.Recorded, err error) bool {
		if err == nil {
			shown[ev.Position] = ev.ID
		}
		return err == nil // a stream that is not there yet
	}
	s.ReadAll(t.Context(), events.ReadAllOptions{})(note)
	s.ReadAll(t.Context(), events.ReadAllOptions{From: events.EndOfLog, Direction: events.Backwards, Max: 3})(note)
	s.ReadAll(t.Context(), events.ReadAllOptions{Filter: events.Filter{Types: []events.Type{"Part"}}})(note)
	for _, stream := range streams {
		s.ReadStream(t.Context(), stream, events.ReadStreamOptions{})(note)
		s.ReadStream(t.Context(), stream, events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards, Max: 3})(note)
		s.ReadCorrelation(t.Context(), fmt.Sprint(stream, "/2"), 0)(note)
	}
	return shown
}

// shownCut is a power cut and what had been read by then.
type shownCut struct {
	fsys  vfs.FS
	shown map[events.Position]events.EventID
	root  Root
}

// check looks for what was read.
func (c shownCut) check(t *testing.T) {
	t.Helper()
	s := open(t, "log", smallOptions(c.fsys))
	defer s.Close()
	there := make(map[events.Position]events.EventID)
	for _, ev := range readAll(t, s) {
		there[ev.Position] = ev.ID
	}
	for pos, id := range c.shown {
		if there[pos] != id {
			t.Errorf("what was read at position %d is gone", pos)
		}
	}
	if s.Root().Next < c.root.Next {
		t.Errorf("the log ends at %s, it was %s", s.Root(), c.root)
	}
}

// TestNothingReadIsGone cuts the power before each sync under four writers, whose
// streams have metadata too, with nothing unsynced kept: what any read showed by then
// is there after it.
func TestNothingReadIsGone(t *testing.T) {
	var (
		mem   = vfs.NewCrashableMem()
		log   atomic.Pointer[Store] // nil before it is open and after it was closed
		mu    sync.Mutex
		cuts  []shownCut
		names []events.Stream
	)
	hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
		s := log.Load()
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if s != nil {
				c := shownCut{shown: lookAround(t, s, names), root: s.Root()}
				c.fsys = mem.CrashClone(vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(1, 1))})
				mu.Lock()
				cuts = append(cuts, c)
				mu.Unlock()
			}
		}
		return nil
	})
	s := open(t, "log", smallOptions(errorfs.Wrap(mem, hook)))
	workers := newWorkers(s, newLedger(), 4, 1)
	for _, w := range workers {
		names = append(names, w.stream)
	}
	log.Store(s)
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			for range 6 {
				if err := w.work(t.Context(), 4, 2000); err != nil {
					t.Error(err)
				}
				if _, err := s.SetStreamMetadata(t.Context(), w.stream, events.Any(), events.StreamMetadata{MaxCount: 1000}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	log.Store(nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	most := 0
	for i, c := range cuts {
		most = max(most, len(c.shown))
		if c.check(t); t.Failed() {
			t.Fatalf("at cut %d of %d", i, len(cuts))
		}
	}
	if len(cuts) < 10 || most < 100 {
		t.Errorf("only %d cuts, and %d events read at most", len(cuts), most)
	}
}
