package main

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/internal/telemetry"
	"github.com/caxton-run/caxton/internal/version"
)

// operations is what operators see of a node and do to it: the parts that know,
// asked together. It implements caxtonhttp.Operations for a single node.
type operations struct{ *node }

func (o operations) id() events.MemberID { return events.MemberID(o.cfg.Node.ID) }

// Queue implements caxtonhttp.Operations. A node without a cluster queues no writes.
func (o operations) Queue() []caxtonhttp.NodeQueue {
	q := o.system.Queue()
	return []caxtonhttp.NodeQueue{{
		Node: o.id(), MailboxDepth: q.Mailboxes, OldestMS: q.Oldest.Milliseconds(), InFlight: q.InFlight,
		DeadLetters: o.letters.Len(), InboxDepth: q.Inboxes, Held: q.Held, Waiting: q.Waiting(), DrainingUntil: q.Draining.UTC(),
	}}
}

// DrainQueue implements caxtonhttp.Operations.
func (o operations) DrainQueue(ctx context.Context, timeout time.Duration, discard bool) (caxtonhttp.DrainResult, error) {
	d, err := o.system.Gateway().Drain(ctx, timeout, discard)
	return caxtonhttp.DrainResult{
		Empty: d.Empty(), Left: o.Queue(), Discarded: d.Discarded, ElapsedMS: d.Elapsed.Milliseconds(), Cancelled: d.Cancelled,
	}, err
}

// CancelDrain implements caxtonhttp.Operations.
func (o operations) CancelDrain(ctx context.Context) (bool, error) {
	return o.system.Gateway().CancelDrain(ctx)
}

// SlowAgents implements caxtonhttp.Operations.
func (o operations) SlowAgents(threshold time.Duration) []caxtonhttp.SlowAgent {
	var out []caxtonhttp.SlowAgent
	for _, s := range o.system.Slow(threshold) {
		v, ok := o.agents.Get(s.Agent)
		if !ok {
			continue // removed
		}
		row := caxtonhttp.SlowAgent{ID: s.Agent, Name: v.Name, Ref: s.Agent.String(), MeanUS: s.Mean.Microseconds(), P99US: s.P99.Microseconds()}
		if len(o.agents.Named(v.Name)) == 1 {
			row.Ref = v.Name
		}
		out = append(out, row)
	}
	return out
}

// Resources implements caxtonhttp.Operations.
func (o operations) Resources() []caxtonhttp.NodeResources {
	return []caxtonhttp.NodeResources{{
		Node: o.id(), CPUPercent: o.metrics.CPUPercent(), MemoryBytes: telemetry.ResidentBytes(), Agents: o.agents.Len(),
	}}
}

// Memory implements caxtonhttp.Operations.
func (o operations) Memory() []caxtonhttp.NodeMemory {
	// Where the system does not tell what is resident, it is an upper bound.
	guests, _ := o.host.MemoryUsage()
	return []caxtonhttp.NodeMemory{{
		Node: o.id(), UsedBytes: telemetry.ResidentBytes(), LimitBytes: o.memoryLimit(),
		Agents: o.agents.Len(), Awake: o.system.Awake(), GuestBytes: guests.Total(),
	}}
}

// memoryShare of what the process may have is its limit unless one is configured:
// the rest is for the system's cache of the log.
const memoryShare = 0.8

func (n *node) memoryLimit() uint64 {
	if limit := n.cfg.Runtime.MemoryLimit; limit > 0 {
		return uint64(limit)
	}
	return uint64(memoryShare * float64(telemetry.MachineMemory()))
}

// CollectMemory implements caxtonhttp.Operations.
func (o operations) CollectMemory(ctx context.Context, aggressive bool) ([]caxtonhttp.MemoryCollected, error) {
	out := caxtonhttp.MemoryCollected{Node: o.id()}
	before := telemetry.ResidentBytes()
	if aggressive {
		var err error
		if out.Hibernated, err = o.system.Rest(ctx); err != nil {
			return nil, err
		}
	}
	out.Modules = o.host.Trim(aggressive, false).Modules
	debug.FreeOSMemory() // collects, and gives back to the system what is free
	out.UsedBytes = telemetry.ResidentBytes()
	out.FreedBytes = int64(before) - int64(out.UsedBytes)
	return []caxtonhttp.MemoryCollected{out}, nil
}

// target is one line of the performance table.
type target struct {
	metric   string
	what     telemetry.Measured
	quantile float64
	at       time.Duration
}

// targets are what the documentation promises of a node.
func targets() []target {
	return []target{
		{"Message routing P50", telemetry.Routing, 0.5, 100 * time.Microsecond},
		{"Message routing P99", telemetry.Routing, 0.99, time.Millisecond},
		{"Agent startup P50", telemetry.Startup, 0.5, 10 * time.Millisecond},
		{"Message processing P50", telemetry.Processing, 0.5, time.Millisecond},
		{"Message processing P99", telemetry.Processing, 0.99, 10 * time.Millisecond},
	}
}

// gossipTarget is within how long a change reaches all members. A single node has
// nobody to tell.
const gossipTarget = 5 * time.Second

// Performance implements caxtonhttp.Operations.
func (o operations) Performance(window time.Duration) []caxtonhttp.Measure {
	var out []caxtonhttp.Measure
	for _, t := range targets() {
		v, count := o.metrics.Quantile(t.what, t.quantile, window)
		m := caxtonhttp.Measure{Metric: t.metric, TargetUS: t.at.Microseconds(), Count: count, Status: caxtonhttp.MeasureNone}
		if count > 0 {
			m.ActualUS, m.Status = v.Microseconds(), caxtonhttp.MeasureOK
			if v > t.at {
				m.Status = caxtonhttp.MeasureDegraded
			}
		}
		out = append(out, m)
	}
	return append(out, caxtonhttp.Measure{Metric: "Gossip convergence", TargetUS: gossipTarget.Microseconds(), Status: caxtonhttp.MeasureNone})
}

// Members implements caxtonhttp.Operations.
func (o operations) Members() []caxtonhttp.Member {
	use := o.Resources()[0]
	return []caxtonhttp.Member{{
		ID: o.id(), Status: "alive", Agents: use.Agents, Address: o.address, CPUPercent: use.CPUPercent,
		MemoryBytes: use.MemoryBytes, Version: version.Release, Role: "standalone",
	}}
}

// Status implements caxtonhttp.Operations.
func (o operations) Status() caxtonhttp.ClusterStatus {
	s := caxtonhttp.ClusterStatus{Status: caxtonhttp.StatusHealthy, Detail: "single node", Operations: "READ-WRITE", NodesActive: 1, NodesTotal: 1}
	if o.store.ReadOnly() {
		s.Status, s.Detail, s.Operations = caxtonhttp.StatusDegraded, "the log is read-only", "READ-ONLY"
	}
	if since := o.system.StoppedSince(); !since.IsZero() {
		s.Status, s.Detail = caxtonhttp.StatusStopped, "emergency stop since "+since.UTC().Format(time.RFC3339)
	}
	return s
}
