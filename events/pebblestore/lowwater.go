package pebblestore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// lowWaterName is the file that says how far the log was durable. Pebble takes
// damage in the last 32 KiB of its write-ahead log for a torn write and cuts the
// log there without a word; held against the low-water mark the loss is found.
//
// It is written after each group's fsync and before its acknowledgements, and
// not synced itself: a killed process leaves it exact, a power cut leaves an
// older one. Invariant: all below the mark was fsynced. Numbers are big-endian:
//
//	0  version (1)
//	1  CRC-32C of all that follows, 4 bytes
//	5  position after the last durable event, 8 bytes
const (
	lowWaterName    = "durable"
	lowWaterVersion = 1
	lowWaterSize    = 13
)

// lowWater is the file, open for writing. It belongs to the syncer.
type lowWater struct {
	f   vfs.File // nil after a failure: the mark stays where it is, which is true still
	log *slog.Logger
	buf [lowWaterSize]byte
}

func openLowWater(fsys vfs.FS, dir string, log *slog.Logger) *lowWater {
	f, err := fsys.OpenReadWrite(fsys.PathJoin(dir, lowWaterName), vfs.WriteCategoryUnspecified)
	fl := &lowWater{f: f, log: log}
	if err != nil {
		fl.fail(err)
	}
	return fl
}

func (fl *lowWater) fail(err error) {
	fl.f = nil
	fl.log.Warn("durable head not noted: damage at the end of the log may go unnoticed", "file", lowWaterName, "err", err)
}

func encodeLowWater(b []byte, next events.Position) {
	b[0] = lowWaterVersion
	binary.BigEndian.PutUint64(b[5:], uint64(next))
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:lowWaterSize], castagnoli()))
}

// parseLowWater returns ok false for what encodeLowWater did not write.
func parseLowWater(b []byte) (next events.Position, ok bool) {
	if len(b) != lowWaterSize || b[0] != lowWaterVersion || binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[5:], castagnoli()) {
		return 0, false
	}
	return events.Position(binary.BigEndian.Uint64(b[5:])), true
}

// raise notes that everything below next is durable.
func (fl *lowWater) raise(next events.Position) {
	if fl.f == nil {
		return
	}
	encodeLowWater(fl.buf[:], next)
	if _, err := fl.f.WriteAt(fl.buf[:], 0); err != nil {
		fl.f.Close() //nolint:errcheck // the write's error is the one to tell
		fl.fail(err)
	}
}

// close syncs the file: a clean shutdown leaves it exact.
func (fl *lowWater) close() error {
	if fl.f == nil {
		return nil
	}
	return errors.Join(fl.f.Sync(), fl.f.Close())
}

// readLowWater reads the mark. ok is false for one that is missing or does not
// read, which is no fault of the log.
func readLowWater(fsys vfs.FS, dir string, log *slog.Logger) (low events.Position, ok bool, err error) {
	b, there, err := readNote(fsys, fsys.PathJoin(dir, lowWaterName), lowWaterSize+1)
	if err != nil || !there {
		return 0, false, err
	}
	low, ok = parseLowWater(b)
	if !ok && len(b) > 0 { // empty in a log from before there were notes, until its first append
		log.Warn("note of the durable head does not read", "file", lowWaterName)
	}
	return low, ok, nil
}
