package wasmhost

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// TestHandleAllocatesNothing: a call of a guest that does nothing leaves the
// collector nothing to do.
func TestHandleAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h := testHost(t)
	m, err := h.Compile(context.Background(), generated{}.wasm())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	in := start(t, h, m)
	c := Call{Message: request(`{"op":"add","n":1}`), Fuel: 1 << 40}
	if n := testing.AllocsPerRun(100, func() {
		if out := in.Handle(context.Background(), c); out.Status != events.OutcomeOK {
			t.Fatal(out.Status, out.Detail)
		}
	}); n != 0 {
		t.Errorf("%v allocations for each call", n)
	}
}

// TestMessageRoom: the room of messages is used again, and neither a longer message
// before nor a large one shows in the next.
func TestMessageRoom(t *testing.T) {
	h := testHost(t)
	m, err := h.Compile(context.Background(), fixtures.Agent("echo"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	in := start(t, h, m)
	for _, size := range []int{1000, 10, maxWarmMessage, 0, 200_000, 20} {
		content := `"` + strings.Repeat("x", size) + `"`
		out := in.Handle(context.Background(), Call{Message: request(content), Fuel: 1 << 40})
		if out.Status != events.OutcomeOK {
			t.Fatal(out.Status, out.Detail)
		}
		if !bytes.Contains(out.Reply, json.RawMessage(content)) {
			t.Errorf("%d bytes came back as %.60q", size, out.Reply)
		}
		if n := cap(in.entries().message); n > maxWarmMessage || n == 0 && size < 100 {
			t.Errorf("after %d bytes there is room for %d", size, n)
		}
	}
}
