package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// TestWhatEndsANode: only a stop that the next start still finds.
func TestWhatEndsANode(t *testing.T) {
	lifted := fmt.Errorf("emergency stop: %w", events.ErrConflict)
	for _, c := range []struct {
		what    string
		cluster bool
		got     actors.StoppedAll
		err     error
		want    bool
	}{
		{"all is well", true, actors.StoppedAll{}, nil, true},
		{"the agents alone", false, actors.StoppedAll{}, nil, false},
		{"no dump", true, actors.StoppedAll{DumpFailed: io.ErrShortWrite}, nil, true},
		{"guests run still", true, actors.StoppedAll{}, context.DeadlineExceeded, true},
		{"refused", true, actors.StoppedAll{}, events.Invalidf("reason", "too long"), false},
		{"lifted meanwhile", true, actors.StoppedAll{}, lifted, false},
		{"not recorded", true, actors.StoppedAll{Unrecorded: events.ErrDiskLow}, nil, false},
		{"neither recorded nor over", true, actors.StoppedAll{Unrecorded: events.ErrDiskLow}, context.DeadlineExceeded, false},
	} {
		if got := endsNode(actors.StopAllRequest{Cluster: c.cluster}, c.got, c.err); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// TestAStopThatIsNotRecordedIsToldSo, and no more is promised than is done.
func TestAStopThatIsNotRecordedIsToldSo(t *testing.T) {
	var out, told bytes.Buffer
	a := &app{stdout: &out, stderr: &told, output: "table", now: time.Now}
	err := a.showStop(caxtonhttp.StopOrder{Cluster: true}, caxtonhttp.EmergencyStop{Node: "node-1", RecordError: "no space"})
	if err == nil || !strings.HasPrefix(err.Error(), "the server is not shut down; the agents are stopped until the server ends, and no longer") {
		t.Errorf("%v", err)
	}
	if s := out.String() + told.String(); strings.Contains(s, "shuts down") || strings.Contains(s, "stay stopped") {
		t.Errorf("it says %q", s)
	}
	out.Reset()
	err = a.showStop(caxtonhttp.StopOrder{Cluster: true}, caxtonhttp.EmergencyStop{Node: "node-1", Shutdown: true})
	if err != nil || !strings.Contains(out.String(), "node-1: shuts down; its agents stay stopped when it is started\n") {
		t.Errorf("%v, %q", err, out.String())
	}
}

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
	running := send(spin, "1", 0)
	p.awaitRunning(running.MessageID[:]) // or there is no guest to stop yet
	got, err := c.EmergencyStop(ctx, caxtonhttp.StopOrder{Reason: "test"})
	if err != nil || got.Guests != 1 || got.Left != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := c.OrderBreaker(ctx, caxtonhttp.BreakerOrder{Action: "activate", Scope: events.BreakerAgent, Name: spin}); err != nil {
		t.Fatal(err)
	}
	const messages = 5
	for range messages {
		if r := send(counter.ID.String(), `{"op":"add","n":1}`, 0); r.Status != actors.Held && r.Status != actors.Queued { // that, if the turn which holds it is slow to begin
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
