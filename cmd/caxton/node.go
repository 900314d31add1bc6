package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/internal/config"
	"github.com/caxton-run/caxton/internal/telemetry"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/wasmhost"
)

// node is one member: the parts, wired. Nothing runs until its stages do.
type node struct {
	cfg     config.Config
	dir     string // of the log, absolute
	log     *slog.Logger
	store   engine
	host    *wasmhost.Host
	runner  *projections.Runner
	index   *projections.Messages
	inboxes *projections.Inboxes
	agents  *projections.Agents
	system  *actors.System
	metrics *telemetry.Metrics
	letters *projections.Letters
	running *actors.RunLog
	api     *caxtonhttp.Server
	address string // of the REST API, once it listens

	shutdown func() // ends the node in order, soon after it returns
}

// openNode opens the log, as a group with bootstrap, and makes the parts that work on
// it. Close it.
func openNode(ctx context.Context, cfg config.Config, log *slog.Logger, bootstrap bool) (*node, error) {
	dir, err := filepath.Abs(cfg.Node.DataDir)
	if err != nil {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	n := &node{cfg: cfg, dir: dir, log: log, shutdown: func() {}}
	if err := n.open(ctx, bootstrap); err != nil {
		return nil, errors.Join(err, n.close(ctx))
	}
	return n, nil
}

func (n *node) open(ctx context.Context, bootstrap bool) error {
	agents := projections.NewAgents(events.MemberID(n.cfg.Node.ID))
	inFlight, inboxes, timers := projections.NewInFlight(), projections.NewInboxes(), projections.NewTimers()
	n.inboxes = inboxes
	inFlight.SendTimeout = n.cfg.Messaging.SendTimeout
	talks := projections.NewConversations(n.cfg.Messaging.ConversationTimeout)
	n.index = projections.NewMessages()
	storms, requests := projections.NewStorms(), projections.NewRequests()
	n.agents, n.letters = agents, projections.NewLetters()
	n.metrics = telemetry.New(n.sources(inFlight, inboxes, timers, talks))

	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return fmt.Errorf("node.data_dir: %w", err)
	}
	opts := pebblestore.DefaultOptions()
	opts.Logger, opts.Observe = n.log, n.metrics.Appended
	opts.CacheBytes = int64(n.cfg.Events.CacheBytes)
	disk := n.cfg.Events.Disk
	opts.Watermarks = pebblestore.Watermarks{Filling: disk.WarnPercent, Low: disk.RefusePercent, Full: disk.ReadOnlyPercent}
	opts.BallastBytes = int64(disk.Ballast)
	var err error
	if n.store, err = openEngine(ctx, n.dir, bootstrap, opts); err != nil {
		return err // it names the directory
	}
	if n.running, err = actors.OpenRunLog(filepath.Join(n.dir, "running")); err != nil {
		return err
	}
	for _, s := range n.running.Found() {
		n.log.Warn("a guest was running when this node's process ended uncleanly", slog.String("agent", s.Agent.String()),
			slog.String("run", string(s.Kind)), slog.String("message", s.Message.String()), slog.Int("times", s.Strikes))
	}
	hostCfg := guestBounds(n.memoryLimit())
	hostCfg.MaxModuleBytes = int(n.cfg.Runtime.MaxModuleBytes)
	hostCfg.Isolation = n.isolation()
	if n.host, err = wasmhost.New(ctx, hostCfg); err != nil {
		return err
	}
	n.runner = projections.NewRunner(n.store, n.log, n.index, agents, inFlight, inboxes, timers, talks, n.letters, storms, requests) // the index first: who finds a send ended finds there how
	n.system, err = actors.New(n.actorsConfig(), actors.Deps{
		Store: n.store, Host: n.host, Agents: agents, InFlight: inFlight, Inboxes: inboxes,
		Timers: timers, Talks: talks, Letters: n.letters, Storms: storms, Requests: requests, Messages: n.index, Runner: n.runner, Running: n.running, Room: n.store, Observer: n.metrics, Log: n.log, Member: events.MemberID(n.cfg.Node.ID),
	})
	if err != nil {
		return err
	}
	return n.openAPI(inFlight)
}

