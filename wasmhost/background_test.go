package wasmhost

import (
	"context"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// niceAtSlice runs a guest that never ends, and returns how nice its thread is at its
// third slice, where it is killed.
func niceAtSlice(t *testing.T, h *Host, m *Module, long bool) int {
	t.Helper()
	in := start(t, h, m)
	c := testCall("s")
	c.Fuel, c.Timeout, c.Long = 1<<60, 0, long
	nice := 0
	ctx := &atSlice{Context: context.Background(), n: 3, do: func() {
		nice = threadNice()
		in.Kill()
	}}
	if out := in.Handle(ctx, c); out.Status != events.OutcomeKilled || out.Fuel < h.cfg.Slice {
		t.Fatal(out.Status, out.Detail, out.Fuel)
	}
	return nice
}

// TestLongCallsGiveWay: a long call runs on a nicer thread while there is a place, and
// nobody else runs there afterwards.
func TestLongCallsGiveWay(t *testing.T) {
	h := hostWith(t, nil, false)
	h.background = make(chan struct{}, 2) // whatever this machine has
	m := compileTest(t, h, "busy")
	ours := threadNice()
	aside := min(leastNice, ours+backgroundNice)
	if aside == ours {
		t.Skip("this process is as nice as can be")
	}
	for range 3 {
		if n := niceAtSlice(t, h, m, true); n != aside {
			t.Errorf("a long call runs at niceness %d, not %d", n, aside)
		}
		if n := niceAtSlice(t, h, m, false); n != ours {
			t.Errorf("another runs at niceness %d, not %d", n, ours)
		}
	}
	for range cap(h.background) {
		h.background <- struct{}{}
	}
	if n := niceAtSlice(t, h, m, true); n != ours {
		t.Errorf("without a place it runs at niceness %d, not %d", n, ours)
	}
	<-h.background
	if n := niceAtSlice(t, h, m, true); n != aside {
		t.Errorf("with a place again it runs at niceness %d, not %d", n, aside)
	}
}

// TestABackgroundPanicIsItsCallers: it does not end the process.
func TestABackgroundPanicIsItsCallers(t *testing.T) {
	h := hostWith(t, nil, false)
	func() {
		defer func() {
			if r := recover(); r != "broken" {
				t.Errorf("the caller saw %v", r)
			}
		}()
		h.inBackground(func() { panic("broken") })
	}()
	if len(h.background) != 0 {
		t.Error("its place is not given back")
	}
}
