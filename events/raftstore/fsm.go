package raftstore

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// fsm is what raft's entries are applied to. All its methods are called from one
// goroutine of raft's.
type fsm struct {
	replica     *pebblestore.Replica
	snaps       *snapshots
	applied     watermark // index of the last entry with proposals; what Sync waits for
	fatal       func(why string)
	version     atomic.Uint32 // that the cluster writes, by what is applied
	understands uint32        // of versions, this build
	coming      sync.Map      // first byte of an entry's data, by address → who is told when it is there
	broken      error         // why nothing more is applied
	long        func() bool   // as many entries behind the newest snapshot are applied as make a new one due
	handed      uint64        // index of the last entry that raft gave, or has in a snapshot that was restored
	bytes       int           // of entries since the last snapshot
	large       chan struct{} // of capacity 1: they are more than maxLogBytes
}

// maxLogBytes bounds the entries between two snapshots, give or take what is applied
// while one is made: the disk holds them beside the log, and a start reads them.
const maxLogBytes = 512 << 20

var _ raft.BatchingFSM = (*fsm)(nil)

// taken is what became of an entry.
type taken struct {
	index    uint64
	void     bool // it did not count in its term
	outcomes []pebblestore.Outcome
	err      error // this member cannot go on
}

// expect has f call arrived when it comes to an entry that this member is about to
// give to raft, which hands on the same bytes. What it returns ends that.
func (f *fsm) expect(entry []byte, arrived func()) (forget func()) {
	f.coming.Store(&entry[0], arrived)
	return func() { f.coming.Delete(&entry[0]) }
}

// Apply implements raft.FSM.
func (f *fsm) Apply(e *raft.Log) any { return f.ApplyBatch([]*raft.Log{e})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (f *fsm) ApplyBatch(batch []*raft.Log) []any {
	f.handed = batch[len(batch)-1].Index
	out := make([]any, len(batch))
	entries := make([]pebblestore.Entry, 0, len(batch))
	results := make([]*taken, 0, len(batch))
	for i, e := range batch {
		if e.Type != raft.LogCommand || f.broken != nil {
			out[i] = &taken{index: e.Index, err: f.broken}
			continue
		}
		f.bytes += len(e.Data)
		if len(e.Data) > 0 {
			if arrived, ok := f.coming.LoadAndDelete(&e.Data[0]); ok {
				arrived.(func())()
			}
		}
		term, proposals, err := decodeEntry(e.Data)
		if err != nil {
			f.stop(fmt.Errorf("entry %d: %w", e.Index, err))
			out[i] = &taken{index: e.Index, err: f.broken}
			continue
		}
		t := &taken{index: e.Index, void: term != e.Term}
		if t.void {
			proposals = nil
		}
		out[i], results = t, append(results, t)
		entries = append(entries, pebblestore.Entry{Index: e.Index, Proposals: proposals})
	}
	f.apply(entries, results)
	return out
}

// apply hands entries to the replica and their outcomes to results.
func (f *fsm) apply(entries []pebblestore.Entry, results []*taken) {
	if len(entries) == 0 {
		return
	}
	outcomes, err := f.replica.Apply(entries)
	if err != nil && !errors.Is(err, events.ErrClosed) {
		f.stop(err)
	}
	for i, t := range results {
		if t.err = err; err == nil {
			t.outcomes = outcomes[i]
		}
	}
	if err != nil {
		return
	}
	f.applied.raise(entries[len(entries)-1].Index)
	if mayRaise(entries) {
		if err := f.readVersion(); err != nil {
			f.stop(err)
		}
	}
	if f.bytes > maxLogBytes && !f.repeats() {
		select {
		case f.large <- struct{}{}:
		default: // asked already
		}
	}
}

// stop ends this member's part: to pass over an entry would be to part from the
// others.
func (f *fsm) stop(why error) {
	if f.broken == nil {
		f.broken = fmt.Errorf("%w: %w", events.ErrReadOnly, why)
		f.fatal(why.Error())
	}
}

// repeats reports whether raft gives entries again that the replica had applied before it
// was opened.
func (f *fsm) repeats() bool { return f.handed < f.replica.Applied() }

// Snapshot implements raft.FSM: a checkpoint, on the disk when it returns. What is
// applied is not synced, so one that was made later could lack what raft is about
// to forget.
//
// There is none while entries are repeated: it would hold more than the entry that raft
// puts its name to. And none of what the newest one holds already, which raft asks for at
// every look while its log is empty, unless there is a log to be made shorter.
//
// Errors: raft.ErrNothingNewToSnapshot; those of the disk.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	newest := f.snaps.newest()
	if f.repeats() || newest != nil && newest.contents.applied == f.replica.Applied() && !f.long() {
		return nil, raft.ErrNothingNewToSnapshot
	}
	f.bytes = 0
	return f.snaps.checkpoint(f.replica)
}

// Restore implements raft.FSM: the snapshot, which is on this disk already, takes
// the replica's place.
func (f *fsm) Restore(r io.ReadCloser) error {
	if w, ok := r.(raft.ReadCloserWrapper); ok {
		r = w.WrappedReadCloser()
	}
	s, ok := r.(*snapshotReader)
	if !ok {
		return errors.New("snapshot is not one of this store's")
	}
	return f.restore(s.snap)
}

func (f *fsm) restore(s *snapshot) error {
	path, err := f.snaps.clone(s)
	if err == nil {
		err = f.replica.Replace(path)
	}
	if err == nil && f.replica.Root() != s.contents.root() {
		err = &events.CorruptError{
			Where:  "snapshot " + s.meta.ID,
			Reason: fmt.Sprintf("holds the log %s, its contents say %s", f.replica.Root(), s.contents.root()),
		}
	}
	if err == nil {
		f.handed = s.meta.Index
		f.replica.PassOver(s.contents.applied)
		err = f.readVersion()
	}
	if err != nil {
		f.stop(fmt.Errorf("restore snapshot %s: %w", s.meta.ID, err))
		return err
	}
	f.applied.raise(f.replica.Applied())
	return nil
}
