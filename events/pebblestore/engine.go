package pebblestore

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// pebbleOptions is how Pebble is set up for a log.
func (s *Store) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          s.fs,
		Lock:                        s.lock,
		ReadOnly:                    s.readOnly,
		CacheSize:                   s.opts.CacheBytes,
		MemTableSize:                uint64(s.opts.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                s.opts.MaxOpenFiles,
		// Chunks of the write-ahead log that name their sync offset tell a torn
		// tail from damage in the middle; footers of tables have a checksum, for
		// Pebble panics on one that points to the wrong block.
		FormatMajorVersion: pebble.FormatTableFormatV6,
		// Keys of events sort by position, so most tables move down unmerged
		// and a deep L0 is harmless; stopping writers for it would not be.
		L0CompactionThreshold:      4,
		L0StopWritesThreshold:      1000,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		EventListener:              listener(s.log),
		Logger: engineLogger{log: s.log, isolate: func(why string) {
			s.abandon.Store(true)
			s.isolate(why)
		}},
	}
	for i := range o.Levels {
		// Every append asks for ids that are not there.
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		// Reads are of neighbours: a few large blocks cost less than many small
		// ones, and their index stays small as the log grows.
		o.Levels[i].BlockSize = 32 << 10
		o.Levels[i].IndexBlockSize = 256 << 10
	}
	return o
}
