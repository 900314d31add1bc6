package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/caxton-run/caxton/events"
)

// smallOptions flush and rotate often, so that short tests meet both.
func smallOptions(fsys vfs.FS) Options {
	o := DefaultOptions()
	o.FS = fsys
	o.CacheBytes, o.MemTableBytes, o.HeadCache = minCacheBytes, minMemTableBytes, minHeadCache
	o.BallastBytes = 0
	return o
}

// ledger knows which events were acknowledged, and of which append each event
// of the workload is a part.
type ledger struct {
	mu    sync.Mutex
	grown sync.Cond
	acked map[events.EventID]events.Recorded // place and event
	over  bool                               // a worker gave up: do not wait for more
}

func newLedger() *ledger {
	l := &ledger{acked: make(map[events.EventID]events.Recorded)}
	l.grown.L = &l.mu
	return l
}

// wait returns when n events are acknowledged or a worker gave up.
func (l *ledger) wait(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.acked) < n && !l.over {
		l.grown.Wait()
	}
}

// giveUp wakes whoever waits for acknowledgements that will not come.
func (l *ledger) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.grown.Broadcast()
}

func (l *ledger) ack(stream events.Stream, r events.Result, evs []events.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range evs {
		l.acked[evs[i].ID] = events.Recorded{Stream: stream, Revision: r.First + events.Revision(i), Event: evs[i]}
	}
	l.grown.Broadcast()
}

func (l *ledger) snapshot() map[events.EventID]events.Recorded {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.acked)
}

// part makes the events of one append; their data tell how many they are.
func part(name string, n, size int) []events.Event {
	evs := make([]events.Event, n)
	for i := range evs {
		evs[i] = events.Event{
			ID: events.NewEventID(), Type: "Part", ContentType: events.JSON,
			Data:     fmt.Appendf(nil, `{"append":%q,"of":%d,"pad":%q}`, name, n, strings.Repeat("x", size)),
			Metadata: events.Metadata{CorrelationID: name}.Encode(),
		}
	}
	return evs
}

// checkAfter opens a file system as a power cut left it and checks that each
// acknowledged event is at its place, that appends are whole, that records and
// indexes agree, and that the log takes appends.
func checkAfter(t *testing.T, fsys vfs.FS, acked map[events.EventID]events.Recorded) {
	t.Helper()
	s, err := Open("log", smallOptions(fsys))
	if err != nil {
		t.Errorf("open after the crash: %v", err)
		return
	}
	defer s.Close()
	ctx := t.Context()
	if _, err := s.Verify(ctx, func(fault error) { t.Errorf("fault after the crash: %v", fault) }, nil); err != nil {
		t.Error(err)
	}
	parts := make(map[string]int)
	for ev, err := range s.ReadAll(ctx, events.ReadAllOptions{}) {
		if err != nil {
			t.Error(err)
			return
		}
		var name string
		var of int
		if _, err := fmt.Sscanf(string(ev.Data), `{"append":%q,"of":%d,`, &name, &of); err != nil {
			t.Errorf("%s@%d holds %.60q: %v", ev.Stream, ev.Revision, ev.Data, err)
		}
		parts[fmt.Sprint(name, " of ", of)]++
		if want, ok := acked[ev.ID]; ok {
			if want.Stream != ev.Stream || want.Revision != ev.Revision || string(want.Data) != string(ev.Data) {
				t.Errorf("event acknowledged at %s@%d stands at %s@%d", want.Stream, want.Revision, ev.Stream, ev.Revision)
			}
			delete(acked, ev.ID)
		}
	}
	if len(acked) > 0 {
		t.Errorf("%d acknowledged events are lost", len(acked))
	}
	for name, n := range parts {
		if !strings.HasSuffix(name, fmt.Sprint(" of ", n)) {
			t.Errorf("append %s: %d events are there", name, n)
		}
	}
	if _, err := s.Append(ctx, "after-1", events.NoStream(), part("after", 1, 1)...); err != nil {
		t.Errorf("append after the crash: %v", err)
	}
}

// worker appends to its own stream.
type worker struct {
	s      *Store
	l      *ledger
	stream events.Stream
	next   events.ExpectedRevision
	rng    *rand.Rand
	done   int
}

func newWorkers(s *Store, l *ledger, n int, seed uint64) []*worker {
	ws := make([]*worker, n)
	for i := range ws {
		ws[i] = &worker{
			s: s, l: l, stream: events.Stream(fmt.Sprintf("agent-%d", i)), next: events.NoStream(),
			rng: rand.New(rand.NewPCG(seed, uint64(i)+2)),
		}
	}
	return ws
}

