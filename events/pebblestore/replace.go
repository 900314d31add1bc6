package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/caxton-run/caxton/events"
)

// oldSuffix is added to the name of a directory that another took the place of.
const oldSuffix = ".old"

// Replace puts the log in the directory from, a copy that Checkpoint made and that
// is synced, in the place of this one, while readers and subscribers go on: they
// come to the new log with their next look. It holds at least what this one holds.
//
// After an error the log is closed. A crash leaves this one, none, or the other;
// whoever keeps the order can tell by what Open finds. Errors: events.ErrClosed,
// *events.CorruptError, the disk's.
func (r *Replica) Replace(from string) error {
	r.reading.Lock()
	defer r.reading.Unlock()
	if r.dbClosed || r.closed.Load() {
		return events.ErrClosed
	}
	r.dbClosed = true // until the other is open
	err := errors.Join(r.db.Close(), r.lock.Close())
	r.db, r.lock = nil, nil
	if err != nil {
		return fmt.Errorf("close log in %s: %w", r.dir, err)
	}
	if err = r.exchange(from); err == nil {
		err = r.acquire()
	}
	if err != nil {
		return fmt.Errorf("replace log in %s: %w", r.dir, err)
	}
	if _, _, err := r.openFiles(); err != nil {
		return fmt.Errorf("open log in %s: %w", r.dir, err)
	}
	if err := r.load(); err != nil {
		return fmt.Errorf("open log in %s: %w", r.dir, err)
	}
	r.dbClosed = false
	r.hub.publishAll()
	return nil
}

// exchange puts the directory from where the log is, and removes the log's.
func (r *Replica) exchange(from string) error {
	old := r.dir + oldSuffix
	if err := r.fs.RemoveAll(old); err != nil {
		return err
	}
	if err := r.fs.Rename(r.dir, old); err != nil {
		return err
	}
	if err := r.fs.Rename(from, r.dir); err != nil {
		return err
	}
	// The ballast is the place's, not the log's.
	err := r.fs.Rename(r.fs.PathJoin(old, ballastName), r.fs.PathJoin(r.dir, ballastName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncDir(r.fs, r.fs.PathDir(r.dir)); err != nil {
		return err
	}
	return r.fs.RemoveAll(old)
}