// guestOvercommit is how many times the node's limit of memory the sizes of all
// guests' memories may come to: a small guest writes an eighth of what it has. The
// host counts large ones in full, and gives no more when the process has too much;
// watchMemory has idle agents rest before that.
const guestOvercommit = 8

// heapShare is the part of the node's memory that each of the two large things which
// guests have on the heap may take: initial images, and stacks of those that run deep.
// Together they are the quarter that guests' memories leave (wasmhost.Config.ProcessMemory).
const heapShare = 8

// guestBounds is what guests may have of a node's memory; 0 is not known.
func guestBounds(limit uint64) wasmhost.Config {
	cfg := wasmhost.DefaultConfig()
	if limit == 0 {
		return cfg
	}
	limit = min(limit, maxCountedMemory)
	cfg.GuestMemory, cfg.ProcessMemory = int64(limit*guestOvercommit), int64(limit)
	cfg.ImageMemory = min(cfg.ImageMemory, max(int64(limit/heapShare), 1<<20))
	cfg.GuestStacks = min(cfg.GuestStacks, max(int64(limit/heapShare), 16<<20)) // one deep guest at least
	return cfg
}

// maxCountedMemory keeps the product within what the host accepts.
const maxCountedMemory = 1 << 42

// isolation is how modules are compiled: by this program, in processes of its
// own.
func (n *node) isolation() *wasmhost.Isolation {
	c := n.cfg.Runtime.Compile
	return &wasmhost.Isolation{
		Command: wasmhost.ThisProgram(), Dir: filepath.Join(n.dir, "compiled"),
		Memory: int64(c.Memory), Timeout: c.Timeout, Cache: int64(c.Cache),
	}
}

// drainShare is the part of a shutdown's time that requests have to end; agents
// have the rest to work off what they accepted.
const drainShare = 2.0 / 3

func (n *node) actorsConfig() actors.Config {
	c := actors.DefaultConfig()
	c.InboxSize = n.cfg.Messaging.InboxSize
	c.MailboxSize, c.SpillAfter = n.cfg.Messaging.MailboxSize, n.cfg.Messaging.SpillAfter
	c.MaxContent = int(n.cfg.Messaging.MaxMessageBytes)
	c.IdleTimeout, c.MaxAgents = n.cfg.Runtime.IdleTimeout, n.cfg.Runtime.MaxAgents
	c.SnapshotEvery = n.cfg.Runtime.SnapshotEvery
	c.DumpDirs = n.cfg.Security.DumpDirs
	b := n.cfg.Breaker
	c.Breakers = actors.BreakerRules{Row: b.ConsecutiveFailures, Percent: b.FailurePercent, Open: b.OpenTime}
	c.Ceiling = n.cfg.Runtime.Limits.Ceilings.Resources()
	c.DrainTimeout = time.Duration(float64(n.cfg.Runtime.DrainTimeout) * (1 - drainShare))
	return c
}

func (n *node) openAPI(inFlight *projections.InFlight) error {
	observer, err := caxtonhttp.NewRequestMetrics(n.metrics.Registerer())
	if err != nil {
		return err
	}
	c := caxtonhttp.DefaultConfig()
	c.Hosts = n.cfg.Server.AllowedHosts
	c.Defaults, c.Ceilings = n.cfg.Runtime.Limits.Defaults.Resources(), n.cfg.Runtime.Limits.Ceilings.Resources()
	c.MaxContent = int(n.cfg.Messaging.MaxMessageBytes)
	c.MaxModuleBytes = int(n.cfg.Runtime.MaxModuleBytes)
	c.DrainTimeout = time.Duration(float64(n.cfg.Runtime.DrainTimeout) * drainShare)
	n.api, err = caxtonhttp.New(c, caxtonhttp.Deps{
		Commands: n.system.Gateway(), Agents: readModel{n.agents, n.runner}, History: n.store, Messages: n.index, Sends: inFlight, Inboxes: n.inboxes, Letters: n.letters, Operations: operations{n}, Emergency: operations{n}, Breakers: operations{n},
		Started: n.runner.Ready(), NotReady: n.notReady, Warnings: n.warnings, Observer: observer, Log: n.log,
	})
	return err
}

