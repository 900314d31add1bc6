package raftstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// Examined is what a member holds besides the events that it has applied.
type Examined struct {
	Entries uint64 // of the raft log, that were read
	Last    uint64 // index of the last entry, there or in a snapshot, that a quorum may have
	Term    uint64 // of that entry: of two logs the one with the higher term has what a quorum had, of equals the longer one
	Applied uint64 // index of the last entry that was applied
	// Beyond is how many entries come after Applied, and Events how many events they
	// append at most: some may be refused, and the others of a cluster may know that
	// some never counted. The next start applies those of a member alone.
	Beyond uint64
	Events uint64
	// Snapshots is how many were found, with files that are what they were: their tables
	// only where Examine was to read them.
	Snapshots uint64
}

// examineEvery is after how many entries Examine looks whether it should stop.
const examineEvery = 1024

// Examine reads the raft log and the snapshots of the member in dir and changes no byte
// of them; the tables of the snapshots, which are most of them, if deep is set. log is the
// member's log of events, opened read-only: as long as it is open, no member is. Each
// fault goes to report as a *events.CorruptError that names its place; the error is ctx's
// or the disk's.
func Examine(ctx context.Context, dir string, log *pebblestore.Store, o pebblestore.Options, deep bool, report func(error)) (Examined, error) {
	x := newExamination(ctx, dir, o, report)
	x.deep = deep
	index, done, err := log.AppliedEntry()
	if err != nil {
		return x.out, x.fault(err)
	}
	x.out.Applied, x.done = index, int(done)
	if err := x.identity(); err != nil {
		return x.out, err
	}
	if err := x.snapshot(log.Root().Next); err != nil {
		return x.out, err
	}
	if err := x.entries(); err != nil {
		return x.out, err
	}
	x.out.Last, x.out.Term = x.last, x.term
	if x.meta.Index > x.last || x.stale {
		x.out.Last, x.out.Term = x.meta.Index, x.meta.Term
	}
	return x.out, x.fault(checkExtent(x.first, x.last, x.meta.Index, x.held, index))
}

type examination struct {
	ctx    context.Context
	fs     vfs.FS
	log    *slog.Logger
	dir    string
	deep   bool
	report func(error)
	out    Examined

	done        int               // proposals that were applied of the entry after Applied
	meta        raft.SnapshotMeta // of the newest snapshot; zero without one
	held        uint64            // index of the last entry that it was made of
	first, last uint64            // entries of the raft log
	term        uint64            // of the last
	stale       bool              // what comes after the snapshot does not follow it: the next start drops it
	faults      int
}

func newExamination(ctx context.Context, dir string, o pebblestore.Options, report func(error)) *examination {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &examination{ctx: ctx, fs: o.FS, log: o.Logger, dir: dir, report: report}
}

// fault passes damage to report; any other error ends the examination.
func (x *examination) fault(err error) error {
	if errors.Is(err, events.ErrCorrupt) {
		x.faults++
		x.report(err)
		return nil
	}
	return err
}

// identity looks whether the member still knows who it is, and for whom it voted.
func (x *examination) identity() error {
	path := x.fs.PathJoin(x.dir, identityName)
	b, ok, err := readNote(x.fs, path)
	if err == nil && !ok {
		err = checkNoMember(x.fs, x.dir, path)
	}
	if err == nil && ok {
		var id *identity
		if id, err = readIdentity(b, x.fs, path); err == nil {
			err = checkHasVotes(x.fs, x.dir, id.cluster)
		}
	}
	return x.fault(err)
}

// snapshot finds the newest one, which holds events that were not applied when the
// power was cut between the two.
func (x *examination) snapshot(next events.Position) error {
	s := &snapshots{fs: x.fs, dir: x.fs.PathJoin(x.dir, snapshotsDir), log: x.log}
	names, err := x.fs.List(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var newest *snapshot
	for _, n := range names {
		if strings.HasPrefix(n, tempPrefix) {
			continue
		}
		snap, err := s.load(x.fs.PathJoin(s.dir, n))
		if err == nil && x.deep {
			err = inspect(x.ctx, x.fs, x.fs.PathJoin(snap.dir, filesName), snap.contents)
		}
		if err != nil {
			if err := x.fault(fmt.Errorf("snapshot %s: %w", n, err)); err != nil {
				return err
			}
			continue
		}
		x.out.Snapshots++
		if newest == nil || snap.meta.Index > newest.meta.Index {
			newest = snap
		}
	}
	if newest == nil {
		return nil
	}
	x.meta, x.held = newest.meta, newest.contents.applied
	if end := newest.contents.end.Next; end > next {
		x.out.Events += uint64(end - next)
	}
	return nil
}

// entries goes through the raft log as raft-wal would.
func (x *examination) entries() error {
	dir := x.fs.PathJoin(x.dir, raftDir)
	if _, err := x.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil // it was never opened as a member's, or checkExtent knows better
	}
	state, _, _, err := (&metaStore{fs: x.fs}).read(dir)
	if err != nil {
		return x.fault(err)
	}
	files := filer{segment.NewFiler(dir, stillFS{walFS{fs: x.fs}})}
	before := x.faults
	for _, info := range state.Segments {
		if err := x.segment(files, info); err != nil {
			return err
		}
	}
	if x.faults > before {
		return nil // what else is missing follows from it
	}
	stored, err := x.stored(dir)
	if err != nil {
		return err
	}
	return x.fault(checkStored(dir, x.last, stored))
}

