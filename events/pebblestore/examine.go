package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	walrecord "github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"

	"github.com/caxton-run/caxton/events"
)

// extent is how far a log goes, as found without changing it.
type extent struct {
	next  events.Position // after the last event
	noted bool            // the log says that it has notes
	file  string          // the newest write-ahead log
	ends  int64           // the byte in it at which reading stopped, or is
}

// examine reads the log before Pebble opens it, and refuses what Pebble would
// mend in its own way: it takes damage at the end of a write-ahead log for a torn
// write, goes on without what came after, and removes the file; and it does not
// miss a write-ahead log that is gone. Whoever is refused here finds every file
// as it was.
func (s *Store) examine(sealed *seals) (extent, error) {
	there, err := hasMarker(s.fs, s.dir)
	if err != nil || !there {
		return extent{}, err
	}
	if err := sealed.load(); err != nil {
		return extent{}, err
	}
	x, err := s.examineTables()
	if err != nil {
		return extent{}, err
	}
	if err := x.logs(s.fs, s.dir); err != nil {
		return extent{}, err
	}
	if x.noted {
		if err := checkNotes(s.fs, s.dir); err != nil {
			return extent{}, err
		}
	}
	low, _, err := readLowWater(s.fs, s.dir, s.log)
	if err == nil && x.next < low {
		err = &events.CorruptError{
			Where:  "end of the log",
			Reason: fmt.Sprintf("the next position is %d, and everything below %d was acknowledged; %s", x.next, low, x.readUpTo()),
		}
	}
	return x, err
}

func (x *extent) readUpTo() string {
	if x.file == "" {
		return "there is no write-ahead log"
	}
	return fmt.Sprintf("%s reads up to byte %d", x.file, x.ends)
}

// damage is a fault at the place that is read.
func (x *extent) damage(format string, args ...any) error {
	return &events.CorruptError{Where: "file " + x.file, Reason: fmt.Sprintf("at byte %d: ", x.ends) + fmt.Sprintf(format, args...)}
}

// tablesOnly is a directory without its write-ahead logs.
type tablesOnly struct{ vfs.FS }

// List implements vfs.FS.
func (t tablesOnly) List(dir string) ([]string, error) {
	names, err := t.FS.List(dir)
	return slices.DeleteFunc(names, isWAL), err
}

// Unwrap implements vfs.FS.
func (t tablesOnly) Unwrap() vfs.FS { return t.FS }

// examineTables asks the tables how far they go.
func (s *Store) examineTables() (x extent, err error) {
	o := s.pebbleOptions()
	o.FS, o.ReadOnly, o.CacheSize = tablesOnly{s.fs}, true, minCacheBytes
	db, err := openPebble(s.dir, o)
	if err != nil {
		return extent{}, openError(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if x.noted, err = isNoted(db); err != nil {
		return extent{}, err
	}
	value, closer, err := db.Get(appliedKey())
	if errors.Is(err, pebble.ErrNotFound) {
		return x, nil
	}
	if err != nil {
		return extent{}, translate("applied position", err)
	}
	x.next, _, _, err = parseApplied(value)
	return x, errors.Join(err, closer.Close())
}

// logs goes through the write-ahead logs, of which the older ones may lie in
// tables by now.
func (x *extent) logs(fsys vfs.FS, dir string) error {
	all, err := wal.Scan(wal.Dir{FS: fsys, Dirname: dir})
	if err != nil {
		return err
	}
	all = x.needed(all)
	var damage error // in one before the newest: it is none if its events are in tables
	for i, one := range all {
		err := x.log(one, x.batch)
		switch {
		case errors.Is(err, errGap):
			return errors.Join(damage, err)
		case errors.Is(err, events.ErrCorrupt) && i < len(all)-1:
			damage = err // Pebble refuses it, if it needs the file
		case err != nil:
			return err
		}
	}
	return nil
}

// needed leaves out the write-ahead logs before one that begins with an event in
// tables: theirs are all there. Pebble keeps a few such files to use them again.
func (x *extent) needed(all wal.Logs) wal.Logs {
	for i := len(all) - 1; i > 0; i-- {
		var begins extent
		err := begins.log(all[i], begins.begin)
		if errors.Is(err, errEnough) && begins.next <= x.next {
			return all[i:]
		}
	}
	return all
}

// errEnough ends the reading of a write-ahead log.
var errEnough = errors.New("enough was read")

// begin takes the first position that is told.
func (x *extent) begin(b []byte) error {
	first, next, err := x.span(b)
	if err != nil || next == 0 {
		return err
	}
	x.next = first
	return errEnough
}

// errGap is a write-ahead log that does not go on where the one before ended.
var errGap = errors.New("events are missing")

// log goes through the batches of one write-ahead log. A torn end is no error.
func (x *extent) log(one wal.LogicalLog, visit func([]byte) error) (err error) {
	fsys, path := one.SegmentLocation(0)
	x.file, x.ends = fsys.PathBase(path), 0
	rr := one.OpenForRead()
	defer func() { err = errors.Join(err, rr.Close()) }()
	var batch bytes.Buffer
	for {
		r, at, err := rr.NextRecord()
		x.ends = at.Physical
		if err == nil {
			batch.Reset()
			_, err = batch.ReadFrom(r)
		}
		switch {
		case err == nil:
			err = visit(batch.Bytes())
		case errors.Is(err, io.EOF), errors.Is(err, walrecord.ErrUnexpectedEOF):
			return nil
		case errors.Is(err, walrecord.ErrInvalidChunk), errors.Is(err, walrecord.ErrZeroedChunk), pebble.IsCorruptionError(err):
			return x.damage("%v", err)
		}
		if err != nil {
			return err
		}
	}
}

// batch takes one group into account.
func (x *extent) batch(b []byte) error {
	first, next, err := x.span(b)
	if err != nil || next <= x.next {
		return err // in tables already, or without an event
	}
	if first > x.next {
		return errors.Join(errGap, x.damage("events begin at position %d, and what is before ends at %d", first, x.next))
	}
	x.next = next
	return nil
}

// span reads from a batch the position of its first event and the one after its
// last; both are 0 for one that says nothing about positions.
func (x *extent) span(b []byte) (first, next events.Position, err error) {
	first = events.EndOfLog
	for r := batchrepr.Read(b); ; {
		kind, key, value, ok, err := r.Next()
		if err != nil {
			return 0, 0, x.damage("%v", err)
		}
		if !ok {
			return min(first, next), next, nil
		}
		if kind != pebble.InternalKeyKindSet || len(key) == 0 {
			continue
		}
		switch key[0] {
		case kindStream: // an event of this batch; kindEvent may be one that is scavenged
			if len(value) == 8 {
				first = min(first, events.Position(binary.BigEndian.Uint64(value)))
			}
		case kindApplied:
			if next, _, _, err = parseApplied(value); err != nil {
				return 0, 0, err
			}
		case kindNoted:
			x.noted = true
		}
	}
}
