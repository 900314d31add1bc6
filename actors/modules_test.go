package actors

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
)

// TestAModuleIsLoadedOnce: of agents that wake at the same moment with a module that is
// not compiled, one brings its bytes, and the others wait without.
func TestAModuleIsLoadedOnce(t *testing.T) {
	r := newRig(t, nil)
	view, _ := r.agents.Get(r.deploy("counter", "counter-rust"))
	ctx := context.Background()
	host, err := wasmhost.New(ctx, wasmhost.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := host.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	var read atomic.Int64
	store := reads{r.log, events.ModuleStream(view.Module), func() { read.Add(1) }}
	if _, err := events.LoadModule(ctx, store, view.Module); err != nil {
		t.Fatal(err)
	}
	once := read.Swap(0)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			m, err := modules{store, host}.Module(ctx, view.Module)
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
