package pebblestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// upgrade computes the roots of a log that was written before there were any,
// once, and returns the root at its end. It reads the whole log. A crash leaves
// the log as it was, or upgraded.
func (s *Store) upgrade(next events.Position) (root, error) {
	if s.readOnly {
		return root{}, errors.New("the log was written before there were roots, and is read-only: it cannot be upgraded")
	}
	s.log.Info("log is upgraded: computing its roots", "events", uint64(next))
	recs, err := newRecords(s.db)
	if err != nil {
		return root{}, err
	}
	batch := s.db.NewBatch()
	st := state{}
	for pos := range next {
		r, err := recs.get(pos)
		if err != nil {
			return root{}, errors.Join(err, recs.close(), batch.Close())
		}
		st.chain(batch, &entry{raw: recs.it.Value(), rec: r})
	}
	if err := recs.close(); err != nil {
		return root{}, errors.Join(err, batch.Close())
	}
	mustSet(batch, appliedKey(), encodeApplied(next, st.root))
	if err := batch.Commit(pebble.Sync); err != nil {
		return root{}, fmt.Errorf("store the roots: %w", err)
	}
	return st.root, batch.Close()
}
