package actors

import (
	"context"
	"fmt"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestSnapshotsAreWrittenAFewAtATime: agents that go to sleep together wait for one
// another with their snapshots, and all are written.
func TestSnapshotsAreWrittenAFewAtATime(t *testing.T) {
	t.Run("number", func(t *testing.T) { snapshotsAtATime(t, saveBytes, savesAtOnce) })
	t.Run("bytes", func(t *testing.T) { snapshotsAtATime(t, 1, 1) }) // none fits beside another
}

func snapshotsAtATime(t *testing.T, bytes, want int64) {
	r := newRigWith(t, func(r *rig) {
		r.cfg.SnapshotEvery = hibernateShare
		r.before = func() { r.sys.saves = newSaves(bytes) }
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

// TestPlacesOfSnapshots: bytes and number are counted, and a large one is made alone.
func TestPlacesOfSnapshots(t *testing.T) {
	s := newSaves(100)
	if !s.tryTake(60) || s.tryTake(60) || !s.tryTake(40) || s.tryTake(0) {
		t.Fatal("60 and 40 of 100 bytes are one place each, and there is no other")
	}
	s.leave(60)
	s.leave(40)
	for range savesAtOnce {
		if !s.tryTake(1) {
			t.Fatal("no place for a small one")
		}
	}
	if s.tryTake(0) {
		t.Error("one more is made beside them")
	}
	s.leave(1)
	if s.tryTake(1 << 60) {
		t.Error("a large one is made beside others")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if s.await(ended, 1<<60) {
		t.Error("it got a place although it gave up")
	}
	for range savesAtOnce - 1 {
		s.leave(1)
	}
	if !s.await(t.Context(), 1<<60) || s.tryTake(0) {
		t.Error("a large one is not made alone")
	}
	s.leave(1 << 60)
}