// work makes up to n appends of 1 to 4 events, until one fails.
func (w *worker) work(ctx context.Context, n, pad int) error {
	for range n {
		w.done++
		evs := part(fmt.Sprint(w.stream, "/", w.done), 1+w.rng.IntN(4), w.rng.IntN(pad))
		r, err := w.s.Append(ctx, w.stream, w.next, evs...)
		if err != nil {
			return err
		}
		w.l.ack(w.stream, r, evs)
		w.next = events.Exact(r.Last)
	}
	return nil
}

// TestPowerCutAtRandom cuts the power again and again under four writers, with
// any part of what was not synced on the disk; more often with CAXTON_LONG=1.
func TestPowerCutAtRandom(t *testing.T) {
	for seed := range seedsOf(2, 30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			mem := vfs.NewCrashableMem()
			s, l := open(t, "log", smallOptions(mem)), newLedger()
			workers := newWorkers(s, l, 4, seed)
			for range 4 {
				var wg sync.WaitGroup
				before := len(l.snapshot())
				for _, w := range workers {
					wg.Go(func() {
						if err := w.work(t.Context(), 25, 4000); err != nil {
							t.Error(err)
							l.giveUp()
						}
					})
				}
				l.wait(before + rng.IntN(100)) // of at least 100
				acked := l.snapshot()          // before the cut: what is in it must survive
				clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				wg.Wait()
				checkAfter(t, clone, acked)
			}
		})
	}
}

// TestPowerCutAtEverySync runs a script and cuts the power before each sync the
// engine asks for: nothing unsynced survives, then all of it.
func TestPowerCutAtEverySync(t *testing.T) {
	mem := vfs.NewCrashableMem()
	l := newLedger()
	type cut struct {
		fsys  vfs.FS
		acked map[events.EventID]events.Recorded
	}
	var mu sync.Mutex
	var cuts []cut
	hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			acked := l.snapshot()
			mu.Lock()
			defer mu.Unlock()
			for _, percent := range []int{0, 100} {
				rng := rand.New(rand.NewPCG(uint64(len(cuts)), 3))
				cuts = append(cuts, cut{mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}), acked})
			}
		}
		return nil
	})
	s := open(t, "log", smallOptions(errorfs.Wrap(mem, hook)))
	for i := range 16 {
		stream := events.Stream(fmt.Sprintf("agent-%d", i%5))
		evs := part(fmt.Sprint(i), 1+i%3, 1500*(i%9))
		r, err := s.Append(t.Context(), stream, events.Any(), evs...)
		if err != nil {
			t.Fatal(err)
		}
		l.ack(stream, r, evs)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(cuts) < 32 {
		t.Fatalf("only %d cuts: the engine syncs less than once per append", len(cuts))
	}
	for i, c := range cuts {
		checkAfter(t, c.fsys, maps.Clone(c.acked))
		if t.Failed() {
			t.Fatalf("at cut %d of %d, with %d events acknowledged", i, len(cuts), len(c.acked))
		}
	}
}

// TestUnknownOutcomeIsRetried repeats, after a power cut, the append that was
// under way: whichever way it went, the repetition makes it stand once.
func TestUnknownOutcomeIsRetried(t *testing.T) {
	for _, percent := range []int{0, 100} {
		mem := vfs.NewCrashableMem()
		evs := part("retried", 3, 100)
		var clone *vfs.MemFS
		armed := false
		hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if armed && op.Kind == errorfs.OpFileSyncData && clone == nil {
				clone = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, 1))})
			}
			return nil
		})
		s := open(t, "log", smallOptions(errorfs.Wrap(mem, hook)))
		armed = true // nothing else syncs: the store is idle
		if _, err := s.Append(t.Context(), "agent-1", events.NoStream(), evs...); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if clone == nil {
			t.Fatal("the append did not sync")
		}
		again := open(t, "log", smallOptions(clone))
		r, err := again.Append(t.Context(), "agent-1", events.NoStream(), evs...)
		if err != nil || r.First != 0 || r.Last != 2 || r.Duplicate != (percent == 100) {
			t.Errorf("%d %% of the unsynced data survived: %+v, %v", percent, r, err)
		}
		again.Close()
	}
}

// failing makes the writes or syncs of the write-ahead log fail once it is on.
func failing(fsys vfs.FS, kinds ...errorfs.OpKind) (vfs.FS, *errorfs.Toggle) {
	toggle := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		for _, k := range kinds {
			if op.Kind == k && strings.HasSuffix(op.Path, ".log") {
				return errors.New("injected: input/output error")
			}
		}
		return nil
	})}
	return errorfs.Wrap(fsys, toggle), toggle
}

