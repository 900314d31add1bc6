package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
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
		p.awaitRunning(sent.MessageID[:]) // the guest would go on for a minute
		p.kill()
		p.start()
		p.ready(client)
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	late := time.After(patience)
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

// TestAMigrationThatEndsTheNode is refused by name when the node has died with it
// twice, and the agent goes on as it was.
func TestAMigrationThatEndsTheNode(t *testing.T) {
	p := newProcess(t)
	p.start()
	client := p.client()
	p.ready(client)
	ctx := context.Background()
	limits := events.LimitCeilings() // the migration would go on for a minute
	limits.MaxMemoryBytes = events.DefaultLimits().MaxMemoryBytes
	view, err := client.Deploy(ctx, caxtonhttp.Deployment{Name: "deadly", Wasm: fixtures.Agent("tally"), Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(content string) string {
		t.Helper()
		sent, err := client.Send(ctx, "deadly", caxtonhttp.Outgoing{Content: json.RawMessage(content), Wait: time.Minute})
		if err != nil || sent.Reply == nil {
			t.Fatalf("%s, %v", sent.Status, err)
		}
		return string(sent.Reply.Content)
	}
	ask(`{"op":"add","n":13}`)
	update := func() error {
		_, err := client.Update(ctx, "deadly", caxtonhttp.Changes{Wasm: fixtures.Agent("tally-2")})
		return err
	}
	for range 2 {
		cut := make(chan error)
		go func() { cut <- update() }()
		p.awaitRunning(view.ID[:])
		p.kill()
		if err := <-cut; err == nil {
			t.Fatal("an update is answered by a node that has ended")
		}
		p.start()
		p.ready(client)
	}
	var refused *caxtonhttp.ProblemError
	if err := update(); !errors.As(err, &refused) || refused.Code != caxtonhttp.CodeMigrationFailed || !strings.Contains(refused.Detail, string(events.OutcomeNodeCrash)) {
		t.Fatalf("%v, want %s for %s", err, caxtonhttp.CodeMigrationFailed, events.OutcomeNodeCrash)
	}
	if got := ask(`{"op":"get"}`); got != `{"seen":1,"total":13}` {
		t.Errorf("the agent answers %s", got)
	}
}

// awaitRunning waits until the node's record has an id.
func (p *process) awaitRunning(id []byte) {
	p.t.Helper()
	late := time.After(patience)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		b, err := os.ReadFile(filepath.Join(p.dir, "running"))
		if err != nil {
			p.t.Fatal(err)
		}
		if bytes.Contains(b, id) {
			return
		}
		select {
		case <-poll.C:
		case <-late:
			p.t.Fatalf("%x does not run", id)
		}
	}
}
