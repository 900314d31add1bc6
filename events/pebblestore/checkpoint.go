package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

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
// It is made beside dir, under that name with ".new" after it: after an error or a
// crash dir is whole or not there, and the next call removes what was left.
// Errors: events.ErrClosed; fs.ErrExist; the disk's.
func (s *Store) Checkpoint(dir string) (next events.Position, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	next = s.limit()
	if err := s.copyTo(dir, next); err != nil {
		return 0, fmt.Errorf("copy log in %s to %s: %w", s.dir, dir, err)
	}
	return next, nil
}

// copyTo makes the copy. Half of one under its name could look like the beginning of a
// new log, and be opened as that.
func (s *Store) copyTo(dir string, next events.Position) error {
	if _, err := s.fs.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return err
	}
	half := s.fs.PathJoin(dir) + newSuffix // without a slash at its end
	if err := s.fs.RemoveAll(half); err != nil {
		return err
	}
	err := s.copyWhole(half)
	if err == nil {
		err = noteCopy(s.fs, half, next)
	}
	if err == nil {
		err = s.fs.Rename(half, dir)
	}
	if err != nil {
		return err
	}
	return syncDir(s.fs, s.fs.PathDir(half))
}

// copyWhole has Pebble make a copy. Until Pebble has changed something since it was
// opened, which after a power cut may have to wait for the next flush, it writes no
// MANIFEST, and takes for the length of the old one what it wrote: nothing. A copy with
// such a MANIFEST does not open. So Pebble is given something to change, which is no
// part of the log: the end of a key that is not there.
func (s *Store) copyWhole(half string) error {
	for range 2 {
		// The write-ahead log is copied too; without this its end might not be in it.
		if err := unpanicked(func() error { return s.db.Checkpoint(half, pebble.WithFlushedWAL()) }); err != nil {
			return err
		}
		if whole, err := hasManifest(s.fs, half); err != nil || whole {
			return err
		}
		if err := s.fs.RemoveAll(half); err != nil {
			return err
		}
		if err := unpanicked(func() error {
			return errors.Join(s.db.Delete([]byte{0}, pebble.NoSync), s.db.Flush())
		}); err != nil {
			return err
		}
	}
	return errors.New("the copy has no MANIFEST")
}

// hasManifest reports whether a copy has a MANIFEST with something in it.
func hasManifest(fsys vfs.FS, dir string) (bool, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return false, err
	}
	for _, n := range names {
		if !strings.HasPrefix(n, manifestPrefix) {
			continue
		}
		st, err := fsys.Stat(fsys.PathJoin(dir, n))
		if err != nil || st.Size() > 0 {
			return err == nil, err
		}
	}
	return false, nil
}
