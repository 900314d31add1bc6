package config

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Config is everything that can be configured. The tags are the keys.
type Config struct {
	Server        Server        `key:"server"`
	Node          Node          `key:"node"`
	Security      Security      `key:"security"`
	Events        Events        `key:"events"`
	Runtime       Runtime       `key:"runtime"`
	Messaging     Messaging     `key:"messaging"`
	Breaker       Breaker       `key:"breaker"`
	Observability Observability `key:"observability"`
}

// Server is where the node listens. A port of 0 lets the system choose.
type Server struct {
	Host         string   `key:"host"` // an IP address or a name of this machine
	Port         int      `key:"port"`
	MetricsHost  string   `key:"metrics_host"`
	MetricsPort  int      `key:"metrics_port"`
	AllowedHosts []string `key:"allowed_hosts"` // names accepted in a Host header; "*" accepts any
}

// APIAddr is the address of the REST API.
func (s Server) APIAddr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// MetricsAddr is the address of the metrics.
func (s Server) MetricsAddr() string {
	return net.JoinHostPort(s.MetricsHost, strconv.Itoa(s.MetricsPort))
}

// Node is this member and its data.
type Node struct {
	ID      string `key:"id"`
	DataDir string `key:"data_dir"`
}

// Security is who may do what. There is no authentication yet: what cannot be
// reached needs none.
type Security struct {
	API struct {
		AllowUnauthenticated bool `key:"allow_unauthenticated"` // listen beyond the loopback interface
	} `key:"api"`
	DumpDirs []string `key:"dump_dirs"` // absolute; where the server may write dumps for a caller
}

// Events is the log.
type Events struct {
	CacheBytes    Bytes         `key:"cache_bytes"`    // of the log's blocks in memory
	ScavengeEvery time.Duration `key:"scavenge_every"` // 0 never scavenges
	Retention     time.Duration `key:"retention"`      // agents' events older than this go once nothing needs them; 0 keeps all
	Audit         struct {
		Retention time.Duration `key:"retention"` // nothing younger is scavenged
	} `key:"audit"`
	Disk Disk `key:"disk"`
}

// Disk is what is done as the disk of the log fills. The percentages are of it in
// use.
type Disk struct {
	WarnPercent     int   `key:"warn_percent"`      // the operator is told
	RefusePercent   int   `key:"refuse_percent"`    // messages and deployments are refused
	ReadOnlyPercent int   `key:"read_only_percent"` // nothing is written but scavenges
	Ballast         Bytes `key:"ballast"`           // kept for a full disk; 0 keeps none
}

// Limits are an agent's resources.
type Limits struct {
	MaxMemoryBytes     Bytes  `key:"max_memory_bytes"`
	MaxFuel            uint64 `key:"max_fuel"`
	MaxExecutionTimeMS uint64 `key:"max_execution_time_ms"`
}

// Resources are the limits as the rest of the house has them.
func (l Limits) Resources() events.ResourceLimits {
	return events.ResourceLimits{MaxMemoryBytes: uint64(l.MaxMemoryBytes), MaxFuel: events.Fuel(l.MaxFuel), MaxExecutionTimeMS: l.MaxExecutionTimeMS}
}

func limits(r events.ResourceLimits) Limits {
	return Limits{MaxMemoryBytes: Bytes(r.MaxMemoryBytes), MaxFuel: uint64(r.MaxFuel), MaxExecutionTimeMS: r.MaxExecutionTimeMS}
}

