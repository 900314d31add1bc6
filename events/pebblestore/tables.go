package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/caxton-run/caxton/events"
)

// VerifyTables checks the checksum of every block of every table: what a copy of a
// log can be told by without reading each event. Errors: *events.CorruptError,
// ctx's, events.ErrClosed.
func (s *Store) VerifyTables(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	var faults error
	v := &verifier{s: s, ctx: ctx, report: func(fault error) { faults = errors.Join(faults, fault) }}
	return errors.Join(v.tables(), faults)
}

// tables checks the checksum of every block of every table. Reading records and
// indexes meets most of them, but not those that only make reading quicker, and
// which would be missed one day.
func (v *verifier) tables() error {
	levels, err := v.s.db.SSTables()
	if err != nil {
		return translate("list of tables", err)
	}
	seen := make(map[string]bool)
	for _, level := range levels {
		for _, t := range level {
			name := fmt.Sprintf("%s.sst", t.BackingSSTNum)
			if seen[name] { // several tables may share one file
				continue
			}
			seen[name] = true
			if v.s.closed.Load() {
				return events.ErrClosed
			}
			if err := errors.Join(v.ctx.Err(), v.fault(v.s.checkTable(v.ctx, name))); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTable reads one table file. One that is gone was compacted meanwhile.
func (s *Store) checkTable(ctx context.Context, name string) error {
	f, err := s.fs.Open(s.fs.PathJoin(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	o := s.pebbleOptions()
	o.EnsureDefaults()
	r, err := sstable.NewReader(ctx, readable, o.MakeReaderOptions()) // closes readable if it fails
	if err == nil {
		err = errors.Join(r.ValidateBlockChecksums(), r.Close())
	}
	if err != nil && ctx.Err() == nil {
		return &events.CorruptError{Where: "file " + name, Reason: err.Error()}
	}
	return ctx.Err()
}
