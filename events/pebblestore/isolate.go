package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// isolatedName is the file that marks a data directory whose last process met
// a failed write. While it is there the log is opened read-only; an operator
// removes it after verifying the log.
const isolatedName = "isolated"

// marked returns the text of the marker; ok is false when there is none.
func marked(fsys vfs.FS, dir string) (text string, ok bool, err error) {
	b, ok, err := readNote(fsys, fsys.PathJoin(dir, isolatedName), 4<<10)
	return string(b), ok, err
}

// readNote reads a small file beside the log, most bytes of it; ok is false when
// there is none.
func readNote(fsys vfs.FS, path string, most int64) (b []byte, ok bool, err error) {
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	b, err = io.ReadAll(io.LimitReader(f, most))
	return b, true, errors.Join(err, f.Close())
}

// Isolated returns why a data directory is isolated; ok is false when it is not.
func Isolated(dir string) (why string, ok bool, err error) { return marked(vfs.Default, dir) }

// ClearIsolation removes the marker of a directory whose log was verified: the
// next Open takes appends again. One without a marker is left as it is.
func ClearIsolation(dir string) error {
	err := vfs.Default.Remove(vfs.Default.PathJoin(dir, isolatedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(vfs.Default, dir))
}

// mark writes the marker and syncs it and its directory.
func mark(fsys vfs.FS, dir, text string) error {
	f, err := fsys.Create(fsys.PathJoin(dir, isolatedName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text + "\n"))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// isolate ends all writing for good and then the process: after a failed write
// or sync nobody knows what is on disk. No append is acknowledged after it
// began. It returns only where Options.Fatal does, which is in tests; a second
// caller waits for the first, so that no one goes on before the marker is
// written.
func (s *Store) isolate(why string) {
	s.isolated.Store(true)
	s.ending.Do(func() {
		if !s.opened.Load() {
			// As for writeFailed: no marker.
		} else if err := mark(s.fs, s.dir, why); err != nil {
			// The disk that failed may refuse this too. The next start then opens
			// the log as after a crash, which is safe: nothing unsynced was
			// acknowledged.
			s.log.Error("isolated marker not written", "err", err)
		}
		s.opts.Fatal(fmt.Sprintf("log in %s failed and is read-only from now on: %s", s.dir, why))
	})
}

// writeFailed is told by guardFS. Before Pebble is open a failure is simply an
// error of Open: nothing was acknowledged, and the next Open writes anew what
// this one could not. But for a failed sync of the directory Pebble panics, and
// it may be on a goroutine of its own; so the process ends here, and says why.
func (s *Store) writeFailed(f failure) {
	if f.dir || s.opened.Load() {
		s.isolate(f.why)
	}
}

// engineLogger gives Pebble a logger whose Fatalf never returns: Pebble would
// go on as if the failed write had succeeded.
type engineLogger struct {
	log     *slog.Logger
	isolate func(why string)
}

// Infof implements pebble.Logger.
func (l engineLogger) Infof(format string, args ...any) {
	l.log.Debug("log engine", "detail", fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (l engineLogger) Errorf(format string, args ...any) {
	l.log.Error("log engine", "err", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger.
func (l engineLogger) Fatalf(format string, args ...any) {
	l.isolate(fmt.Sprintf(format, args...))
	runtime.Goexit() // reached only where Options.Fatal returned
}

// listener logs what the engine meets in the background.
func listener(log *slog.Logger) *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			log.Error("log file is corrupt", "file", info.Path, "err", info.Details)
		},
		BackgroundError: func(err error) { log.Error("log engine in the background", "err", err) },
		DiskSlow: func(info pebble.DiskSlowInfo) {
			log.Warn("disk is slow", "file", info.Path, "elapsed", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			log.Warn("log writes wait for compaction", "reason", info.Reason)
		},
	}
}
