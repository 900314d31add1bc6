package telemetry

import (
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Sources are the values that metrics read when they are scraped. All must be
// set; they are called from the scraping goroutine.
type Sources struct {
	Agents        func() int              // deployed
	Awake         func() int              // not hibernating
	Standing      func(status string) int // agents at a status
	QueueDepth    func() int              // messages in mailboxes
	InFlight      func() int              // sends between agents not yet handled
	InboxDepth    func() int              // messages in inboxes
	Timers        func() int              // pending
	Conversations func() int              // in which an agent waits for another
	GuestMemory   func() int64            // bytes of linear memory of agents awake
	ProjectionLag func() float64          // positions between the log's head and the projections
	DiskBytes     func() uint64           // of the log on disk
	DiskFree      func() uint64           // bytes of its disk that may still be used
	DiskTotal     func() uint64           // bytes of its disk
	HistoryGone   func() uint64           // events that histories of living agents have lost (events.retention)
	DiskLevel     func() int              // 0 roomy, 1 filling, 2 low, 3 full
	Now           func() time.Time

	Breakers func(scope, state string) int // circuit breakers of a kind of scope that stand at a state
	Halted   func() bool                   // an emergency stop is in force
}

// Metrics is everything a node counts. It implements the observers of the
// packages that do the work; its methods may be called from any goroutine.
type Metrics struct {
	registry   *prometheus.Registry
	latency    *window
	routes     *window
	wakes      *window
	cpu        *cpu
	crashes    prometheus.Counter
	failed     prometheus.Counter
	routing    prometheus.Histogram
	processing prometheus.Histogram
	wake       prometheus.Histogram
	appends    prometheus.Histogram
	messages   *prometheus.CounterVec
	fuel       prometheus.Counter
	dead       *prometheus.CounterVec
	fenced     prometheus.Counter
	storms     prometheus.Counter
}

// New returns metrics in a registry of their own.
func New(src Sources) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), latency: newWindow(src.Now), routes: newWindow(src.Now), wakes: newWindow(src.Now), cpu: newCPU(src.Now)}
	m.counters()
	m.runbook(src)
	m.gauges(src)
	m.breakers(src)
	m.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Gatherer is what the metrics server exposes.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Registerer takes what other packages measure by themselves.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// quick are the bounds of what should take microseconds to milliseconds, s.
func quick() []float64 { return prometheus.ExponentialBuckets(10e-6, 2, 20) }

func (m *Metrics) counters() {
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: quick()})
		m.registry.MustRegister(h)
		return h
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.crashes = counter("caxton_agent_crashes_total", "Runs that failed in a way that may pass, and actors restarted.")
	m.failed = counter("caxton_agent_failures_total", "Agents that crashed so often that they run no more.")
	m.routing = histogram("caxton_message_routing_seconds", "From the gateway to the agent's mailbox.")
	m.processing = histogram("caxton_message_processing_seconds", "From the agent's mailbox until the message's events are durable.")
	m.wake = histogram("caxton_wake_seconds", "To bring an agent back from the log.")
	m.appends = histogram("caxton_append_seconds", "From an append's call until it is durable.")
	m.messages = vec("caxton_messages_total", "Messages run, by how the run ended.", "outcome")
	m.fuel = counter("caxton_fuel_used_total", "Metered Wasm instructions.")
	m.dead = vec("caxton_dead_letters_total", "Sends that nobody will handle, by reason.", "reason")
	m.storms = counter("caxton_storms_total", "Times that many agents failed for one message.")
	m.fenced = counter("caxton_fenced_appends_total", "Appends lost against another writer.")
}

// runbook registers the names that the operator's runbook greps for.
func (m *Metrics) runbook(src Sources) {
	m.gauge("caxton_cluster_nodes_alive", "Members that answer; this node counts.", func() float64 { return 1 })
	m.gauge("caxton_cluster_nodes_failed", "Members that do not answer.", func() float64 { return 0 })
	m.gauge("caxton_cluster_nodes_total", "Members known.", func() float64 { return 1 })
	m.gauge("caxton_cluster_agents_total", "Agents deployed.", func() float64 { return float64(src.Agents()) })
	m.gauge("caxton_cluster_gossip_latency_ms", "Mean round trip to other members, ms; 0 while there are none.", func() float64 { return 0 })
	m.gauge("caxton_cluster_convergence_time_ms", "Until all members knew of the last change of membership, ms; 0 while there are no others.", func() float64 { return 0 })
	m.gauge("caxton_agent_message_latency_p99", "99th percentile of message processing over 5 minutes, ms; 0 when there was none.", m.latency.p99)
	m.gauge("caxton_agent_memory_used_bytes", "Linear memory of agents awake.", func() float64 { return float64(src.GuestMemory()) })
	m.gauge("caxton_system_cpu_usage_percent", "Of all processors of this machine, since the last scrape.", m.cpu.percent)
	m.gauge("caxton_system_memory_available_bytes", "Memory this machine can give without swapping.", availableMemory)
}

