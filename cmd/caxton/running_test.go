package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// TestAMessageThatEndsTheNode is set aside when the node has died with it twice, and
// the node lives.
func TestAMessageThatEndsTheNode(t *testing.T) {
	p := newProcess(t)
	p.start()
	client := p.client()
	p.ready(client)
	ctx := context.Background()
	var spin []byte
	for _, c := range fixtures.Hostile() {
		if c.Name == "spin" {
			spin = c.Wasm
		}
	}
	limits := events.LimitCeilings()
	limits.MaxMemoryBytes = events.DefaultLimits().MaxMemoryBytes
	if _, err := client.Deploy(ctx, caxtonhttp.Deployment{Name: "deadly", Wasm: spin, Limits: limits}); err != nil {
		t.Fatal(err)
	}
	sent, err := client.Send(ctx, "deadly", caxtonhttp.Outgoing{Content: json.RawMessage(`1`)})
	if err != nil || sent.Status != actors.Queued {
		t.Fatalf("%s, %v", sent.Status, err)
	}
	for range 2 {
		p.awaitRunning(sent.MessageID) // the guest would go on for a minute
		p.kill()
		p.start()
		p.ready(client)
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	late := time.After(time.Minute)
	for {
		letter, err := client.Letter(ctx, sent.MessageID.String())
		if err == nil {
			if letter.Kind != "quarantined" || letter.Reason != string(events.OutcomeNodeCrash) || letter.Attempts != 2 {
				t.Errorf("%+v", letter)
			}
			return
		}
		select {
		case <-poll.C:
		case <-late:
			t.Fatalf("it is not quarantined: %v", err)
		}
	}
}

// awaitRunning waits until the node's record names a message.
func (p *process) awaitRunning(id events.MessageID) {
	p.t.Helper()
	late := time.After(time.Minute)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		b, err := os.ReadFile(filepath.Join(p.dir, "running"))
		if err != nil {
			p.t.Fatal(err)
		}
		if bytes.Contains(b, id[:]) {
			return
		}
		select {
		case <-poll.C:
		case <-late:
			p.t.Fatalf("message %s does not run", id)
		}
	}
}
