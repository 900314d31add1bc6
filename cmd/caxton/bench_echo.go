package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	caxtonhttp "github.com/caxton-run/caxton/http"
)

// The echo measurement has the shape of the one that Golem publishes (its benchmark
// throughput-echo): as many agents as callers, each of whom calls an agent of its own and
// waits for what it said to come back, durably.
const (
	echoAgents  = 100
	echoGuest   = "echo"
	echoContent = `"hello"`
)

// What Golem publishes of it, of 32 virtual processors. It is quoted and not measured
// here, and its machine is another one: only the shape is the same.
const (
	golemEchoPerSecond = 2400
	golemEchoP50       = 9 * time.Millisecond
	golemEchoMachine   = "32 vCPU"
)

// measureEcho measures it on a node of its own.
func (a *app) measureEcho(ctx context.Context, o benchOptions, dir string) (out load, err error) {
	n, err := startBenchNode(ctx, dir)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, n.shut(ctx)) }()
	a.note("%d callers of %d agents that echo, over HTTP", echoAgents, echoAgents)
	ids, err := n.deployMany(ctx, echoGuest, echoAgents)
	if err != nil {
		return out, err
	}
	client, err := caxtonhttp.NewClient(caxtonhttp.ClientOptions{URL: n.url, Timeout: time.Minute})
	if err != nil {
		return out, err
	}
	defer client.Close()
	send := overHTTP(client, ids, echoAgents, json.RawMessage(echoContent))
	if _, err := each(ctx, len(ids), func(ctx context.Context, _ int, i int64) error { return send(ctx, int(i), 0) }); err != nil {
		return out, err // that woke them
	}
	return closedLoop(ctx, echoAgents, o.duration, send)
}
