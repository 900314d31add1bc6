package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// TestEmergencyStopOutlivesAKill: a guest that spins is stopped, the process killed, and
// nothing runs until the stop is lifted; then everything that was accepted is handled.
func TestEmergencyStopOutlivesAKill(t *testing.T) {
	p := newProcess(t)
	p.start()
	c, ctx := p.client(), context.Background()
	p.ready(c)
	spin := deployHostile(t, c, "spin", events.ResourceLimits{MaxFuel: events.LimitCeilings().MaxFuel, MaxExecutionTimeMS: 60_000})
	counter, err := c.Deploy(ctx, caxtonhttp.Deployment{Name: "counter", Wasm: fixtures.Agent("counter-c")})
	if err != nil {
		t.Fatal(err)
	}
	send := func(to, content string, wait time.Duration) caxtonhttp.MessageReceipt {
		t.Helper()
		got, err := c.Send(ctx, to, caxtonhttp.Outgoing{Content: json.RawMessage(content), Wait: wait})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	send(spin, "1", 0)
	got, err := c.EmergencyStop(ctx, caxtonhttp.StopOrder{Reason: "test"})
	if err != nil || got.Guests != 1 || got.Left != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := c.OrderBreaker(ctx, caxtonhttp.BreakerOrder{Action: "activate", Scope: events.BreakerAgent, Name: spin}); err != nil {
		t.Fatal(err)
	}
	const messages = 5
	for range messages {
		if r := send(counter.ID.String(), `{"op":"add","n":1}`, 0); r.Status != actors.Held {
			t.Errorf("%s, want %s", r.Status, actors.Held)
		}
	}
	p.kill()
	p.start()
	p.ready(c)
	if s, err := c.ClusterStatus(ctx); err != nil || s.Status != caxtonhttp.StatusStopped {
		t.Errorf("after a kill: %+v, %v", s, err)
	}
	list, err := c.Breakers(ctx)
	if err != nil || len(list) != 2 || list[1].State != actors.BreakerOpen || !list[1].Forced {
		t.Errorf("breakers after a kill: %+v, %v", list, err)
	}
	if err := c.Remove(ctx, spin); err != nil { // or it spins again
		t.Fatal(err)
	}
	if lifted, err := c.EmergencyLift(ctx); err != nil || !lifted {
		t.Fatalf("lifted %v, %v", lifted, err)
	}
	r := send(counter.ID.String(), `{"op":"get"}`, 30*time.Second)
	if r.Reply == nil || string(r.Reply.Content) != fmt.Sprintf(`{"count":%d}`, messages) {
		t.Errorf("%+v, want %d", r, messages)
	}
}
