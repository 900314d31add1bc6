package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/internal/telemetry"
	"github.com/caxton-run/caxton/internal/version"
)

// benchOptions is what the flags of "benchmark run" say.
type benchOptions struct {
	dir         string
	agents      int
	connections int
	idle        int
	rates       []float64
	duration    time.Duration
}

// report is everything that "benchmark run" measured.
type report struct {
	Version      string        `json:"version"`
	Machine      string        `json:"machine"`
	Agents       int           `json:"agents"`
	Connections  int           `json:"connections"`
	FloorPerSec  float64       `json:"sync_floor_per_second"`
	InProcess    load          `json:"in_process"`
	HTTP         load          `json:"http"`
	Steady       []steady      `json:"http_at_rates"`
	RoutingP50   time.Duration `json:"routing_p50_ns"` // from the gateway to the mailbox, of the messages at rates
	RoutingP99   time.Duration `json:"routing_p99_ns"`
	Neighbour    neighbour     `json:"neighbour"`
	Echo         load          `json:"echo"` // of echoAgents, each with a caller of its own
	IdleAgents   int           `json:"idle_agents"`
	IdleResident uint64        `json:"idle_resident_bytes"`
	IdleRestart  time.Duration `json:"idle_restart_ns"`
	Wakes        load          `json:"wakes"` // messages to hibernating agents, one at a time
}

// steady is a load at a fixed rate.
type steady struct {
	Rate float64 `json:"rate_per_second"`
	load
}

func (a *app) benchmarkCommand() *cobra.Command {
	cmd := a.noun("benchmark", "Measure caxton on this machine", nil, "caxton benchmark run")
	var o benchOptions
	run := &cobra.Command{
		Use:   "run",
		Short: "Measure durable messages per second, latency, idle agents, waking and restart",
		Long: "Measure durable messages per second, latency (also beside an agent that never yields),\n" +
			"idle agents, waking and restart. A node runs\n" +
			"in this process on a directory of its own, which is removed afterwards; client and\n" +
			"server share the machine. Beside the figures stands what the disk does for one\n" +
			"writer that syncs each record (the sync floor).",
		Example: "  caxton benchmark run\n  caxton benchmark run --dir /var/lib/caxton --duration 30s -o json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			r, err := a.benchmark(cmd.Context(), o)
			if err != nil {
				return err
			}
			if done, err := a.structured(r); done {
				return err
			}
			a.printReport(r)
			return nil
		},
	}
	f := run.Flags()
	f.StringVar(&o.dir, "dir", "", "directory on the disk to measure (default the system's for temporary files)")
	f.IntVar(&o.agents, "agents", 1000, "agents that are sent messages")
	f.IntVar(&o.connections, "connections", 64, "senders at a time")
	f.IntVar(&o.idle, "idle", 10_000, "idle agents to deploy; 0 leaves that out")
	f.Float64SliceVar(&o.rates, "rate", []float64{1000, 2000}, "messages per second of each latency measurement")
	f.DurationVar(&o.duration, "duration", 10*time.Second, "of each measurement")
	cmd.AddCommand(run)
	return cmd
}

func (o benchOptions) check() error {
	switch {
	case o.agents < 1 || o.agents > 1_000_000:
		return usagef("--agents must be 1 to 1000000, not %d", o.agents)
	case o.connections < 1 || o.connections > 10_000:
		return usagef("--connections must be 1 to 10000, not %d", o.connections)
	case o.idle < 0 || o.idle > 1_000_000:
		return usagef("--idle must be 0 to 1000000, not %d", o.idle)
	case len(o.rates) == 0 || slices.Min(o.rates) <= 0 || slices.Max(o.rates) > 1e6:
		return usagef("--rate must be more than 0 and at most 1000000, not %v", o.rates)
	case o.duration < 100*time.Millisecond || o.duration > time.Hour:
		return usagef("--duration must be 100ms to 1h, not %s", o.duration)
	}
	return nil
}