func (x *examination) stored(dir string) (at uint64, err error) {
	f, err := x.fs.Open(x.fs.PathJoin(dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	at, err = readMark(f, x.log)
	return at, errors.Join(err, f.Close())
}

// segment goes through the entries of one file.
func (x *examination) segment(files filer, info types.SegmentInfo) error {
	name := "file " + x.fs.PathJoin(x.dir, raftDir, segment.FileName(info))
	var r types.SegmentReader
	last := info.MaxIndex
	if info.SealTime.IsZero() {
		w, err := files.RecoverTail(info)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the power was cut before it was made
		}
		if err != nil {
			return x.fault(damage(name, err))
		}
		r, last = w, w.LastIndex()
	} else {
		var err error
		if r, err = files.Open(info); err != nil {
			return x.fault(damage(name, err))
		}
	}
	var err error
	before := x.faults
	for i := max(info.MinIndex, info.BaseIndex); i <= last && err == nil; i++ {
		if i%examineEvery == 0 && x.ctx.Err() != nil {
			err = x.ctx.Err()
			break
		}
		err = x.fault(x.entry(r, i))
	}
	if err == nil && x.faults == before {
		err = x.frames(name, info, last)
	}
	return errors.Join(err, r.Close())
}

// frames looks at what is between the entries of a file.
func (x *examination) frames(name string, info types.SegmentInfo, last uint64) error {
	if last < info.BaseIndex {
		return nil // nothing was committed to it
	}
	f, err := x.fs.Open(x.fs.PathJoin(x.dir, raftDir, segment.FileName(info)))
	if err != nil {
		return err
	}
	err = checkFrames(io.NewSectionReader(f, 0, math.MaxInt64), info.BaseIndex, last)
	if err != nil {
		err = x.fault(damage(name, err))
	}
	return errors.Join(err, f.Close())
}

// entry reads one, and counts what it appends.
func (x *examination) entry(r types.SegmentReader, i uint64) error {
	if x.first == 0 {
		x.first = i
	}
	x.last = i
	where := fmt.Sprintf("raft entry %d", i)
	b, err := r.GetLog(i)
	if err != nil {
		return damage(where, err)
	}
	defer b.Close() //nolint:errcheck // gives a buffer back
	var e raft.Log
	if err := (&wal.BinaryCodec{}).Decode(b.Bs, &e); err != nil {
		return &events.CorruptError{Where: where, Reason: err.Error()}
	}
	if err := checkEntryAt(i, &e); err != nil {
		return err
	}
	x.out.Entries++
	x.term, x.stale = e.Term, x.stale || parts(x.meta, i, e.Term)
	if x.stale || i <= max(x.out.Applied, x.meta.Index) {
		return nil
	}
	x.out.Beyond++
	if e.Type != raft.LogCommand {
		return nil
	}
	return x.command(&e)
}

func (x *examination) command(e *raft.Log) error {
	term, proposals, err := decodeEntry(e.Data)
	if err != nil {
		return fmt.Errorf("raft entry %d: %w", e.Index, err)
	}
	if term != e.Term {
		return nil
	}
	if e.Index == x.out.Applied+1 {
		proposals = proposals[min(x.done, len(proposals)):]
	}
	for _, p := range proposals {
		n, err := pebblestore.ProposedEvents(p)
		if err != nil {
			return fmt.Errorf("raft entry %d: %w", e.Index, err)
		}
		x.out.Events += uint64(n)
	}
	return nil
}

// stillFS opens raft-wal's files to be read, those that it would write to as well.
type stillFS struct{ walFS }

// Create implements types.VFS.
func (stillFS) Create(string, string, uint64) (types.WritableFile, error) {
	return nil, fs.ErrPermission
}

// Delete implements types.VFS.
func (stillFS) Delete(string, string) error { return fs.ErrPermission }

// OpenWriter implements types.VFS. The system refuses to write to what it opened.
func (s stillFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := s.fs.Open(s.fs.PathJoin(dir, name))
	if err != nil {
		return nil, err
	}
	return &walFile{File: f, fs: s.fs, dir: dir}, nil
}
