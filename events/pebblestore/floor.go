package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// floorName is the file that says how far the log was durable. Pebble takes
// damage in the last 32 KiB of its write-ahead log for a torn write and cuts the
// log there without a word; held against the floor the loss is found.
//
// It is written after each group's fsync and before its acknowledgements, and
// not synced itself: a killed process leaves it exact, a power cut leaves an
// older one. Invariant: floor ≤ durable head. Numbers are big-endian:
//
//	0  version (1)
//	1  CRC-32C of all that follows, 4 bytes
//	5  position after the last durable event, 8 bytes
const (
	floorName    = "durable"
	floorVersion = 1
	floorSize    = 13
)

// floor is the file, open for writing. It belongs to the syncer.
type floor struct {
	f   vfs.File // nil after a failure: the floor stays where it is, which is true still
	log *slog.Logger
	buf [floorSize]byte
}

func openFloor(fsys vfs.FS, dir string, log *slog.Logger) *floor {
	f, err := fsys.OpenReadWrite(fsys.PathJoin(dir, floorName), vfs.WriteCategoryUnspecified)
	fl := &floor{f: f, log: log}
	if err != nil {
		fl.fail(err)
	}
	return fl
}

func (fl *floor) fail(err error) {
	fl.f = nil
	fl.log.Warn("durable head not noted: damage at the end of the log may go unnoticed", "file", floorName, "err", err)
}

func encodeFloor(b []byte, next events.Position) {
	b[0] = floorVersion
	binary.BigEndian.PutUint64(b[5:], uint64(next))
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:floorSize], castagnoli()))
}

// parseFloor returns ok false for what encodeFloor did not write.
func parseFloor(b []byte) (next events.Position, ok bool) {
	if len(b) != floorSize || b[0] != floorVersion || binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[5:], castagnoli()) {
		return 0, false
	}
	return events.Position(binary.BigEndian.Uint64(b[5:])), true
}

// raise notes that everything below next is durable.
func (fl *floor) raise(next events.Position) {
	if fl.f == nil {
		return
	}
	encodeFloor(fl.buf[:], next)
	if _, err := fl.f.WriteAt(fl.buf[:], 0); err != nil {
		fl.f.Close() //nolint:errcheck // the write's error is the one to tell
		fl.fail(err)
	}
}

// close syncs the file: a clean shutdown leaves it exact.
func (fl *floor) close() error {
	if fl.f == nil {
		return nil
	}
	return errors.Join(fl.f.Sync(), fl.f.Close())
}

// checkFloor holds the log's end against the floor. A floor that is missing or
// does not read is no fault of the log.
func (s *Store) checkFloor(next events.Position) error {
	f, err := s.fs.Open(s.fs.PathJoin(s.dir, floorName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(f, floorSize+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	low, ok := parseFloor(b)
	if !ok {
		if len(b) > 0 { // empty when no group was ever committed
			s.log.Warn("note of the durable head does not read", "file", floorName)
		}
		return nil
	}
	if next < low {
		return &events.CorruptError{
			Where:  "end of the log",
			Reason: fmt.Sprintf("the next position is %d, and everything below %d was acknowledged", next, low),
		}
	}
	return nil
}
