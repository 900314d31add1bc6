package raftstore

import (
	"context"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// Bounds of Options. The lower ones keep elections from never ending, the upper
// ones catch a value given in the wrong unit.
const (
	minHeartbeat      = 10 * time.Millisecond
	maxHeartbeat      = time.Minute
	minSnapshotEvery  = 4
	maxSnapshotEvery  = 1 << 24
	minSegmentBytes   = 64 << 10
	maxSegmentBytes   = 1 << 30
	maxAddressLength  = 256 // bytes: a host name of 253 and a port
	defaultSegment    = 64 << 20
	defaultHeartbeat  = time.Second
	defaultSnapshot   = 16384 // entries: replaying as many takes seconds
	defaultTrailing   = 4096  // entries: what a member that was away for a moment lacks
	snapshotLooks     = 4     // heartbeats between two looks whether a snapshot is due
	leaseOfHeartbeats = 2     // a leader out of touch steps down within half a heartbeat timeout
)

// Network carries connections between members. The tests' loses and delays.
type Network interface {
	Listen(address string) (net.Listener, error)
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// Options configure a Store. Begin with DefaultOptions.
type Options struct {
	// Log configures the engine below. Its FS is where everything of this store
	// lies; its Fatal is called after a failed write or when damage is found.
	Log pebblestore.Options

	Address string      // host:port at which other members find this one
	Network Network     // nil is TCP
	TLS     Credentials // nil speaks in the clear: only for loopback and tests

	// Bootstrap makes a new cluster of this member alone where the directory holds
	// none. Without it such a member waits for AddMember of another.
	Bootstrap bool

	// Heartbeat is how long a member that hears nothing of a leader waits before it
	// asks for an election, 10 ms to 1 min; members must have the same.
	Heartbeat time.Duration

	SnapshotEvery uint64 // entries after which a snapshot is made, 4 to 2^24
	Trailing      uint64 // entries kept behind a snapshot, at most 2^24
	SegmentBytes  int    // of the raft log's files, 64 KiB to 1 GiB

	version uint32 // of what this member understands; tests are older or newer
}

// DefaultOptions suit members in one data centre.
func DefaultOptions() Options {
	return Options{
		Log: pebblestore.DefaultOptions(), Heartbeat: defaultHeartbeat,
		SnapshotEvery: defaultSnapshot, Trailing: defaultTrailing, SegmentBytes: defaultSegment,
	}
}

// Validate reports every value out of bounds as one *events.InvalidError.
func (o Options) Validate() error {
	var f events.Faults
	f.Merge("log", o.Log.Validate())
	if o.Log.ReadOnly {
		f.Add("log.read_only", "must not be set: open the log with pebblestore to look at it")
	}
	if _, _, err := net.SplitHostPort(o.Address); err != nil || len(o.Address) > maxAddressLength {
		f.Add("address", "must be host:port of at most %d bytes, got %.80q", maxAddressLength, o.Address)
	}
	if o.Heartbeat < minHeartbeat || o.Heartbeat > maxHeartbeat {
		f.Add("heartbeat", "must be %s to %s, got %s", minHeartbeat, maxHeartbeat, o.Heartbeat)
	}
	if o.SnapshotEvery < minSnapshotEvery || o.SnapshotEvery > maxSnapshotEvery {
		f.Add("snapshot_every", "must be %d to %d, got %d", minSnapshotEvery, maxSnapshotEvery, o.SnapshotEvery)
	}
	if o.Trailing > maxSnapshotEvery {
		f.Add("trailing", "must be at most %d, got %d", maxSnapshotEvery, o.Trailing)
	}
	if o.SegmentBytes < minSegmentBytes || o.SegmentBytes > maxSegmentBytes {
		f.Add("segment_bytes", "must be %d to %d, got %d", minSegmentBytes, maxSegmentBytes, o.SegmentBytes)
	}
	return f.Err()
}

// withDefaults fills in the optional collaborators.
func (o Options) withDefaults() Options {
	if o.Log.Logger == nil {
		o.Log.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Log.FS == nil {
		o.Log.FS = vfs.Default
	}
	if o.Log.Fatal == nil {
		logger := o.Log.Logger
		o.Log.Fatal = func(msg string) {
			logger.Error("replicated log stops the process", "err", msg)
			os.Exit(1)
		}
	}
	if o.Network == nil {
		o.Network = tcp{}
	}
	if o.version == 0 {
		o.version = memberVersion
	}
	return o
}

// tcp is the Network of the operating system. It asks often whether the other end is still
// there: raft's goroutine waits for what comes next of a snapshot, and gives no vote meanwhile,
// though whoever sends it has lost its power.
type tcp struct{}

func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3}
}

// Listen implements Network.
func (tcp) Listen(address string) (net.Listener, error) {
	l := net.ListenConfig{KeepAliveConfig: keepAlive()}
	return l.Listen(context.Background(), "tcp", address)
}

// Dial implements Network.
func (tcp) Dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive()}
	return d.DialContext(ctx, "tcp", address)
}
