package http

import (
	"time"

	"github.com/caxton-run/caxton/events"
)

// Limits of the interface that no configuration changes.
const (
	MaxWait         = 60 * time.Second // ?wait= of a message: longer ones hold a connection that proxies cut
	MaxPositionWait = 5 * time.Second  // Caxton-Min-Position, and a mutation's wait for the projection
	DefaultGrace    = 30 * time.Second // of a stop that names none: what orchestrators give a process
	stopPatience    = 2 * time.Second  // of a stop behind a busy guest, before it is answered with 202: well below what callers wait for
	bulkTime        = 90 * time.Second // beside RequestTimeout, of POST /agents/actions: 100,000 agents are a few thousand commits
	MaxPageAgents   = 1000             // ?limit= of GET /agents
	MaxPageEvents   = 1000             // ?limit= of GET /agents/{id}/events
	PageEvents      = 100              // events in a page when ?limit= is not given
	maxPageBytes    = 4 << 20          // event data in one page: its reader keeps it whole, and a thousand events of 1 MiB would be a GiB
	maxBodyBytes    = 1 << 20          // body of every route but deploy: a message's content is far below it
	deploySlack     = 64 << 10         // the fields beside a base64 module
	maxHeaderBytes  = 16 << 10         // request line and headers: keys, tokens and traces, with room
	lingerBytes     = 64 << 20         // unread upload that is thrown away so that its sender can read the answer
	lingerTime      = time.Second      // and for how long
	maxReason       = 256              // bytes of a suspension's reason: it is shown in one line
	maxFaults       = 32               // field errors in one problem: more help nobody
	maxShown        = 64               // bytes of a caller's text that an error repeats
	maxRef          = 4 * events.MaxNameLength
)

// Config bounds a Server. The zero value is not usable; start from
// DefaultConfig.
type Config struct {
	// Hosts are the names accepted in a Host header, without port. A web page
	// that points its own name at this server (DNS rebinding) is refused by
	// them. "*" accepts any.
	Hosts []string

	Defaults       events.ResourceLimits // for limits that a deployment omits
	Ceilings       events.ResourceLimits // the most a deployment may ask for
	MaxModuleBytes int                   // of one module, before base64
	MaxContent     int                   // of one message's content, before base64

	MaxConnections   int   // open at once; further ones wait in the kernel's backlog
	MaxRequests      int   // answered at once; further ones get 503, except /health
	MaxBytesInFlight int64 // of all request bodies being held; as much again of all answers not taken yet

	RequestTimeout time.Duration // for a call to do its work, beside ?wait=
	ReadTimeout    time.Duration // for a whole request to arrive
	WriteTimeout   time.Duration // for an answer to be taken
	IdleTimeout    time.Duration // of a connection between requests
	DrainTimeout   time.Duration // for requests under way when Serve is told to stop
}

// DefaultConfig is for a server on the loopback interface, without
// authentication.
func DefaultConfig() Config {
	return Config{
		Hosts:            []string{"localhost", "127.0.0.1", "::1"},
		Defaults:         events.DefaultLimits(),
		Ceilings:         events.LimitCeilings(),
		MaxModuleBytes:   8 << 20,
		MaxContent:       events.MaxMessageContent,
		MaxConnections:   8192,
		MaxRequests:      4096,
		MaxBytesInFlight: 256 << 20,
		RequestTimeout:   30 * time.Second,
		ReadTimeout:      60 * time.Second,
		WriteTimeout:     60 * time.Second,
		IdleTimeout:      75 * time.Second, // above the 60 s at which many proxies give up first
		DrainTimeout:     10 * time.Second,
	}
}

// Validate reports all faults as one *events.InvalidError.
func (c Config) Validate() error {
	var f events.Faults
	if len(c.Hosts) == 0 {
		f.Add("hosts", "must name at least one host, or \"*\"")
	}
	f.Merge("defaults", c.Defaults.Validate(c.Ceilings))
	for _, v := range []struct {
		key   string
		value int64
		max   int64
	}{
		{"max_module_bytes", int64(c.MaxModuleBytes), 64 << 20},
		{"max_content", int64(c.MaxContent), events.MaxContentCeiling},
		{"max_connections", int64(c.MaxConnections), 1 << 20},
		{"max_requests", int64(c.MaxRequests), 1 << 20},
		{"max_bytes_in_flight", c.MaxBytesInFlight, 1 << 40},
		{"request_timeout", int64(c.RequestTimeout), int64(time.Hour)},
		{"read_timeout", int64(c.ReadTimeout), int64(time.Hour)},
		{"write_timeout", int64(c.WriteTimeout), int64(time.Hour)},
		{"idle_timeout", int64(c.IdleTimeout), int64(time.Hour)},
		{"drain_timeout", int64(c.DrainTimeout), int64(time.Hour)},
	} {
		if v.value <= 0 || v.value > v.max {
			f.Add(v.key, "must be 1 to %d, got %d", v.max, v.value)
		}
	}
	if c.MaxBytesInFlight < c.maxDeployBytes() {
		f.Add("max_bytes_in_flight", "must be at least %d, the largest deployment", c.maxDeployBytes())
	}
	return f.Err()
}

// maxMessageBytes is the body limit of a message.
func (c Config) maxMessageBytes() int64 {
	return max(maxBodyBytes, int64(c.MaxContent)*4/3+deploySlack)
}

// maxDeployBytes is the body limit of a deployment: base64 makes four bytes of
// three.
func (c Config) maxDeployBytes() int64 { return int64(c.MaxModuleBytes)*4/3 + deploySlack }
