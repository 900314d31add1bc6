package actors

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
)

// crowd is guests of nobody that have most of a node's memory until an agent has
// woken as often as a test says.
type crowd struct {
	Unobserved
	left   atomic.Int64
	guests []*wasmhost.Instance
}

// Woke implements Observer, on the goroutine of the agent that is about to run.
func (c *crowd) Woke(time.Duration) {
	if c.left.Add(-1) == 0 {
		c.leave()
	}
}

func (c *crowd) leave() {
	for _, in := range c.guests {
		in.Close()
	}
	c.guests = nil
}

// fill takes memory of the node in pieces of 64 KiB.
func (c *crowd) fill(r *rig, n int) {
	r.t.Helper()
	ctx := context.Background()
	m, err := r.host.Compile(ctx, fixtures.Agent("counter-c"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer m.Release()
	for range n {
		in, err := r.host.Instantiate(ctx, m, 1<<20)
		if err != nil {
			r.t.Fatal(err)
		}
		c.guests = append(c.guests, in)
	}
}

func hostileGuest(t *testing.T, name string) []byte {
	t.Helper()
	for _, c := range fixtures.Hostile() {
		if c.Name == name {
			return c.Wasm
		}
	}
	t.Fatalf("no hostile guest %q", name)
	return nil
}

// TestAMessageWaitsForTheNodesMemory: a guest that is refused memory which the node
// has given to others is not to blame, however often that happens. Its message waits,
// without an event, and runs when there is memory: then its own limit ends it.
func TestAMessageWaitsForTheNodesMemory(t *testing.T) {
	c := &crowd{}
	r := newRigWith(t, func(r *rig) { r.guests, r.observer = 8<<20, c })
	id := r.deployWasm("grows", hostileGuest(t, "grow"), func(d *DeployRequest) { d.Limits.MaxMemoryBytes = 4 << 20 })
	c.fill(r, 90)
	c.left.Store(agent.MaxCrashesOfMessage + 1)
	sent := r.ask(id, `{}`)
	if sent.Status != Failed {
		t.Errorf("%s, want %s", sent.Status, Failed)
	}
	if n := c.left.Load(); n > 0 {
		t.Errorf("it ended %d wakes too early", n)
	}
	stream := events.AgentStream(id)
	if crashed := only[events.AgentCrashed](r, stream); len(crashed) != 0 {
		t.Errorf("crashes: %+v", crashed)
	}
	if failed := only[events.MessageFailed](r, stream); len(failed) != 1 || failed[0].Outcome != events.OutcomeMemoryLimit {
		t.Errorf("failed: %+v", failed)
	}
	c.leave()
}

// TestMoreThanANodeHas: what a node could give no guest is no matter of waiting.
func TestMoreThanANodeHas(t *testing.T) {
	r := newRigWith(t, func(r *rig) { r.guests = 2 << 20 })
	id := r.deployWasm("grows", hostileGuest(t, "grow"), func(d *DeployRequest) { d.Limits.MaxMemoryBytes = 4 << 20 })
	if sent := r.ask(id, `{}`); sent.Status != Quarantined {
		t.Errorf("%s, want %s", sent.Status, Quarantined)
	}
}
