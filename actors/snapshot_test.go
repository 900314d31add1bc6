package actors

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestSnapshotsAreWrittenAFewAtATime: agents that go to sleep together wait for one
// another with their snapshots, and all are written.
func TestSnapshotsAreWrittenAFewAtATime(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SnapshotEvery = hibernateShare })
	const agents = 4 * savesAtOnce
	own := make(map[events.Stream]bool)
	for i := range agents {
		id := r.deploy(fmt.Sprint("counter", i), "counter-c")
		r.ask(id, `{"op":"add","n":1}`)
		own[events.SnapshotStream(id)] = true
	}
	var writing, most atomic.Int64
	begin := make(chan struct{})
	r.store.fail(func(s events.Stream) error {
		if own[s] {
			n := writing.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-begin
		}
		return nil
	}, func(s events.Stream) error {
		if own[s] {
			writing.Add(-1)
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
	r.until("some are written", func() bool { return writing.Load() >= savesAtOnce })
	select {
	case <-rested:
		t.Error("Rest returned before memory was given back")
	default:
	}
	close(begin)
	if n := <-rested; n != agents {
		t.Errorf("%d agents rested, want %d", n, agents)
	}
	if n := most.Load(); n != savesAtOnce {
		t.Errorf("%d snapshots were written at a time, want %d", n, savesAtOnce)
	}
	for s := range own {
		if r.store.offered(s) == 0 {
			t.Errorf("no snapshot in %s", s)
		}
	}
}