func (m *Metrics) gauges(src Sources) {
	count := func(f func() int) func() float64 { return func() float64 { return float64(f()) } }
	m.gauge("caxton_agents_awake", "Agents that are not hibernating.", count(src.Awake))
	for _, status := range []string{"running", "suspended", "draining", "stopped", "failed"} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "caxton_agents", Help: "Agents deployed, by status.", ConstLabels: prometheus.Labels{"status": status},
		}, func() float64 { return float64(src.Standing(status)) }))
	}
	m.gauge("caxton_queue_depth", "Messages waiting in mailboxes.", count(src.QueueDepth))
	m.gauge("caxton_sends_in_flight", "Sends between agents that are not yet handled.", count(src.InFlight))
	m.gauge("caxton_timers_pending", "Timers of agents that have not fired.", count(src.Timers))
	m.gauge("caxton_conversations_open", "Conversations in which an agent waits for another.", count(src.Conversations))
	m.gauge("caxton_inbox_depth", "Messages accepted and waiting in inboxes.", count(src.InboxDepth))
	m.gauge("caxton_projection_lag_events", "Positions between the log's head and the projections.", src.ProjectionLag)
	m.gauge("caxton_log_disk_bytes", "The log on disk.", func() float64 { return float64(src.DiskBytes()) })
	m.gauge("caxton_history_removed_events", "Events that events.retention has removed of living agents.", func() float64 { return float64(src.HistoryGone()) })
	m.gauge("caxton_disk_free_bytes", "What may still be used of the log's disk; 0 where the system does not tell.", func() float64 { return float64(src.DiskFree()) })
	m.gauge("caxton_disk_total_bytes", "The log's disk.", func() float64 { return float64(src.DiskTotal()) })
	m.gauge("caxton_disk_level", "0 roomy, 1 filling, 2 low (messages are refused), 3 full (read-only).", count(src.DiskLevel))
}

// breakers registers the metrics of what holds agents off. Closed breakers are not
// counted: there is one for each agent.
func (m *Metrics) breakers(src Sources) {
	for _, scope := range events.BreakerKinds() {
		for _, state := range []string{"open", "half-open", "recovering"} {
			m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "caxton_breaker_state", Help: "Circuit breakers that are not closed.",
				ConstLabels: prometheus.Labels{"scope": string(scope), "state": state},
			}, func() float64 { return float64(src.Breakers(string(scope), state)) }))
		}
	}
	m.gauge("caxton_emergency_stop", "1 while an emergency stop is in force.", func() float64 {
		if src.Halted() {
			return 1
		}
		return 0
	})
}

func (m *Metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Routed implements actors.Observer.
func (m *Metrics) Routed(d time.Duration) {
	m.routing.Observe(d.Seconds())
	m.routes.record(d)
}

// Processed implements actors.Observer.
func (m *Metrics) Processed(status events.OutcomeStatus, fuel events.Fuel, wall time.Duration) {
	m.messages.WithLabelValues(string(status)).Inc()
	m.fuel.Add(float64(fuel))
	m.processing.Observe(wall.Seconds())
	m.latency.record(wall)
}

// Woke implements actors.Observer.
func (m *Metrics) Woke(d time.Duration) {
	m.wake.Observe(d.Seconds())
	m.wakes.record(d)
}

// Crashed implements actors.Observer.
func (m *Metrics) Crashed() { m.crashes.Inc() }

// Failed implements actors.Observer.
func (m *Metrics) Failed() { m.failed.Inc() }

// DeadLettered implements actors.Observer.
func (m *Metrics) DeadLettered(reason events.DeadLetterReason) {
	m.dead.WithLabelValues(string(reason)).Inc()
}

// Stormed implements actors.Observer.
func (m *Metrics) Stormed() { m.storms.Inc() }

// Fenced implements actors.Observer.
func (m *Metrics) Fenced() { m.fenced.Inc() }

// Appended is told how long an append took.
func (m *Metrics) Appended(d time.Duration) { m.appends.Observe(d.Seconds()) }