// readModel is the agents' projection and how far it has come.
type readModel struct {
	*projections.Agents
	*projections.Runner
}

// notReady lists what keeps this node from taking traffic.
func (n *node) notReady() []events.FieldError {
	var list []events.FieldError
	select {
	case <-n.runner.Ready():
	default:
		list = append(list, events.FieldError{Field: "projections", Reason: fmt.Sprintf("are being rebuilt from the log: %d events so far", n.runner.Applied())})
	}
	if n.store.ReadOnly() {
		list = append(list, events.FieldError{Field: "log", Reason: "is read-only since a write failed; see the server's log"})
	}
	if err := n.store.Admit(); err != nil {
		list = append(list, events.FieldError{Field: "disk", Reason: "messages and deployments are refused: " + err.Error()})
	}
	return list
}

// warnings lists what an operator should look after although the node serves.
func (n *node) warnings() []events.FieldError {
	var list []events.FieldError
	if until := n.system.DrainsUntil(); !until.IsZero() { // no reason to send nobody here: reads and commands are answered
		list = append(list, events.FieldError{Field: "queue", Reason: "messages are refused while it is drained, until " + until.UTC().Format(time.RFC3339) + " at the latest"})
	}
	d := n.store.Disk()
	if d.Level != pebblestore.DiskFilling {
		return list // roomy, or listed by notReady
	}
	return append(list, events.FieldError{Field: "disk", Reason: fmt.Sprintf("%.1f %% of it is used, %d bytes are free; messages are refused from %d %% on",
		d.Used, d.Free, n.cfg.Events.Disk.RefusePercent)})
}

func (n *node) sources(inFlight *projections.InFlight, inboxes *projections.Inboxes, timers *projections.Timers,
	talks *projections.Conversations) telemetry.Sources {
	return telemetry.Sources{
		Agents:     n.agents.Len,
		InFlight:   inFlight.Len,
		InboxDepth: inboxes.Len,
		Timers:     timers.Len, Conversations: talks.Len,
		Standing:   n.agents.LenAt,
		Awake:      func() int { return n.system.Awake() },
		QueueDepth: func() int { return n.system.QueueDepth() },
		GuestMemory: func() int64 {
			return n.host.MemoryBytes()
		},
		ProjectionLag: n.lag,
		DiskBytes:     func() uint64 { return n.store.Stats().DiskBytes },
		HistoryGone:   func() uint64 { return n.agents.RemovedEvents() },
		DiskFree:      func() uint64 { return n.store.Disk().Free },
		DiskTotal:     func() uint64 { return n.store.Disk().Total },
		DiskLevel:     func() int { return int(n.store.Disk().Level) },
		Now:           time.Now,
		Breakers:      func(kind, state string) int { return n.breakersIn(kind, state) },
		Halted:        func() bool { return !n.system.StoppedSince().IsZero() },
	}
}

// lag is how many positions the projections are behind the last event that is
// theirs; -1 when the log cannot be read.
func (n *node) lag() float64 {
	last, ok, err := projections.LastFollowed(context.Background(), n.store)
	switch {
	case err != nil:
		return -1
	case !ok:
		return 0
	}
	return max(0, float64(last)-float64(n.runner.Position()))
}

// close gives back what open took, in reverse. The stages have ended.
func (n *node) close(ctx context.Context) error {
	var errs []error
	if n.host != nil {
		errs = append(errs, n.host.Close(context.WithoutCancel(ctx)))
	}
	errs = append(errs, n.running.Close())
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}
