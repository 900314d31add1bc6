package telemetry

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caxton-run/caxton/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func sources(c *clock) Sources {
	n := func(v int) func() int { return func() int { return v } }
	return Sources{
		Agents: n(1), Awake: n(2), QueueDepth: n(3), InFlight: n(4), InboxDepth: n(5), Timers: n(11), Conversations: n(12),
		Standing:    func(status string) int { return len(status) },
		GuestMemory: func() int64 { return 6 }, ProjectionLag: func() float64 { return 7 },
		DiskBytes: func() uint64 { return 8 }, HistoryGone: func() uint64 { return 77 },
		DiskFree: func() uint64 { return 9 }, DiskTotal: func() uint64 { return 10 },
		DiskLevel: func() int { return 2 }, Now: c.now,
		Breakers: func(scope, state string) int { return len(scope) }, Halted: func() bool { return true },
	}
}

// gathered returns the value of every metric without labels, by name.
func gathered(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, x := range f.GetMetric() {
			if len(x.GetLabel()) > 0 {
				continue
			}
			switch {
			case x.Gauge != nil:
				out[f.GetName()] = x.GetGauge().GetValue()
			case x.Counter != nil:
				out[f.GetName()] = x.GetCounter().GetValue()
			case x.Histogram != nil:
				out[f.GetName()] = float64(x.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	m := New(sources(c))
	m.Crashed()
	m.Failed()
	m.Fenced()
	m.Stormed()
	m.Routed(time.Millisecond)
	m.Woke(time.Millisecond)
	m.Appended(time.Millisecond)
	m.Processed(events.OutcomeOK, 100, 4*time.Millisecond)
	m.Processed(events.OutcomeTrap, 11, 4*time.Millisecond)
	m.DeadLettered(events.DeadHopLimit)
	got := gathered(t, m)
	for name, want := range map[string]float64{
		"caxton_cluster_nodes_alive": 1, "caxton_cluster_nodes_failed": 0, "caxton_cluster_gossip_latency_ms": 0, "caxton_cluster_convergence_time_ms": 0,
		"caxton_cluster_agents_total": 1, "caxton_agent_crashes_total": 1, "caxton_agent_failures_total": 1, "caxton_agent_memory_used_bytes": 6,
		"caxton_agents_awake": 2, "caxton_queue_depth": 3, "caxton_sends_in_flight": 4, "caxton_inbox_depth": 5,
		"caxton_timers_pending": 11, "caxton_conversations_open": 12,
		"caxton_projection_lag_events": 7, "caxton_log_disk_bytes": 8, "caxton_fuel_used_total": 111,
		"caxton_fenced_appends_total": 1, "caxton_storms_total": 1, "caxton_message_routing_seconds": 1, "caxton_message_processing_seconds": 2,
		"caxton_wake_seconds": 1, "caxton_append_seconds": 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want)
		}
	}
	if got["caxton_emergency_stop"] != 1 {
		t.Error("no emergency stop")
	}
	if p99 := got["caxton_agent_message_latency_p99"]; p99 < 3.9 || p99 > 4.1 {
		t.Errorf("p99 is %v ms, want 4", p99)
	}
	if cpu := got["caxton_system_cpu_usage_percent"]; cpu < 0 || cpu > 100 {
		t.Errorf("the processors are used to %v %%", cpu)
	}
	if _, ok := got["caxton_system_memory_available_bytes"]; !ok {
		t.Error("no available memory")
	}
}

// TestWindowForgets: percentiles are of the last five minutes.
func TestWindowForgets(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	w := newWindow(c.now)
	if got := w.p99(); got != 0 {
		t.Errorf("p99 of nothing is %v", got)
	}
	w.record(100 * time.Millisecond)
	c.at = c.at.Add((windowSlots - 1) * slotDuration)
	w.record(time.Millisecond)
	if got := w.p99(); got < 99 || got > 101 {
		t.Errorf("p99 is %v ms, want 100", got)
	}
	c.at = c.at.Add(slotDuration)
	if got := w.p99(); got < 0.9 || got > 1.1 {
		t.Errorf("p99 is %v ms, want 1: the slow one is too old", got)
	}
	c.at = c.at.Add(24 * time.Hour)
	if got := w.p99(); got != 0 {
		t.Errorf("p99 is %v ms after a quiet day", got)
	}
	w.record(-time.Second)
	w.record(24 * time.Hour)
	if got := w.p99(); got < 590_000 || got > 610_000 {
		t.Errorf("p99 is %v ms, want the longest told apart", got)
	}
}

func TestProcessorsBetweenTwoLooks(t *testing.T) {
	clk := &clock{time.Unix(0, 0)}
	c := newCPU(clk.now)
	first := c.percent()
	c.last = 12 // what it would say again within minInterval
	if got := c.percent(); got != 12 {
		t.Errorf("%v within %s of the last look, want what it was", got, minInterval)
	}
	clk.at = clk.at.Add(minInterval)
	if got := c.percent(); got < 0 || got > 100 || first < 0 || first > 100 {
		t.Errorf("%v and %v percent", first, got)
	}
}

func TestLogger(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := NewLogger(&out, LogConfig{Level: "warn", Format: format, NoColor: true})
		if err != nil {
			t.Fatal(err)
		}
		log.Info("not this")
		log.Warn("this", "agent", "a1")
		if text := out.String(); strings.Contains(text, "not this") || !strings.Contains(text, "this") || !strings.Contains(text, "a1") {
			t.Errorf("%s: %s", format, text)
		}
	}
	var invalid *events.InvalidError
	for field, c := range map[string]LogConfig{
		"observability.log.level":  {Level: "loud", Format: "text"},
		"observability.log.format": {Level: "info", Format: "xml"},
	} {
		if _, err := NewLogger(os.Stderr, c); !errors.As(err, &invalid) || invalid.Fields[0].Field != field {
			t.Errorf("%v, want a fault of %s", err, field)
		}
	}
}

func TestSyncFloor(t *testing.T) {
	dir := t.TempDir()
	got, err := SyncFloor(dir, 10*time.Millisecond)
	if err != nil || got <= 0 {
		t.Errorf("%v, %v", got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := SyncFloor(dir+"/nowhere", time.Millisecond); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want os.ErrNotExist", err)
	}
}

func TestResidentBytes(t *testing.T) {
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("this system does not tell")
	}
	if got := ResidentBytes(); got < 1<<20 || got > 1<<40 {
		t.Errorf("%d bytes", got)
	}
}
