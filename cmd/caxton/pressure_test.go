package main

import (
	"context"
	"testing"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// TestPressure: agents sleep in order of their priorities, and no more of them than
// need be.
func TestPressure(t *testing.T) {
	ctx := context.Background()
	n, err := startBenchNode(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.shut(ctx); err != nil {
			t.Error(err)
		}
	}()
	g := n.system.Gateway()
	for _, p := range []events.Priority{events.Low, events.Low, events.Normal, events.Critical} {
		d, err := g.Deploy(ctx, actors.DeployRequest{Name: "a", Wasm: fixtures.Agent("echo"), Limits: events.DefaultLimits(), Priority: p})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.runner.WaitFor(ctx, d.Position); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Send(ctx, actors.SendRequest{To: d.ID, Message: events.Message{Content: []byte("1")}, Wait: actors.MaxWait}); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 1000
	sizes := func(list ...uint64) func() uint64 {
		return func() uint64 {
			v := list[0]
			if len(list) > 1 {
				list = list[1:]
			}
			return v
		}
	}
	for _, tc := range []struct {
		what     string
		resident func() uint64
		awake    int
	}{
		{"within", sizes(900), 4},
		{"the low ones are enough", sizes(901, 900), 2},
		{"all are not enough", sizes(2000), 0},
	} {
		if n.relieve(ctx, limit, tc.resident); n.system.Awake() != tc.awake {
			t.Errorf("%s: %d awake, want %d", tc.what, n.system.Awake(), tc.awake)
		}
	}
}

// TestHeapLimit: the heap has what guests leave of the share, and never nothing.
func TestHeapLimit(t *testing.T) {
	const limit = 1000 << 20
	for _, c := range []struct{ guests, want int64 }{
		{0, 900 << 20}, {400 << 20, 500 << 20}, {800 << 20, 250 << 20}, {2000 << 20, 250 << 20},
	} {
		if got := heapLimit(limit, c.guests); got != c.want {
			t.Errorf("beside %d bytes of guests: %d, want %d", c.guests, got, c.want)
		}
	}
}

// TestPromisedOf: what guests may still write is pressure as if it were written.
func TestPromisedOf(t *testing.T) {
	const limit = 1000 << 20
	for _, c := range []struct {
		promised, most int64
		want           uint64
	}{
		{0, 750 << 20, 0}, {375 << 20, 750 << 20, 500 << 20}, {750 << 20, 750 << 20, limit}, {10, 0, 0},
	} {
		if got := promisedOf(limit, c.promised, c.most); got != c.want {
			t.Errorf("%d of %d: %d, want %d", c.promised, c.most, got, c.want)
		}
	}
}
