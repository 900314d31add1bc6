package pebblestore

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// reclaim gives the disk back what a scavenge dropped between two positions:
// until their tables are compacted, they hold the old records beside the new
// ones. In its own time Pebble does that too; on a disk that fills nobody has
// that time. It goes from table to table of the lowest level, so that it needs
// the room of one at once and not of all.
func (s *Store) reclaim(ctx context.Context, first, last events.Position) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	err := s.compact(ctx, appendEventKey(nil, first), appendEventKey(nil, last+1))
	s.disk.soon()
	if s.closed.Load() {
		return events.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("give back the room of what was dropped: %w", err)
	}
	return nil
}

// compact rewrites the keys from start to before end, a table at a time.
func (s *Store) compact(ctx context.Context, start, end []byte) error {
	levels, err := s.db.SSTables(pebble.WithKeyRangeFilter(start, end))
	if err != nil {
		return err
	}
	from := start
	for _, table := range lowest(levels) {
		to := append(bytes.Clone(table.Largest.UserKey), 0) // the next key
		if bytes.Compare(to, end) > 0 {
			to = end
		}
		if bytes.Compare(from, to) >= 0 {
			continue
		}
		if err := s.db.Compact(ctx, from, to, false); err != nil {
			return err
		}
		from = to
	}
	if bytes.Compare(from, end) >= 0 {
		return nil
	}
	return s.db.Compact(ctx, from, end, false)
}

// lowest returns the tables of the lowest level that has any; they do not
// overlap and stand in the order of their keys.
func lowest(levels [][]pebble.SSTableInfo) []pebble.SSTableInfo {
	for i := len(levels) - 1; i > 0; i-- { // in level 0 they do overlap
		if len(levels[i]) > 0 {
			return levels[i]
		}
	}
	return nil
}

// whileOpen is a context that ends with ctx or when Close begins.
func (s *Store) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-s.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		<-gone
	}
}
