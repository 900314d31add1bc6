package pebblestore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// Checkpoint makes a copy of the log in dir, which must not exist, while appends
// go on. The copy is a log of its own: Open opens it. It holds everything below
// next, which is the position after the last event that was durable when the
// call began, and perhaps a little more; all of it is synced when Checkpoint
// returns.
//
// Tables are hard links where dir is on the same file system, so a copy costs
// little until the log outgrows it. Close waits for a checkpoint under way.
// Errors: events.ErrClosed; the disk's, after which dir is of no use.
func (s *Store) Checkpoint(dir string) (next events.Position, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	next = s.limit()
	// The write-ahead log is copied too; without this its end might not be in it.
	err = unpanicked(func() error { return s.db.Checkpoint(dir, pebble.WithFlushedWAL()) })
	if err == nil {
		err = noteCopy(s.fs, dir, next)
	}
	if err != nil {
		return 0, fmt.Errorf("copy log in %s to %s: %w", s.dir, dir, err)
	}
	return next, nil
}
