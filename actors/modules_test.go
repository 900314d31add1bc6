package actors

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestAModuleIsLoadedOnce: of agents that wake at the same moment with a module that is
// not compiled, one brings its bytes, and the others wait without.
func TestAModuleIsLoadedOnce(t *testing.T) {
	r := newRig(t, nil)
	view, _ := r.agents.Get(r.deploy("counter", "counter-rust"))
	ctx := context.Background()
	r.restart()
	var read atomic.Int64
	store := reads{r.log, events.ModuleStream(view.Module), func() { read.Add(1) }}
	if _, err := events.LoadModule(ctx, store, view.Module); err != nil {
		t.Fatal(err)
	}
	once := read.Swap(0)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			m, err := modules{store, r.host}.Module(ctx, view.Module)
			if err != nil {
				t.Error(err)
				return
			}
			m.Release()
		})
	}
	wg.Wait()
	if n := read.Load(); n != once {
		t.Errorf("%d events were read, and the module is in %d", n, once)
	}
}
