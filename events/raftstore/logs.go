package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"

	"github.com/caxton-run/caxton/events"
)

// logs is the raft log and raft's stable values on one disk, with what raft-wal
// leaves out: an entry is checked when it is read, and a log whose end was cut off
// is told from one that was not written.
//
// A failed write is fatal: raft would step down and try again, and after a failed
// sync nobody knows what is on the disk.
type logs struct {
	wal      *wal.WAL
	fatal    func(why string)
	snapshot func() uint64 // index of the last entry in the newest snapshot, 0 without one; nil never has one

	// writing is held while entries are stored, and while they are deleted: raft does
	// the second beside the first when it has made a snapshot. It guards mark.
	writing lock
	mark    *mark
}

var (
	_ raft.LogStore          = (*logs)(nil)
	_ raft.StableStore       = (*logs)(nil)
	_ raft.MonotonicLogStore = (*logs)(nil)
)

// openLogs opens the raft log in dir, and makes it if there is none.
func openLogs(fsys vfs.FS, dir string, o Options, fatal func(string)) (*logs, error) {
	if err := makeDir(fsys, dir); err != nil {
		return nil, err
	}
	w, err := wal.Open(dir,
		wal.WithMetaStore(&metaStore{fs: fsys}), wal.WithSegmentFiler(filer{segment.NewFiler(dir, walFS{fsys, o.SegmentBytes / aheadOfSegment})}),
		wal.WithSegmentSize(o.SegmentBytes), wal.WithLogger(newLogger(o.Log.Logger)))
	if err != nil {
		return nil, damage("raft log in "+dir, err)
	}
	l := &logs{wal: w, fatal: fatal}
	if l.mark, err = openMark(fsys, dir, o.Log.Logger); err == nil {
		err = l.checkEnd(dir)
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// damage makes a *events.CorruptError of raft-wal's errors about its files. The end of a
// file is one: raft-wal reads what its notes say is there.
func damage(where string, err error) error {
	if errors.Is(err, wal.ErrCorrupt) || errors.Is(err, wal.ErrNotFound) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &events.CorruptError{Where: where, Reason: err.Error()}
	}
	return fmt.Errorf("%s: %w", where, err)
}

// checkEnd holds the log's end against the mark: raft-wal takes damage in its last
// batch for one that was never written as a whole.
func (l *logs) checkEnd(dir string) error {
	last, err := l.wal.LastIndex()
	if err != nil {
		return err
	}
	return checkStored(dir, last, l.mark.at)
}

func checkStored(dir string, last, stored uint64) error {
	if last >= stored {
		return nil
	}
	return &events.CorruptError{
		Where:  "end of the raft log in " + dir,
		Reason: fmt.Sprintf("the last entry is %d, and all up to %d were stored", last, stored),
	}
}

// close releases the files. raft must have ended.
func (l *logs) close() error { return errors.Join(l.wal.Close(), l.mark.close()) }

// checksum covers all of an entry that matters.
func checksum(e *raft.Log) uint32 {
	var b [17]byte
	binary.BigEndian.PutUint64(b[:], e.Index)
	binary.BigEndian.PutUint64(b[8:], e.Term)
	b[16] = byte(e.Type)
	return crc32.Update(crc32.Checksum(b[:], castagnoli()), castagnoli(), e.Data)
}

// checkEntryAt is checkEntry of what was read as the entry of an index.
func checkEntryAt(index uint64, e *raft.Log) error {
	if e.Index != index {
		return &events.CorruptError{Where: fmt.Sprintf("raft entry %d", index), Reason: fmt.Sprintf("holds entry %d", e.Index)}
	}
	return checkEntry(e)
}

// checkEntry compares an entry with the checksum that its leader gave it.
func checkEntry(e *raft.Log) error {
	where := fmt.Sprintf("raft entry %d", e.Index)
	if len(e.Extensions) != 4 {
		return &events.CorruptError{Where: where, Reason: "has no checksum"}
	}
	if want, got := binary.BigEndian.Uint32(e.Extensions), checksum(e); want != got {
		return &events.CorruptError{Where: where, Reason: fmt.Sprintf("CRC-32C is %08x, the entry says %08x", got, want)}
	}
	return nil
}

// FirstIndex implements raft.LogStore.
func (l *logs) FirstIndex() (uint64, error) { return l.wal.FirstIndex() }

// LastIndex implements raft.LogStore.
func (l *logs) LastIndex() (uint64, error) { return l.wal.LastIndex() }

// extent returns the first and the last index; zeros for an empty log.
func (l *logs) extent() (first, last uint64, err error) {
	if first, err = l.wal.FirstIndex(); err == nil {
		last, err = l.wal.LastIndex()
	}
	return first, last, err
}

// IsMonotonic implements raft.MonotonicLogStore.
func (l *logs) IsMonotonic() bool { return true }

// GetLog implements raft.LogStore. Damage ends this member: raft would panic, or go
// on without the entry.
func (l *logs) GetLog(index uint64, e *raft.Log) error {
	err := l.read(index, e)
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) && !errors.Is(err, wal.ErrClosed) {
		l.fatal(err.Error())
	}
	return err
}

