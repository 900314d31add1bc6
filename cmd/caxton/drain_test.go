package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// TestAnInterruptedDrain ends on the server too, and says what happened; the server
// shows one that is under way.
func TestAnInterruptedDrain(t *testing.T) {
	p := newProcess(t)
	p.start()
	c := p.client()
	p.ready(c)
	busy := deployHostile(t, c, "spin", events.ResourceLimits{MaxFuel: events.LimitCeilings().MaxFuel, MaxExecutionTimeMS: 60_000})
	sent, err := c.Send(t.Context(), busy, caxtonhttp.Outgoing{Content: json.RawMessage("1")})
	if err != nil {
		t.Fatal(err)
	}
	p.awaitRunning(sent.MessageID[:])

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	code := make(chan int, 1)
	var stdout, stderr bytes.Buffer
	go func() {
		code <- run(ctx, []string{"queue", "drain", "--timeout", "10m", "--api", "http://" + p.addr}, nil, &stdout, &stderr)
	}()
	p.drains(c)
	ready, err := c.Ready(t.Context())
	if err != nil || len(ready.Warnings) != 1 || ready.Warnings[0].Field != "queue" {
		t.Errorf("while it drains, readiness is %+v, %v", ready, err)
	}
	interrupt()
	if got := <-code; got != exitFailed || !strings.Contains(stderr.String(), "interrupted: the drain was cancelled") {
		t.Errorf("exit %d, %q%q", got, stdout.String(), stderr.String())
	}
	queue, err := c.Queue(t.Context())
	if err != nil || len(queue) != 1 || !queue[0].DrainingUntil.IsZero() {
		t.Errorf("afterwards %+v, %v; want no drain", queue, err)
	}
}

// drains waits until the queue is shown as being drained.
func (p *process) drains(c *caxtonhttp.Client) {
	p.t.Helper()
	late := time.After(patience)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		queue, err := c.Queue(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		if len(queue) == 1 && !queue[0].DrainingUntil.IsZero() {
			return
		}
		select {
		case <-poll.C:
		case <-late:
			p.t.Fatal("it does not drain")
		}
	}
}
