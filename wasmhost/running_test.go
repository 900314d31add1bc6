package wasmhost

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// watchContext is asked at each look of the host, on the goroutine of the guest.
type watchContext struct {
	context.Context
	look func()
}

func (w watchContext) Err() error { w.look(); return nil }

// TestDeepStacksAreCounted: the stack of a guest that runs is seen while it is
// deep, within what the meter bounds, and is gone from the count after the call.
func TestDeepStacksAreCounted(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.Slice = 1000 }, false)
	in := start(t, h, compileTest(t, h, "probe"))
	var most, mine int64
	watch := watchContext{context.Background(), func() {
		most = max(most, h.deep.Load())
		mine = max(mine, in.deep.Load())
	}}
	if out := in.Handle(watch, testCall("d")); out.Status != events.OutcomeStackOverflow {
		t.Fatalf("%s: %s", out.Status, out.Detail)
	}
	bound := 2 * meter.StackBytes(h.cfg.CallDepth, h.cfg.caps())
	if most <= maxWarmStack || most != mine || most > bound {
		t.Errorf("%d bytes were counted, %d of the guest; at most %d", most, mine, bound)
	}
	if u, _ := in.MemoryUsage(); h.deep.Load() != 0 || u.Stacks != 0 {
		t.Errorf("after the call %d bytes are counted, %d of the guest", h.deep.Load(), u.Stacks)
	}
}

// TestStacksAreBounded: a deep call ends when all deep stacks together are more
// than the node has for them, and no other does.
func TestStacksAreBounded(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.Slice = 1000 }, false)
	h.cfg.GuestStacks = 4 * maxWarmStack // less than one deep guest, which no configuration can say
	m := compileTest(t, h, "probe")
	out := ask(start(t, h, m), "d")
	if out.Status != events.OutcomeHostFault || !strings.Contains(out.Detail, "no more memory for guests' stacks") {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
	if !errors.Is(out.Short, events.ErrOverloaded) {
		t.Errorf("it passes when others rest, and says %v", out.Short)
	}
	if n := h.deep.Load(); n != 0 {
		t.Errorf("%d bytes are counted after it", n)
	}
	h.deep.Add(1 << 40) // of others
	defer h.deep.Add(-1 << 40)
	if out := ask(start(t, h, m), "a"); out.Status != events.OutcomeOK {
		t.Errorf("a shallow guest: %s: %s", out.Status, out.Detail)
	}
	if out := ask(start(t, h, m), "s"); out.Status != events.OutcomeOutOfFuel {
		t.Errorf("a shallow guest of many slices: %s: %s", out.Status, out.Detail)
	}
}

// TestNativeIsFound fails when the engine calls its fields otherwise.
func TestNativeIsFound(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileFixture(t, h, "counter-go")
	start(t, h, m).Close()
	if n := m.native.Load(); n < int64(m.info.Size) || n > 20*int64(m.info.Size) {
		t.Errorf("%d bytes of machine code for a module of %d", n, m.info.Size)
	}
	interpreted := hostWith(t, nil, true)
	in := start(t, interpreted, compileTest(t, interpreted, "probe"))
	if n := nativeBytes(in.guest); n != 0 {
		t.Errorf("%d bytes of machine code in the interpreter", n)
	}
}
