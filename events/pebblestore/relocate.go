package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// movedName is left where a log was: a table without a MANIFEST, which Open refuses.
// Without it a build that does not look further would begin a new log there.
const movedName = "log-was-moved.sst"

// Relocate moves the log in dir, which nobody has open, to the directory to, which lies
// in dir: a replica's place, that Replace can exchange as a whole. Where there is no
// log, or it was moved, it does nothing but end what a crash left unfinished: up to the
// moment at which to appears the log is where it was, and from then on it is there.
//
// Errors: ErrInUse, events.ErrReadOnly (the log is isolated), *events.CorruptError, the
// disk's.
func Relocate(dir, to string, opts Options) error {
	fsys := opts.FS
	if fsys == nil {
		fsys = vfs.Default
	}
	if _, err := fsys.Stat(to); err == nil {
		return removeMoved(fsys, dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if marked, err := hasMarker(fsys, dir); err != nil || !marked {
		return err
	}
	opts.BallastBytes = 0     // the new place has its own
	s, err := Open(dir, opts) // it mends what a crash left, and closes it whole
	if err != nil {
		return err
	}
	if s.ReadOnly() {
		return errors.Join(events.ErrReadOnly, s.Close())
	}
	if err := s.Close(); err != nil {
		return err
	}
	lock, err := fsys.Lock(fsys.PathJoin(dir, lockName))
	if err != nil {
		return ErrInUse
	}
	if err := errors.Join(linkAll(fsys, dir, to), lock.Close()); err != nil {
		return fmt.Errorf("move log in %s to %s: %w", dir, to, err)
	}
	return removeMoved(fsys, dir)
}

// IsLog reports whether dir is where a log lies that Relocate could move.
func IsLog(dir string, opts Options) (bool, error) {
	fsys := opts.FS
	if fsys == nil {
		fsys = vfs.Default
	}
	names, err := fsys.List(dir)
	return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, manifestMarker) }), err
}

// lockName is the file by which a log is in use.
const lockName = "LOCK"

// linkAll gives the files of a closed log a second name each, in a directory that
// appears as a whole.
func linkAll(fsys vfs.FS, dir, to string) error {
	temp := to + ".tmp"
	if err := errors.Join(fsys.RemoveAll(temp), fsys.MkdirAll(temp, 0o755)); err != nil {
		return err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !isOurs(n) || n == lockName || n == ballastName {
			continue
		}
		if err := fsys.Link(fsys.PathJoin(dir, n), fsys.PathJoin(temp, n)); err != nil {
			return err
		}
	}
	if err := syncDir(fsys, temp); err != nil {
		return err
	}
	if err := fsys.Rename(temp, to); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

// removeMoved removes the files of a log that stands elsewhere by now, and leaves
// movedName where there were any.
func removeMoved(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	var ours []string
	for _, n := range names {
		if n != movedName && isOurs(n) {
			ours = append(ours, n)
		}
	}
	if len(ours) == 0 {
		return nil
	}
	if err := errors.Join(writeSynced(fsys, fsys.PathJoin(dir, movedName), nil), syncDir(fsys, dir)); err != nil {
		return err
	}
	for _, n := range ours {
		if err := fsys.Remove(fsys.PathJoin(dir, n)); err != nil {
			return err
		}
	}
	return syncDir(fsys, dir)
}

// isOurs reports whether a file in the directory of a log belongs to it. Others may lie
// there, with suffixes that are the engine's too: what a server prints, in server.log.
func isOurs(name string) bool {
	switch name {
	case lockName, ballastName, lowWaterName, sealsName:
		return true
	}
	for _, p := range []string{manifestPrefix, optionsPrefix} {
		if n, ok := strings.CutPrefix(name, p); ok {
			return isNumber(n)
		}
	}
	return strings.HasPrefix(name, manifestMarker) || strings.HasPrefix(name, formatMarker) || isNumbered(name, ".sst", ".log", ".blob")
}

// formatMarker begins the name of the empty file that names Pebble's format.
const formatMarker = "marker.format-version."

// isNumbered reports whether a name is one that Pebble makes of a number and one of some
// suffixes.
func isNumbered(name string, suffixes ...string) bool {
	for _, s := range suffixes {
		if n, ok := strings.CutSuffix(name, s); ok {
			return isNumber(n)
		}
	}
	return false
}

// isNumber reports whether s is a number as Pebble writes it in the name of a file: of six
// digits at least.
func isNumber(s string) bool {
	return len(s) >= 6 && strings.Trim(s, "0123456789") == ""
}
