package pebblestore

import (
	"log/slog"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// Bounds of Options. The lower ones keep the engine working, the upper ones
// catch a value given in the wrong unit.
const (
	minCacheBytes    = 1 << 20
	maxCacheBytes    = 64 << 30
	minMemTableBytes = 1 << 20
	maxMemTableBytes = 1 << 30
	minHeadCache     = 16
	maxHeadCache     = 16 << 20
	minOpenFiles     = 64
	maxOpenFiles     = 1 << 20
	maxBallastBytes  = 64 << 30
)

// Options configure a Store. Begin with DefaultOptions.
type Options struct {
	Logger *slog.Logger     // nil discards
	Now    func() time.Time // the clock that stamps events; never read while applying
	FS     vfs.FS           // nil is the operating system's; tests crash others

	// ReadOnly opens a log that is there, to look at it: nothing in the directory
	// changes, and appends are events.ErrReadOnly.
	ReadOnly bool

	CacheBytes    int64 // of uncompressed blocks, 1 MiB to 64 GiB
	MemTableBytes int64 // of one write buffer, 1 MiB to 1 GiB; up to four exist at a time
	HeadCache     int   // stream heads kept in memory, 16 to 16 Mi; about 150 bytes each
	MaxOpenFiles  int   // 64 to 1 Mi

	Watermarks   Watermarks // of the disk; each 1 to 100, none below the one before
	BallastBytes int64      // kept free for a full disk, 0 (none) to 64 GiB

	// Fatal ends the process after a failed write to the log: what the engine
	// holds in memory may no longer be what is on disk. It must not return.
	// nil logs and exits with status 1.
	Fatal func(msg string)

	// Observe is told how long each successful append took, from call to
	// acknowledgement, on the caller's goroutine. nil observes nothing.
	Observe func(time.Duration)
}

// defaultBallastBytes is what a scavenge and a clean Close need when nothing
// else is left: four write buffers to flush (64 MiB), and the table of up to
// 128 MiB that a compaction writes before it removes its predecessors.
const defaultBallastBytes = 256 << 20

// DefaultOptions suit a server that gives the log about 128 MiB of memory.
func DefaultOptions() Options {
	return Options{
		Now:           time.Now,
		CacheBytes:    64 << 20,
		MemTableBytes: 16 << 20,
		HeadCache:     64 << 10,
		MaxOpenFiles:  1000,
		Watermarks:    DefaultWatermarks(),
		BallastBytes:  defaultBallastBytes,
	}
}

// Validate reports every value out of bounds as one *events.InvalidError.
func (o Options) Validate() error {
	var f events.Faults
	check := func(field string, v, low, high int64) {
		if v < low || v > high {
			f.Add(field, "must be %d to %d, got %d", low, high, v)
		}
	}
	if o.Now == nil {
		f.Add("now", "must be set")
	}
	check("cache_bytes", o.CacheBytes, minCacheBytes, maxCacheBytes)
	check("mem_table_bytes", o.MemTableBytes, minMemTableBytes, maxMemTableBytes)
	check("head_cache", int64(o.HeadCache), minHeadCache, maxHeadCache)
	check("max_open_files", int64(o.MaxOpenFiles), minOpenFiles, maxOpenFiles)
	check("ballast_bytes", o.BallastBytes, 0, maxBallastBytes)
	o.Watermarks.validate(&f)
	return f.Err()
}

func (w Watermarks) validate(f *events.Faults) {
	low := 1
	for _, m := range []struct {
		field string
		v     int
	}{{"watermarks.filling", w.Filling}, {"watermarks.low", w.Low}, {"watermarks.full", w.Full}} {
		if m.v < low || m.v > 100 {
			f.Add(m.field, "must be %d to 100, got %d", low, m.v)
		}
		low = max(low, m.v)
	}
}

// withDefaults fills in the optional collaborators.
func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Fatal == nil {
		logger := o.Logger
		o.Fatal = func(msg string) {
			logger.Error("log engine stops the process", "err", msg)
			os.Exit(1)
		}
	}
	if o.Observe == nil {
		o.Observe = func(time.Duration) {}
	}
	return o
}