// Runtime is the agents.
type Runtime struct {
	MaxAgents      int           `key:"max_agents"`
	MemoryLimit    Bytes         `key:"memory_limit"` // of the process; 0 is 80 % of what it may have
	MaxModuleBytes Bytes         `key:"max_module_bytes"`
	IdleTimeout    time.Duration `key:"idle_timeout"`   // without messages, until an agent hibernates
	DrainTimeout   time.Duration `key:"drain_timeout"`  // of a shutdown
	SnapshotEvery  int           `key:"snapshot_every"` // events of an agent
	Compile        struct {
		Memory  Bytes         `key:"memory"`  // of the process that compiles a module
		Timeout time.Duration `key:"timeout"` // of a compilation
		Cache   Bytes         `key:"cache"`   // compiled code kept in node.data_dir
	} `key:"compile"`
	Limits struct {
		Defaults Limits `key:"defaults"` // where a deployment names none
		Ceilings Limits `key:"ceilings"` // the most it may ask for
	} `key:"limits"`
}

// Messaging is the way of a message.
type Messaging struct {
	MailboxSize int           `key:"mailbox_size"` // messages waiting for one agent
	InboxSize   int           `key:"inbox_size"`   // messages waiting in one agent's inbox
	SpillAfter  time.Duration `key:"spill_after"`  // waiting, until a message is queued durably

	MaxMessageBytes     Bytes         `key:"max_message_bytes"`    // of one message's content
	SendTimeout         time.Duration `key:"send_timeout"`         // for an agent's send to be delivered
	ConversationTimeout time.Duration `key:"conversation_timeout"` // without a word, until an open conversation has timed out
}

// Breaker is when circuit breakers move by themselves.
type Breaker struct {
	ConsecutiveFailures int           `key:"consecutive_failures"` // that open one
	FailurePercent      int           `key:"failure_percent"`      // of the last 100 outcomes; more open one
	OpenTime            time.Duration `key:"open_time"`            // until one lets a trial through
}

// Observability is what the node tells about itself.
type Observability struct {
	Log struct {
		Level  string `key:"level"`
		Format string `key:"format"`
	} `key:"log"`
}

// Default returns the configuration of a server that is told nothing.
func Default() Config {
	var c Config
	c.Server = Server{Host: "127.0.0.1", Port: 8080, MetricsHost: "127.0.0.1", MetricsPort: 9090, AllowedHosts: []string{"localhost", "127.0.0.1", "::1"}}
	c.Node = Node{ID: hostname(), DataDir: "./caxton-data"}
	c.Security.DumpDirs = []string{"/backup"}
	c.Events = Events{CacheBytes: 64 << 20, ScavengeEvery: 24 * time.Hour}
	c.Events.Disk = Disk{WarnPercent: 85, RefusePercent: 90, ReadOnlyPercent: 95, Ballast: 256 << 20}
	c.Runtime = Runtime{
		MaxAgents: 1_000_000, MaxModuleBytes: 8 << 20, IdleTimeout: time.Minute,
		DrainTimeout: 30 * time.Second, SnapshotEvery: 1000,
	}
	c.Runtime.Compile.Memory, c.Runtime.Compile.Timeout, c.Runtime.Compile.Cache = 1<<30, 30*time.Second, 1<<30
	c.Runtime.Limits.Defaults = limits(events.DefaultLimits())
	c.Runtime.Limits.Ceilings = limits(events.LimitCeilings())
	c.Messaging = Messaging{MailboxSize: 1000, InboxSize: 100_000, SpillAfter: 100 * time.Millisecond, MaxMessageBytes: events.MaxMessageContent, SendTimeout: 7 * 24 * time.Hour, ConversationTimeout: 30 * time.Minute}
	c.Breaker = Breaker{ConsecutiveFailures: 10, FailurePercent: 50, OpenTime: time.Minute}
	c.Observability.Log.Level, c.Observability.Log.Format = "info", "text"
	return c
}

// hostname names a node whose machine has no name.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "caxton"
	}
	return name
}

