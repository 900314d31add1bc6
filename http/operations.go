package http

import (
	"context"
	"net/http"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Operations is what operators look at and do while a node runs. Every method may be
// called from any goroutine; those that take a context may wait.
type Operations interface {
	Queue() []NodeQueue
	DrainQueue(ctx context.Context, timeout time.Duration, discard bool) (DrainResult, error)
	CancelDrain(ctx context.Context) (bool, error) // false: none was under way
	SlowAgents(threshold time.Duration) []SlowAgent
	Resources() []NodeResources
	Memory() []NodeMemory
	CollectMemory(ctx context.Context, aggressive bool) ([]MemoryCollected, error)
	Performance(window time.Duration) []Measure
	Members() []Member
	Status() ClusterStatus
}

// NodeQueue is what waits on one node.
type NodeQueue struct {
	Node         events.MemberID `json:"node"`
	MailboxDepth int             `json:"mailbox_depth"` // messages in mailboxes, running ones included
	OldestMS     int64           `json:"oldest_ms"`     // that the oldest of them has been there
	QueuedWrites int             `json:"queued_writes"` // kept on this node until there is a quorum
	InFlight     int             `json:"in_flight"`     // sends between agents, not yet handled
	DeadLetters  int             `json:"dead_letters"`  // messages that nobody will handle, quarantined ones included
	InboxDepth   int             `json:"inbox_depth"`   // messages from outside, accepted and not yet handled
	Held         int             `json:"held"`          // of in_flight and inbox_depth: for agents that do not run
	Waiting      int             `json:"waiting"`       // of all these, what an agent could work on now, each message once

	DrainingUntil time.Time `json:"draining_until,omitzero"` // when the drain under way ends at the latest; zero: there is none
}

// DrainResult is what became of a queue that was to be drained.
type DrainResult struct {
	Empty     bool        `json:"empty"`      // nothing is left that an agent could work on
	Left      []NodeQueue `json:"left"`       // what waits now
	Discarded int         `json:"discarded"`  // messages that became dead letters
	ElapsedMS int64       `json:"elapsed_ms"` // until it was empty, or given up
	Cancelled bool        `json:"cancelled"`  // before its time, by DELETE /queue/drain
}

// SlowAgent is an agent's latency over the last 5 to 10 minutes: from its mailbox
// until its messages were durable.
type SlowAgent struct {
	ID     events.AgentID `json:"agent_id"`
	Name   string         `json:"name"`
	Ref    string         `json:"ref"` // the name, when no other agent has it, else the id
	MeanUS int64          `json:"mean_us"`
	P99US  int64          `json:"p99_us"` // right to 13 %
}

// NodeResources is what a node uses of its machine.
type NodeResources struct {
	Node        events.MemberID `json:"node"`
	CPUPercent  float64         `json:"cpu_percent"`  // of all processors, 0 to 100, since somebody last asked
	MemoryBytes uint64          `json:"memory_bytes"` // of the process, resident
	Agents      int             `json:"agents"`
}

// NodeMemory is a node's memory.
type NodeMemory struct {
	Node       events.MemberID `json:"node"`
	UsedBytes  uint64          `json:"used_bytes"`  // of the process, resident
	LimitBytes uint64          `json:"limit_bytes"` // runtime.memory_limit
	Agents     int             `json:"agents"`
	Awake      int             `json:"awake"`       // agents that do not hibernate
	GuestBytes int64           `json:"guest_bytes"` // memory that their guests take, with the engine's share
}

// MemoryCollected is what a node gave back.
type MemoryCollected struct {
	Node       events.MemberID `json:"node"`
	FreedBytes int64           `json:"freed_bytes"` // of the process; below 0 when it grew meanwhile
	UsedBytes  uint64          `json:"used_bytes"`  // afterwards
	Hibernated int             `json:"hibernated"`  // idle agents that were put to sleep
	Modules    int             `json:"modules"`     // compiled modules that no agent used
}

// Measure is one line of a node's performance.
type Measure struct {
	Metric   string        `json:"metric"`
	TargetUS int64         `json:"target_us"`
	ActualUS int64         `json:"actual_us"` // 0 when nothing was measured
	Count    int64         `json:"count"`     // of values
	Status   MeasureStatus `json:"status"`
}

// MeasureStatus says whether a target was met.
type MeasureStatus string

// How a measure stands to its target.
const (
	MeasureOK       MeasureStatus = "ok"
	MeasureDegraded MeasureStatus = "degraded"
	MeasureNone     MeasureStatus = "none" // nothing was measured
)

// Member is one node of the cluster.
type Member struct {
	ID          events.MemberID `json:"node_id"`
	Status      string          `json:"status"`       // alive, suspect, failed, left
	LastSeenMS  int64           `json:"last_seen_ms"` // ago
	Agents      int             `json:"agents"`
	Address     string          `json:"address"`
	CPUPercent  float64         `json:"cpu_percent"`
	MemoryBytes uint64          `json:"memory_bytes"`
	Version     string          `json:"version"`
	Role        string          `json:"role"` // standalone
}

// How a cluster stands.
const (
	StatusHealthy  = "HEALTHY"
	StatusDegraded = "DEGRADED" // it answers reads only
	StatusStopped  = "STOPPED"  // by an emergency stop
)

// ClusterStatus is how the cluster stands, as this node sees it.
type ClusterStatus struct {
	Status       string `json:"status"`
	Detail       string `json:"detail"`     // in a few words
	Operations   string `json:"operations"` // READ-WRITE, READ-ONLY
	NodesActive  int    `json:"nodes_active"`
	NodesTotal   int    `json:"nodes_total"`
	QueuedWrites int    `json:"queued_writes"`
}

// Bounds of the operators' calls.
const (
	MaxDrain      = 10 * time.Minute // of POST /queue/drain
	maxCollect    = time.Minute      // that POST /memory/gc may take: a snapshot for each agent that is put to sleep
	SlowThreshold = 100 * time.Millisecond
	MaxWindow     = 5 * time.Minute // of GET /cluster/performance
)

// operationRoutes are the routes of Operations.
func operationRoutes() []route {
	return []route{
		{method: http.MethodGet, path: base + "/queue", handle: (*Server).queue},
		{method: http.MethodPost, path: base + "/queue/drain", change: true, keyed: true, body: mayJSON, long: MaxDrain, handle: (*Server).drainQueue},
		{method: http.MethodDelete, path: base + "/queue/drain", change: true, keyed: true, handle: (*Server).cancelDrain},
		{method: http.MethodGet, path: base + "/slow-agents", query: []string{"threshold"}, handle: (*Server).slowAgents},
		{method: http.MethodGet, path: base + "/resources", handle: (*Server).resources},
		{method: http.MethodGet, path: base + "/memory", handle: (*Server).memory},
		{method: http.MethodPost, path: base + "/memory/gc", change: true, keyed: true, body: mayJSON, long: maxCollect, handle: (*Server).collectMemory},
		{method: http.MethodGet, path: base + "/cluster/performance", query: []string{"window"}, handle: (*Server).performance},
		{method: http.MethodGet, path: base + "/cluster/members", handle: (*Server).members},
		{method: http.MethodGet, path: base + "/cluster/status", handle: (*Server).clusterStatus},
	}
}

func (s *Server) queue(r *request) error { return r.json(http.StatusOK, s.deps.Operations.Queue()) }

func (s *Server) resources(r *request) error {
	return r.json(http.StatusOK, s.deps.Operations.Resources())
}

func (s *Server) memory(r *request) error { return r.json(http.StatusOK, s.deps.Operations.Memory()) }

func (s *Server) members(r *request) error {
	return r.json(http.StatusOK, s.deps.Operations.Members())
}

func (s *Server) clusterStatus(r *request) error {
	return r.json(http.StatusOK, s.deps.Operations.Status())
}

// drainQueue answers 200 whether or not the queue ran empty: the body says it.
func (s *Server) drainQueue(r *request) error {
	var f events.Faults
	o := readObject(r.body, &f)
	timeout := o.duration("timeout", time.Minute, MaxDrain)
	discard := o.flag("discard")
	o.finish()
	if err := f.Err(); err != nil {
		return err
	}
	out, err := s.deps.Operations.DrainQueue(r.ctx, timeout, discard)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

// cancelledDrain is the answer to DELETE /queue/drain.
type cancelledDrain struct {
	Cancelled bool `json:"cancelled"` // false: no drain was under way
}

// cancelDrain answers when messages are admitted again.
func (s *Server) cancelDrain(r *request) error {
	was, err := s.deps.Operations.CancelDrain(r.ctx)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, cancelledDrain{was})
}

func (s *Server) slowAgents(r *request) error {
	threshold, err := r.duration("threshold", SlowThreshold, time.Hour)
	if err != nil {
		return err
	}
	list := s.deps.Operations.SlowAgents(threshold)
	if list == nil {
		list = []SlowAgent{}
	}
	return r.json(http.StatusOK, list)
}

func (s *Server) collectMemory(r *request) error {
	var f events.Faults
	o := readObject(r.body, &f)
	aggressive := o.flag("aggressive")
	o.finish()
	if err := f.Err(); err != nil {
		return err
	}
	out, err := s.deps.Operations.CollectMemory(r.ctx, aggressive)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) performance(r *request) error {
	window, err := r.duration("window", MaxWindow, MaxWindow)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, s.deps.Operations.Performance(window))
}

// duration reads a duration of the query, up to most; absent is def.
func (r *request) duration(name string, def, most time.Duration) (time.Duration, error) {
	if !r.query.Has(name) {
		return def, nil
	}
	d, err := time.ParseDuration(r.query.Get(name))
	if err != nil || d < 0 || d > most {
		return 0, events.Invalidf(name, "must be a duration such as 500ms or 5s, at most %s", most)
	}
	return d, nil
}

// duration reads a duration, up to most; absent is def.
func (o *object) duration(name string, def, most time.Duration) time.Duration {
	text := o.text(name)
	if text == "" {
		return def
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > most {
		o.faults.Add(o.prefix+name, "must be a duration such as 500ms or 5s, at most %s", most)
		return def
	}
	return d
}
