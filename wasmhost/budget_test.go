package wasmhost

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestPromises: a large memory counts in full, a small one in part, and what was
// given is given back.
func TestPromises(t *testing.T) {
	b := memoryBudget{limit: 1 << 40, most: 128 << 20, residence: residence{measure: func() int64 { return 0 }}}
	small, large := &linearMemory{budget: &b, limit: 1 << 30}, &linearMemory{budget: &b, limit: 1 << 30}
	small.Reallocate(wholeAbove)
	if got := b.promised.Load(); got != wholeAbove/smallShare {
		t.Errorf("a small guest counts %d", got)
	}
	large.Reallocate(64 << 20)
	if got := b.promised.Load(); got != wholeAbove/smallShare+64<<20 {
		t.Errorf("with a large one they count %d", got)
	}
	if large.Reallocate(96<<20) != nil || !large.exhausted || large.denied {
		t.Error("more is promised than may be")
	}
	if got := large.overloaded(96 << 20); !errors.Is(got, events.ErrOverloaded) || !strings.Contains(got.Error(), "reckoned to write 67633152 of 100663296") {
		t.Errorf("%v", got)
	}
	large.exhausted = false
	small.Free()
	if large.Reallocate(96<<20) == nil {
		t.Error("all that may be promised is not given")
	}
	large.Free()
	if b.used.Load() != 0 || b.promised.Load() != 0 {
		t.Errorf("at the end %d used, %d promised", b.used.Load(), b.promised.Load())
	}
	b.slabs.trim()
}

// TestResidence: what was seen is not looked at again for a while, and never by two.
func TestResidence(t *testing.T) {
	looks := 0
	r := residence{measure: func() int64 { looks++; return 100 }}
	if !r.over(99) || r.over(100) {
		t.Error("it does not compare")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { r.over(1) })
	}
	wg.Wait()
	r.measure = func() int64 { return 0 } // the system does not tell
	if r.at.Store(0); !r.over(99) {
		t.Error("what it saw is forgotten")
	}
	if r.measure = nil; r.look() <= 0 {
		t.Error("the system does not say what this process has")
	}
}

// TestFullProcess: while the process has as much in memory as it may, a guest that
// asks for more is told -1 and its call is the host's fault, a new guest is told that
// the node is full, and those that ask for nothing go on.
func TestFullProcess(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.ProcessMemory = 64 << 20 }, false)
	resident := func(n int64) {
		h.memory.residence.measure = func() int64 { return n }
		h.memory.residence.at.Store(0) // look again
	}
	resident(0)
	m := compileTest(t, h, "probe")
	ctx := context.Background()
	grows, works := start(t, h, m), start(t, h, m)
	snap, err := works.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	resident(64 << 20)
	for name, begin := range map[string]func() (*Instance, error){
		"new":      func() (*Instance, error) { return h.Instantiate(ctx, m, testMemory) },
		"restored": func() (*Instance, error) { return h.Restore(ctx, m, testMemory, snap) },
	} {
		if _, err := begin(); !errors.Is(err, events.ErrOverloaded) || !strings.Contains(err.Error(), "67108864 in memory") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if out := ask(grows, "g"); out.Status != events.OutcomeHostFault || !strings.Contains(out.Detail, "no more memory") {
		t.Errorf("grows: %s: %s", out.Status, out.Detail)
	}
	if out := ask(works, "a"); out.Status != events.OutcomeOK {
		t.Errorf("asks for nothing: %s: %s", out.Status, out.Detail)
	}
	resident(1 << 20)
	in, err := h.Instantiate(ctx, m, testMemory)
	if err != nil {
		t.Fatalf("when there is room again: %v", err)
	}
	in.Close()
}
