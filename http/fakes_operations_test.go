package http

import (
	"context"
	"sync"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// fakeOperations answers with fixed rows and remembers what it was asked.
type fakeOperations struct {
	mu     sync.Mutex
	fail   error // what every call that can fail returns
	asked  string
	window time.Duration
	flag   bool
	stop   actors.StopAllRequest
	order  actors.BreakerRequest

	breakers []actors.BreakerView
}

func (f *fakeOperations) note(what string, d time.Duration, flag bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.window, f.flag = what, d, flag
	return f.fail
}

func (f *fakeOperations) Queue() []NodeQueue {
	return []NodeQueue{{Node: "node-1", MailboxDepth: 3, OldestMS: 12, InFlight: 2, DeadLetters: 1, InboxDepth: 4, Held: 1, Waiting: 7, DrainingUntil: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}}
}

func (f *fakeOperations) DrainQueue(_ context.Context, timeout time.Duration, discard bool) (DrainResult, error) {
	return DrainResult{Empty: true, Left: f.Queue(), Discarded: 2, ElapsedMS: 5}, f.note("drain", timeout, discard)
}

func (f *fakeOperations) CancelDrain(context.Context) (bool, error) {
	return true, f.note("cancel drain", 0, false)
}

func (f *fakeOperations) SlowAgents(threshold time.Duration) []SlowAgent {
	_ = f.note("slow", threshold, false)
	return []SlowAgent{{ID: events.AgentID{1}, Name: "processor-5", Ref: "processor-5", MeanUS: 250_000, P99US: 1_200_000}}
}

func (f *fakeOperations) Resources() []NodeResources {
	return []NodeResources{{Node: "node-1", CPUPercent: 89, MemoryBytes: 7_200_000_000, Agents: 3421}}
}

func (f *fakeOperations) Memory() []NodeMemory {
	return []NodeMemory{{Node: "node-1", UsedBytes: 15_200_000_000, LimitBytes: 16_000_000_000, Agents: 4521}}
}

func (f *fakeOperations) CollectMemory(_ context.Context, aggressive bool) ([]MemoryCollected, error) {
	return []MemoryCollected{{Node: "node-1", FreedBytes: 7, Hibernated: 3}}, f.note("collect", 0, aggressive)
}

func (f *fakeOperations) Performance(window time.Duration) []Measure {
	_ = f.note("performance", window, false)
	return []Measure{{Metric: "Message routing P99", TargetUS: 1000, ActualUS: 12_300, Count: 9, Status: MeasureDegraded}}
}

func (f *fakeOperations) Members() []Member {
	return []Member{{ID: "node-1", Status: "alive", Agents: 2}}
}

func (f *fakeOperations) Status() ClusterStatus {
	return ClusterStatus{Status: StatusHealthy, Detail: "single node", Operations: "READ-WRITE", NodesActive: 1, NodesTotal: 1}
}

func (f *fakeOperations) StopAll(_ context.Context, r actors.StopAllRequest) (EmergencyStop, error) {
	f.mu.Lock()
	f.stop = r
	f.mu.Unlock()
	return EmergencyStop{Node: "node-1", Agents: 2, Guests: 1, Spilled: 3, Shutdown: r.Cluster}, f.note("stop", 0, r.Cluster)
}

func (f *fakeOperations) LiftStop(context.Context, actors.Caller) (bool, error) {
	return true, f.note("lift", 0, false)
}

func (f *fakeOperations) Breakers() []actors.BreakerView {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.breakers
}

func (f *fakeOperations) OrderBreaker(_ context.Context, r actors.BreakerRequest) ([]actors.BreakerView, error) {
	f.mu.Lock()
	f.order = r
	f.mu.Unlock()
	return f.Breakers(), f.note("breaker", r.Over, r.Activate)
}
