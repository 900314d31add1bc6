package pebblestore

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"runtime"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// isolatedName is the file that marks a data directory whose last process met
// a failed write. While it is there the log is opened read-only; an operator
// removes it after verifying the log.
const isolatedName = "isolated"

// newSuffix is added to the name of a file until it is whole.
const newSuffix = ".new"

// isolation is what the marker says. Its first line has the root of all that was
// durable: what was written beyond it nobody was told of, and it may be in the page
// cache only, so it is not served until it was verified and written anew.
//
//	durable <next position> <hash, hex> <CRC-32C of the words before, hex>
//
// The last line is the same again: a marker without a bound is one from before there
// were any, or a replica's, and no flipped bit may make it look like that. The lines
// between are why, for people.
type isolation struct {
	why     string
	durable *Root // nil where the marker does not say
	damaged bool  // it says so once, where it was written twice
}

// text is what parseIsolation reads.
func (m isolation) text() string {
	if m.durable == nil {
		return m.why
	}
	line := durableLine(*m.durable)
	return line + m.why + line
}

// durableLine is the first and the last line of a marker, with its end.
func durableLine(r Root) string {
	said := fmt.Sprintf("durable %d %x", uint64(r.Next), r.Hash)
	return fmt.Sprintf("%s %08x\n", said, crc32.Checksum([]byte(said), castagnoli()))
}

// parseDurable reads a line that durableLine wrote, without its end; it is nil for any
// other.
func parseDurable(line string) *Root {
	var (
		next uint64
		hash []byte
		crc  string
		r    Root
	)
	_, err := fmt.Sscanf(line, "durable %d %x %s", &next, &hash, &crc)
	r.Next = events.Position(next)
	if copy(r.Hash[:], hash); err != nil || durableLine(r) != line+"\n" {
		return nil
	}
	return &r
}

// parseIsolation reads a marker. Lines that durableLine did not write, as in markers
// from before there were any, are part of why.
func parseIsolation(text string) isolation {
	m := isolation{why: text}
	whole := strings.TrimSuffix(text, "\n")
	at := strings.LastIndexByte(whole, '\n') + 1
	last := parseDurable(whole[at:])
	if last != nil {
		m.why, m.durable = text[:at], last
	}
	line, rest, _ := strings.Cut(m.why, "\n")
	first := parseDurable(line)
	if first != nil {
		m.why, m.durable = rest, first
	}
	m.damaged = (first == nil) != (last == nil)
	return m
}

// marked returns what the marker says; ok is false when there is none.
func marked(fsys vfs.FS, dir string) (m isolation, ok bool, err error) {
	b, ok, err := readNote(fsys, fsys.PathJoin(dir, isolatedName), 4<<10)
	return parseIsolation(string(b)), ok, err
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
func Isolated(dir string) (why string, ok bool, err error) {
	m, ok, err := marked(vfs.Default, dir)
	return m.why, ok, err
}

// ClearIsolation removes the marker of a directory whose log was verified: the
// next Open takes appends again. One without a marker is left as it is.
func ClearIsolation(dir string) error {
	err := vfs.Default.Remove(vfs.Default.PathJoin(dir, isolatedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(vfs.Default, dir))
}

// mark writes the marker and syncs it and its directory. Without durable it does not
// say how far the log was. A crash leaves no marker or a whole one: a torn one would
// bound nothing.
func mark(fsys vfs.FS, dir, why string, durable *Root) error {
	text := isolation{why: why + "\n", durable: durable}.text()
	name := fsys.PathJoin(dir, isolatedName)
	if err := writeSynced(fsys, name+newSuffix, []byte(text)); err != nil {
		return err
	}
	if err := fsys.Rename(name+newSuffix, name); err != nil {
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
	s.advancing.Lock()
	s.isolated.Store(true)
	s.advancing.Unlock()
	s.ending.Do(func() {
		if !s.opened.Load() || s.readOnly {
			// As for writeFailed: no marker. One that is there already tells of the
			// failure that made the log read-only.
		} else if err := mark(s.fs, s.dir, why, s.acknowledged()); err != nil {
			// The disk that failed may refuse this too. The next start then opens
			// the log as after a crash, which is safe: nothing unsynced was
			// acknowledged.
			s.log.Error("isolated marker not written", "err", err)
		}
		s.opts.Fatal(fmt.Sprintf("log in %s failed and is read-only from now on: %s", s.dir, why))
	})
}

// acknowledged is the root of all that was durable when a write failed. It is nil for
// a replica, which is written without syncs: its group knows what was acknowledged.
func (s *Store) acknowledged() *Root {
	if s.propose != nil {
		return nil
	}
	return s.durableRoot.Load()
}

// advance moves the durable head, unless a write has failed: what is acknowledged is
// below the head that the marker tells.
func (s *Store) advance(to Root) bool {
	s.advancing.Lock()
	defer s.advancing.Unlock()
	if s.isolated.Load() {
		return false
	}
	s.durableRoot.Store(&to)
	s.durable.Store(uint64(to.Next))
	return true
}

// serve makes the durable head of a log that ends at found: its end, but of an isolated
// one what its marker says was durable. A look at the files, which is what
// Options.ReadOnly is for, is at all of them, and Verify holds them against the marker.
// Error: *events.CorruptError for a log that is not what the marker says.
func (s *Store) serve(found Root) error {
	if mark := s.marker.durable; mark != nil && !s.opts.ReadOnly {
		if mark.Next > found.Next {
			return mark.shorter(found.Next)
		}
		if mark.Next == found.Next && mark.Hash != found.Hash {
			return mark.differs(found.Hash)
		}
		if mark.Next < found.Next {
			s.log.Warn("events that were never acknowledged are not served before the log was verified",
				"from", uint64(mark.Next), "to", uint64(found.Next))
		}
		found = *mark
	}
	s.durableRoot.Store(&found)
	s.durable.Store(uint64(found.Next))
	return nil
}

// shorter is the fault of a log that ends before the root of its marker.
func (r Root) shorter(next events.Position) error {
	return &events.CorruptError{
		Where:  "end of the log",
		Reason: fmt.Sprintf("the next position is %d, and by the file %s it was %d when a write failed", next, isolatedName, r.Next),
	}
}

// differs is the fault of a log that has another root where its marker has one.
func (r Root) differs(hash root) error {
	return &events.CorruptError{
		Where:  fmt.Sprintf("root below position %d", r.Next),
		Reason: fmt.Sprintf("is %x by the file %s, the events make %x", r.Hash[:8], isolatedName, hash[:8]),
	}
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
