package raftstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// markName is the file that says how far the raft log was synced, as pebblestore's
// low-water mark does for its own. It is written after each sync of the log and not
// synced itself, so a killed process leaves it exact and a power cut an older one.
// Invariant: mark ≤ last entry stored. Numbers are big-endian:
//
//	0  version (1)
//	1  CRC-32C of all that follows, 4 bytes
//	5  index of the last entry, 8 bytes
const (
	markName = "stored"
	markSize = 13
)

// mark is the file, open for writing. It belongs to whoever writes the log.
type mark struct {
	f   vfs.File
	log *slog.Logger
	at  uint64
	bad bool // a write failed, and that was told
}

// openMark reads the mark. One that does not read is none: a power cut may have
// come while it was written.
func openMark(fsys vfs.FS, dir string, log *slog.Logger) (*mark, error) {
	f, err := fsys.OpenReadWrite(fsys.PathJoin(dir, markName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	m := &mark{f: f, log: log}
	if m.at, err = readMark(f, log); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

func readMark(f io.ReaderAt, log *slog.Logger) (at uint64, err error) {
	b := make([]byte, markSize)
	n, err := f.ReadAt(b, 0)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return 0, err
	case n == markSize && b[0] == noteVersion && binary.BigEndian.Uint32(b[1:]) == crc32.Checksum(b[5:], castagnoli()):
		return binary.BigEndian.Uint64(b[5:]), nil
	case n > 0:
		log.Warn("mark of the raft log does not read", "file", markName)
	}
	return 0, nil
}

func (m *mark) write(at uint64) error {
	b := make([]byte, markSize)
	b[0] = noteVersion
	binary.BigEndian.PutUint64(b[5:], at)
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli()))
	m.at = at
	_, err := m.f.WriteAt(b, 0)
	return err
}

// raise notes that all up to an entry is stored. A mark that cannot be written
// stays where it is, which is true still.
func (m *mark) raise(at uint64) {
	if err := m.write(at); err != nil && !m.bad {
		m.bad = true
		m.log.Warn("end of the raft log not noted: damage there may go unnoticed", "file", markName, "err", err)
	}
}

// lower notes, durably, that the log is about to end earlier.
func (m *mark) lower(at uint64) error {
	if err := m.write(at); err != nil {
		return err
	}
	return m.f.Sync()
}

func (m *mark) close() error {
	if m == nil {
		return nil
	}
	return errors.Join(m.f.Sync(), m.f.Close())
}