// benchmark measures everything, on directories that it removes.
func (a *app) benchmark(ctx context.Context, o benchOptions) (r report, err error) {
	root, err := os.MkdirTemp(o.dir, "caxton-benchmark-*")
	if err != nil {
		return report{}, fmt.Errorf("--dir: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	r = report{
		Version: version.Release, Agents: o.agents, Connections: o.connections, IdleAgents: o.idle,
		Machine: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}
	a.note("measuring the disk in %s", root)
	if r.FloorPerSec, err = telemetry.SyncFloor(root, min(o.duration, 2*time.Second)); err != nil {
		return r, err
	}
	if err := a.measureMessages(ctx, o, filepath.Join(root, "messages"), &r); err != nil {
		return r, err
	}
	if r.Echo, err = a.measureEcho(ctx, o, filepath.Join(root, "echo")); err != nil || o.idle == 0 {
		return r, err
	}
	return r, a.measureIdle(ctx, o, filepath.Join(root, "idle"), &r)
}

func (a *app) measureMessages(ctx context.Context, o benchOptions, dir string, r *report) (err error) {
	n, err := startBenchNode(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.shut(ctx)) }()
	a.note("deploying %d agents", o.agents)
	ids, err := n.deployMany(ctx, benchGuest, o.agents)
	if err != nil {
		return err
	}
	client, err := caxtonhttp.NewClient(caxtonhttp.ClientOptions{URL: n.url, Timeout: time.Minute})
	if err != nil {
		return err
	}
	defer client.Close()
	local, remote := n.inProcess(ids, o.connections), overHTTP(client, ids, o.connections, json.RawMessage(benchContent))
	a.note("waking them")
	if _, err := each(ctx, len(ids), local); err != nil {
		return err
	}
	for _, rate := range o.rates { // before the loops without a rate: routing is of these
		a.note("%g messages a second, over HTTP", rate)
		l, err := openLoop(ctx, o.connections, rate, o.duration, remote)
		if err != nil {
			return err
		}
		r.Steady = append(r.Steady, steady{rate, l})
	}
	r.RoutingP50, _ = n.metrics.Quantile(telemetry.Routing, 0.5, telemetry.MaxWindow)
	r.RoutingP99, _ = n.metrics.Quantile(telemetry.Routing, 0.99, telemetry.MaxWindow)
	if r.Neighbour, err = a.measureNeighbour(ctx, o, n, remote); err != nil {
		return err
	}
	a.note("%d senders, in process", o.connections)
	if r.InProcess, err = closedLoop(ctx, o.connections, o.duration, local); err != nil {
		return err
	}
	a.note("%d connections, over HTTP", o.connections)
	r.HTTP, err = closedLoop(ctx, o.connections, o.duration, remote)
	return err
}

// maxWakes is how many of the idle agents are woken, spread over all.
const maxWakes = 1000

// measureIdle deploys many agents, ends the node and starts it again: what is
// measured is a node that has only the log to know them from.
func (a *app) measureIdle(ctx context.Context, o benchOptions, dir string, r *report) error {
	n, err := startBenchNode(ctx, dir)
	if err != nil {
		return err
	}
	a.note("deploying %d agents that stay idle", o.idle)
	ids, err := n.deployMany(ctx, benchGuest, o.idle)
	if err != nil {
		return errors.Join(err, n.shut(ctx))
	}
	if err := n.shut(ctx); err != nil {
		return err
	}
	debug.FreeOSMemory()
	start := time.Now()
	if n, err = startBenchNode(ctx, dir); err != nil {
		return err
	}
	r.IdleRestart = time.Since(start)
	runtime.GC()
	r.IdleResident = telemetry.ResidentBytes()
	spread := make([]events.AgentID, min(len(ids), maxWakes))
	for i := range spread {
		spread[i] = ids[i*len(ids)/len(spread)]
	}
	a.note("waking %d of them", len(spread))
	r.Wakes, err = each(ctx, len(spread), n.inProcess(spread, 1))
	return errors.Join(err, n.shut(ctx))
}