// Validate reports every value out of bounds, as one *events.InvalidError.
func (c Config) Validate() error {
	var f events.Faults
	within := func(key string, v, low, high int64) {
		if v < low || v > high {
			f.Add(key, "must be %d to %d, got %d", low, high, v)
		}
	}
	during := func(key string, v, low, high time.Duration) {
		if v < low || v > high {
			f.Add(key, "must be %s to %s, got %s", low, high, v)
		}
	}
	if c.Server.Host == "" {
		f.Add("server.host", "must not be empty; 0.0.0.0 listens on every interface")
	} else if !loopback(c.Server.Host) && !c.Security.API.AllowUnauthenticated {
		f.Add("server.host", "%q can be reached from other machines, and there is no authentication: set security.api.allow_unauthenticated to true to allow that", c.Server.Host)
	}
	within("server.port", int64(c.Server.Port), 0, 65535)
	within("server.metrics_port", int64(c.Server.MetricsPort), 0, 65535)
	if c.Server.Port != 0 && c.Server.Port == c.Server.MetricsPort {
		f.Add("server.metrics_port", "must differ from server.port, both are %d", c.Server.Port)
	}
	if len(c.Node.ID) == 0 || len(c.Node.ID) > events.MaxFieldLength {
		f.Add("node.id", "must be 1 to %d bytes", events.MaxFieldLength)
	}
	for i, dir := range c.Security.DumpDirs {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
			f.Add("security.dump_dirs", "must be absolute paths below /, number %d is %q", i+1, dir)
		}
	}
	if c.Node.DataDir == "" {
		f.Add("node.data_dir", "must not be empty")
	}
	c.Events.check(&f, within, during)
	if c.Runtime.MemoryLimit != 0 {
		within("runtime.memory_limit", int64(c.Runtime.MemoryLimit), 64<<20, 1<<50)
	}
	within("runtime.max_agents", int64(c.Runtime.MaxAgents), 1, 100_000_000)
	within("runtime.max_module_bytes", int64(c.Runtime.MaxModuleBytes), 8, 64<<20)
	during("runtime.idle_timeout", c.Runtime.IdleTimeout, 10*time.Millisecond, 24*time.Hour)
	during("runtime.drain_timeout", c.Runtime.DrainTimeout, time.Second, time.Hour)
	within("runtime.snapshot_every", int64(c.Runtime.SnapshotEvery), 1, 1<<30)
	within("runtime.compile.memory", int64(c.Runtime.Compile.Memory), 64<<20, 64<<30)
	during("runtime.compile.timeout", c.Runtime.Compile.Timeout, time.Second, 10*time.Minute)
	within("runtime.compile.cache", int64(c.Runtime.Compile.Cache), 64<<20, 1<<40)
	ceilings := c.Runtime.Limits.Ceilings.Resources()
	f.Merge("", under("runtime.limits.ceilings", ceilings.Validate(events.LimitCeilings())))
	f.Merge("", under("runtime.limits.defaults", c.Runtime.Limits.Defaults.Resources().Validate(ceilings)))
	within("messaging.mailbox_size", int64(c.Messaging.MailboxSize), 1, 1<<20)
	within("messaging.inbox_size", int64(c.Messaging.InboxSize), 1, 1<<24)
	during("messaging.spill_after", c.Messaging.SpillAfter, time.Millisecond, time.Minute)
	within("messaging.max_message_bytes", int64(c.Messaging.MaxMessageBytes), 1, events.MaxContentCeiling)
	during("messaging.send_timeout", c.Messaging.SendTimeout, time.Second, 100*365*24*time.Hour)
	during("messaging.conversation_timeout", c.Messaging.ConversationTimeout, time.Second, 365*24*time.Hour)
	within("breaker.consecutive_failures", int64(c.Breaker.ConsecutiveFailures), 1, 1000)
	within("breaker.failure_percent", int64(c.Breaker.FailurePercent), 1, 100)
	during("breaker.open_time", c.Breaker.OpenTime, time.Second, 24*time.Hour)
	return f.Err()
}

// loopback reports whether a host can be reached from this machine only.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// under names the faults of limits by their keys here.
func under(prefix string, err error) error {
	var invalid *events.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	var f events.Faults
	for _, x := range invalid.Fields {
		f.Add(prefix+delim+strings.TrimPrefix(x.Field, "resource_limits."), "%s", x.Reason)
	}
	return f.Err()
}
