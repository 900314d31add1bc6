package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// TestDiskLow runs a server that calls its disk low from the first percent on:
// new work is refused with 507, the node says why it is not ready, and agents
// can still be suspended and removed.
func TestDiskLow(t *testing.T) {
	p := newProcess(t)
	p.start()
	c, ctx := p.client(), context.Background()
	p.ready(c)
	id := deployHostile(t, c, "spin", events.DefaultLimits())
	p.kill()

	file := filepath.Join(t.TempDir(), "low.yaml")
	if err := os.WriteFile(file, []byte("events: {disk: {warn_percent: 1, refuse_percent: 1, read_only_percent: 100}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.flags = []string{"--config", file}
	p.start()
	problem := func(what string, err error, code caxtonhttp.Code, status int) caxtonhttp.Problem {
		t.Helper()
		var got *caxtonhttp.ProblemError
		if !errors.As(err, &got) || got.Code != code || got.Status != status {
			t.Fatalf("%s: %v, want %d %s", what, err, status, code)
		}
		return got.Problem
	}
	_, err := c.Ready(ctx)
	if err == nil {
		t.Skip("less than a percent of this disk is used")
	}
	var why caxtonhttp.Problem
	until(t, "the projections have caught up", func() bool { // before that all but this is refused with NOT_READY
		_, err := c.Ready(ctx)
		why = problem("ready", err, caxtonhttp.CodeNotReady, 503)
		return len(why.Errors) == 1
	})
	if why.Errors[0].Field != "disk" {
		t.Errorf("not ready: %+v", why.Errors)
	}
	p.measures("caxton_disk_level 2")
	_, err = c.Send(ctx, id, caxtonhttp.Outgoing{Content: json.RawMessage("1")})
	problem("a message", err, caxtonhttp.CodeDiskLow, 507)
	_, err = c.Deploy(ctx, caxtonhttp.Deployment{Name: "more", Wasm: []byte("\x00asm\x01\x00\x00\x00")})
	problem("a deployment", err, caxtonhttp.CodeDiskLow, 507)
	if _, err := c.Suspend(ctx, id, "for want of room"); err != nil {
		t.Errorf("suspend: %v", err)
	}
	if err := c.Remove(ctx, id); err != nil {
		t.Errorf("remove: %v", err)
	}
}
