package actors

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestSnapshotsAreWrittenAFewAtATime: agents that go to sleep together wait for one
// another with their snapshots, and all are written.
func TestSnapshotsAreWrittenAFewAtATime(t *testing.T) {
	t.Run("number", func(t *testing.T) { snapshotsAtATime(t, saveBytes, savesAtOnce) })
	t.Run("bytes", func(t *testing.T) { snapshotsAtATime(t, 1, 1) }) // none fits beside another
}

func snapshotsAtATime(t *testing.T, bytes uint64, want int64) {
	r := newRigWith(t, func(r *rig) {
		r.cfg.SnapshotEvery = hibernateShare
		r.before = func() { r.sys.saves.bytes = bytes }
	})
	const agents = 4 * savesAtOnce
	own := make(map[events.Stream]bool)
	for i := range agents {
		id := r.deploy(fmt.Sprint("counter", i), "counter-c")
		r.ask(id, `{"op":"add","n":1}`)
		own[events.SnapshotStream(id)] = true
	}
	gate := newTurnstile()
	r.store.fail(func(s events.Stream) error {
		if own[s] {
			gate.enter()
		}
		return nil
	}, func(s events.Stream) error {
		if own[s] {
			gate.leave()
		}
		return nil
	})
	rested := make(chan int, 1)
	go func() {
		n, err := r.sys.Rest(context.Background())
		if err != nil {
			t.Error(err)
		}
		rested <- n
	}()
	r.until("all sleep but for their snapshots", func() bool { return r.sys.Awake() == 0 })
	r.until("some are written", func() bool { return gate.writing.Load() >= want })
	select {
	case <-rested:
		t.Error("Rest returned before memory was given back")
	default:
	}
	close(gate.open)
	if n := <-rested; n != agents {
		t.Errorf("%d agents rested, want %d", n, agents)
	}
	if n := gate.most.Load(); n != want {
		t.Errorf("%d snapshots were written at a time, want %d", n, want)
	}
	for s := range own {
		if r.store.offered(s) == 0 {
			t.Errorf("no snapshot in %s", s)
		}
	}
}

// TestLargeSnapshotsWaitInOrder: bytes are counted, a large one is made alone and not
// overtaken for ever, and one that gives up leaves its place in the queue.
func TestLargeSnapshotsWaitInOrder(t *testing.T) {
	s := &saves{bytes: 100}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !s.tryTake(60) || s.tryTake(60) || !s.tryTake(40) {
		t.Fatal("60 and 40 of 100 bytes are one place each, and 60 more are not")
	}
	got := make(chan uint64)
	wait := func(ctx context.Context, size uint64, n int) {
		go func() {
			if s.await(ctx, size) {
				got <- size
			} else {
				got <- 0
			}
		}()
		for {
			s.mu.Lock()
			waiting := len(s.waiting)
			s.mu.Unlock()
			if waiting == n {
				return
			}
			runtime.Gosched()
		}
	}
	wait(context.Background(), 500, 1)
	wait(ctx, 101, 2)
	wait(context.Background(), 10, 3)
	s.leave(60)
	if s.tryTake(1) {
		t.Error("one that does not wait overtakes those that do")
	}
	s.leave(40)
	if n := <-got; n != 500 {
		t.Fatalf("%d bytes are next, want 500", n)
	}
	cancel()
	if n := <-got; n != 0 {
		t.Fatalf("%d bytes are next, want none: it gave up", n)
	}
	s.leave(500)
	if n := <-got; n != 10 {
		t.Fatalf("%d bytes are next, want 10", n)
	}
	if s.leave(10); s.taken != 0 || s.held != 0 || len(s.waiting) != 0 {
		t.Errorf("%d places of %d bytes are taken, %d wait", s.taken, s.held, len(s.waiting))
	}
}