// read reads an entry of the log. raft-wal still gives those of its last file that were
// removed from the log's beginning (v0.4.0). The time at which a leader appended it, which
// no checksum covers and nobody uses, stays on this disk.
func (l *logs) read(index uint64, e *raft.Log) error {
	if first, err := l.wal.FirstIndex(); err != nil {
		return err
	} else if index < first {
		return raft.ErrLogNotFound
	}
	if err := l.wal.GetLog(index, e); err != nil {
		if errors.Is(err, raft.ErrLogNotFound) {
			return raft.ErrLogNotFound
		}
		return damage(fmt.Sprintf("raft entry %d", index), err)
	}
	e.AppendedAt = time.Time{}
	return checkEntryAt(index, e)
}

// term returns the term of an entry.
func (l *logs) term(index uint64) (uint64, error) {
	var e raft.Log
	err := l.read(index, &e)
	return e.Term, err
}

// StoreLog implements raft.LogStore.
func (l *logs) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// StoreLogs implements raft.LogStore. An entry from another member has its
// checksum; one that came to harm on the way is refused. A new one gets it here.
func (l *logs) StoreLogs(entries []*raft.Log) error {
	for _, e := range entries {
		if len(e.Extensions) == 0 {
			e.Extensions = binary.BigEndian.AppendUint32(nil, checksum(e))
		} else if err := checkEntry(e); err != nil {
			return err
		}
	}
	if len(entries) == 0 {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.wal.StoreLogs(entries); err != nil {
		return l.failed("write the raft log", err)
	}
	l.mark.raise(entries[len(entries)-1].Index)
	return nil
}

// DeleteRange implements raft.LogStore. The mark is lowered first: a crash must
// not leave one that speaks of entries that were meant to go.
//
// From entries that are in a snapshot it goes no further than that. Raft empties the log
// when it has taken a snapshot from its leader, but goes on with the end that the log had:
// those of an old leader that come after the snapshot it would look for, and never find.
// They stay until the leader's take their place, as they would without a snapshot.
func (l *logs) DeleteRange(low, high uint64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.snapshot != nil {
		if at := l.snapshot(); low <= at {
			high = min(high, at)
		}
	}
	first, last, err := l.extent()
	if err != nil {
		return err
	}
	if high >= last && low <= last {
		kept := uint64(0) // all of the log goes
		if low > first {
			kept = low - 1
		}
		if err := l.mark.lower(kept); err != nil {
			return l.failed("lower the mark of the raft log", err)
		}
	}
	if err := l.wal.DeleteRange(low, high); err != nil {
		return l.failed("cut the raft log", err)
	}
	return nil
}

func (l *logs) failed(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	if !errors.Is(err, wal.ErrClosed) {
		l.fatal(err.Error())
	}
	return err
}

// Set implements raft.StableStore.
func (l *logs) Set(key, value []byte) error {
	if err := l.wal.Set(key, value); err != nil {
		return l.failed("note term or vote", err)
	}
	return nil
}

// Get implements raft.StableStore.
func (l *logs) Get(key []byte) ([]byte, error) { return l.wal.Get(key) }

// SetUint64 implements raft.StableStore.
func (l *logs) SetUint64(key []byte, value uint64) error {
	if err := l.wal.SetUint64(key, value); err != nil {
		return l.failed("note term or vote", err)
	}
	return nil
}

// GetUint64 implements raft.StableStore.
func (l *logs) GetUint64(key []byte) (uint64, error) { return l.wal.GetUint64(key) }