// TestFailedWriteNeverAcknowledges fails a write or a sync under four writers.
// So little is written that the log is not rotated: there Pebble panics where
// Options.Fatal returns, as it does here and nowhere else. TestDiskFails covers
// the rest.
func TestFailedWriteNeverAcknowledges(t *testing.T) {
	cases := map[string][]errorfs.OpKind{
		"sync":  {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
		"write": {errorfs.OpFileWrite},
	}
	for name, kinds := range cases {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			fsys, toggle := failing(mem, kinds...)
			opts := smallOptions(fsys)
			fatal := make(chan string, 10)
			opts.Fatal = func(msg string) { fatal <- msg }
			s, l := open(t, "log", opts), newLedger()
			workers := newWorkers(s, l, 4, 1)
			var wg sync.WaitGroup
			for _, w := range workers {
				wg.Go(func() {
					if err := w.work(t.Context(), 10, 50); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			toggle.On()
			for _, w := range workers {
				wg.Go(func() {
					if err := w.work(t.Context(), 1, 50); !errors.Is(err, events.ErrUnknownOutcome) && !errors.Is(err, events.ErrReadOnly) {
						t.Errorf("append on a broken disk: %v", err)
					}
				})
			}
			wg.Wait()
			toggle.Off()
			select {
			case msg := <-fatal:
				if !strings.Contains(msg, "injected") || len(fatal) != 0 {
					t.Errorf("Fatal was told %q, and %d times more", msg, len(fatal))
				}
			case <-time.After(10 * time.Second):
				t.Fatal("Fatal was not called")
			}
			readable := 0
			for _, err := range s.ReadAll(t.Context(), events.ReadAllOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				readable++
			}
			acked := l.snapshot()
			if readable != len(acked) {
				t.Errorf("%d events are readable, %d were acknowledged", readable, len(acked))
			}
			if _, err := s.Append(t.Context(), "x-1", events.Any(), part("x", 1, 1)...); !errors.Is(err, events.ErrReadOnly) || !s.ReadOnly() {
				t.Errorf("append after the failure: %v", err)
			}
			killed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if name == "sync" && int(rootOf(t, killed).Next) == len(acked) {
				t.Error("nothing unacknowledged was left behind: the test misses what it is about")
			}
			checkIsolated(t, killed, maps.Clone(acked)) // the page cache has what the disk refused
			checkIsolated(t, mem.CrashClone(vfs.CrashCloneCfg{}), acked)
		})
	}
}

// rootOf looks at the files of a log and returns the root that it ends with.
func rootOf(t *testing.T, fsys vfs.FS) Root {
	t.Helper()
	opts := smallOptions(fsys)
	opts.ReadOnly = true
	s := open(t, "log", opts)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return s.Root()
}

// checkIsolated opens a marked directory: read-only, with all that was
// acknowledged and nothing else. With the marker removed it takes appends again.
func checkIsolated(t *testing.T, fsys vfs.FS, acked map[events.EventID]events.Recorded) {
	t.Helper()
	s := open(t, "log", smallOptions(fsys))
	if _, err := s.Append(t.Context(), "x-1", events.Any(), part("x", 1, 1)...); !errors.Is(err, events.ErrReadOnly) || !s.ReadOnly() {
		t.Errorf("append to an isolated log: %v", err)
	}
	streams := make(map[events.Stream]int)
	for ev, err := range s.ReadAll(t.Context(), events.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := acked[ev.ID]; !ok {
			t.Errorf("position %d of %s was not acknowledged", ev.Position, ev.Stream)
		}
		streams[ev.Stream]++
	}
	found := 0
	for stream, n := range streams {
		for _, err := range s.ReadStream(t.Context(), stream, events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards}) {
			if err != nil {
				t.Fatal(err)
			}
			found, n = found+1, n-1
		}
		if n != 0 {
			t.Errorf("%s is %d events shorter than what all has of it", stream, n)
		}
	}
	if found != len(acked) {
		t.Errorf("%d of %d acknowledged events are there", found, len(acked))
	}
	if v, err := s.Verify(t.Context(), func(fault error) { t.Error(fault) }, nil); err != nil || int(v.Root.Next) != found || v.Root != s.Root() {
		t.Errorf("verified up to %s, root %s, %v", v.Root, s.Root(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := fsys.Remove(fsys.PathJoin("log", isolatedName)); err != nil {
		t.Error(err)
	}
	checkAfter(t, fsys, acked)
}
