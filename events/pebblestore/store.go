package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// ErrInUse is a data directory that another process, or another Store of this
// one, has open.
var ErrInUse = errors.New("data directory in use by another process")

// ErrNoLog is a directory without a log, opened to look at it.
var ErrNoLog = errors.New("directory holds no log")

// Store is an events.Store on one disk. Open makes one.
type Store struct {
	dir      string
	opts     Options
	fs       vfs.FS
	log      *slog.Logger
	lock     *pebble.Lock // of dir, from before the first look into it until Close
	db       *pebble.DB
	readOnly bool      // Options.ReadOnly, or the directory was isolated before Open
	marker   isolation // that Open found

	propose Proposer // nil where this store decides by itself; set by OpenReplica

	queue   chan *request
	syncing chan *group   // closed by the committer
	quit    chan struct{} // closed by Close
	stopped chan struct{} // closed when the last goroutine is gone

	// durable is the position after the last synced event. Invariant: what is
	// below it never changes and was fsynced; no read goes beyond it.
	durable     atomic.Uint64
	durableRoot atomic.Pointer[Root] // of what is below durable; the syncer's
	advancing   sync.Mutex           // held while they move, and while isolated is set

	groups atomic.Uint64 // written; all of them can be seen in db

	isolated atomic.Bool // a write failed: nothing more is acknowledged
	ending   sync.Once   // of the process, after that
	opened   atomic.Bool // Pebble is open: from here on a failed write isolates
	abandon  atomic.Bool // Pebble itself gave up: do not touch it again
	closed   atomic.Bool

	low      *lowWater // nil when readOnly; the syncer's
	disk     *disk
	hub      hub
	counters counters

	// reading is held shared by every use of db that Close must wait for.
	reading  sync.RWMutex
	dbClosed bool // under reading

	closeOnce sync.Once
	closeErr  error
}

var _ events.Store = (*Store)(nil)

// Open opens the log in dir, and makes it if there is none.
//
// A directory that a failed write left isolated is opened read-only: Append is
// events.ErrReadOnly, and nothing is read beyond what its marker says was durable.
//
// Errors: *events.InvalidError (options), ErrInUse, ErrNoLog (with
// Options.ReadOnly), ErrReplicated (without it), *events.CorruptError.
func Open(dir string, opts Options) (*Store, error) { return openWith(dir, opts, nil) }

func openWith(dir string, opts Options, propose Proposer) (*Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	s := &Store{
		dir: dir, opts: opts, fs: opts.FS, log: opts.Logger, propose: propose,
		queue:   make(chan *request, queueLength),
		syncing: make(chan *group), // unbuffered: see committer
		quit:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if s.fs == nil {
		s.fs = vfs.Default
	}
	s.disk = newDisk(s.fs, dir, opts)
	next, hash, err := s.openDB()
	if err != nil {
		return nil, fmt.Errorf("open log in %s: %w", dir, err)
	}
	s.hub.init()
	s.start(next, hash)
	s.log.Info("log opened", "dir", dir, "next_position", uint64(s.limit()), "read_only", s.readOnly)
	return s, nil
}

// start runs the goroutines of s. They end in the order committer, syncer, hub,
// and the one that watches the disk, after Close closed quit.
func (s *Store) start(next events.Position, hash root) {
	var writers, notifier sync.WaitGroup
	if s.propose != nil { // a replica is written by Apply, and not synced
		writers.Go(func() { <-s.quit })
	} else {
		c := &committer{s: s, state: state{next: next, root: hash, heads: newHeads(s.db, s.opts.HeadCache)}}
		if !s.readOnly {
			s.low = openLowWater(s.fs, s.dir, s.log)
		}
		writers.Go(c.run)
		writers.Go(s.syncLoop)
	}
	if !s.readOnly {
		s.disk.renew()
	}
	s.disk.start()
	notifier.Go(s.hub.run)
	go func() {
		writers.Wait()
		s.hub.stop()
		notifier.Wait()
		s.disk.stop()
		close(s.stopped)
	}()
}

// openDB opens the log and returns where it ends.
func (s *Store) openDB() (next events.Position, hash root, err error) {
	if err := s.prepare(); err != nil {
		return 0, root{}, err
	}
	return s.openFiles()
}

// openFiles opens Pebble in a directory that is there and locked, once examine
// found nothing wrong with it. After an error neither holds any more.
func (s *Store) openFiles() (next events.Position, hash root, err error) {
	defer func() {
		if err == nil {
			return
		}
		if s.db != nil {
			err = errors.Join(err, s.db.Close())
		}
		err = errors.Join(err, s.lock.Close())
		s.db, s.lock = nil, nil
	}()
	sealed := &seals{fs: s.fs, dir: s.dir, log: s.log}
	found, err := s.examine(sealed)
	if err != nil {
		return 0, root{}, err
	}
	o := s.pebbleOptions()
	o.FS = &guardFS{FS: s.fs, dir: s.dir, failed: s.writeFailed, seals: sealed}
	s.db, err = openPebble(s.dir, o)
	s.opened.Store(err == nil)
	if err != nil {
		return 0, root{}, openError(err)
	}
	next, hash, err = s.loadApplied()
	if err = errors.Join(err, s.checkAlone()); err != nil {
		return 0, root{}, err
	}
	if next != found.next {
		return 0, root{}, &events.CorruptError{
			Where:  "end of the log",
			Reason: fmt.Sprintf("the next position is %d once the log is open, and was %d before", next, found.next),
		}
	}
	if err = s.serve(Root{Next: next, Hash: hash}); err != nil || s.readOnly {
		return next, hash, err
	}
	if err = sealed.sealOptions(); err == nil && !found.noted {
		err = s.makeNotes(sealed, next)
	}
	return next, hash, err
}

// prepare makes the directory if need be, locks it, and reads the marker.
func (s *Store) prepare() (err error) {
	if s.opts.ReadOnly {
		s.readOnly = true
		if err := holdsLog(s.fs, s.dir); err != nil {
			return err
		}
	} else if err := makeDir(s.fs, s.dir); err != nil {
		return err
	}
	if err := s.acquire(); err != nil {
		return err
	}
	var isolated bool
	if s.marker, isolated, err = marked(s.fs, s.dir); err != nil {
		return errors.Join(fmt.Errorf("read marker %s: %w", isolatedName, err), s.lock.Close())
	}
	if isolated {
		s.readOnly = true
		s.log.Error("log is isolated after a failed write: opened read-only; verify it, then remove the marker",
			"file", s.fs.PathJoin(s.dir, isolatedName), "err", s.marker.why)
		if s.marker.damaged {
			s.log.Warn("marker is damaged: it says only once how far the log was durable", "file", isolatedName)
		}
	}
	s.disk.begin(s.readOnly)
	return nil
}

// acquire locks the directory against other processes and other Stores of this.
func (s *Store) acquire() (err error) {
	s.lock, err = pebble.LockDirectory(s.dir, s.fs)
	if err == nil {
		return nil
	}
	if isLocked(err) {
		return ErrInUse
	}
	return fmt.Errorf("lock the directory: %w", err)
}

// openPebble is pebble.Open.
func openPebble(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	err = unpanicked(func() (err error) {
		db, err = pebble.Open(dir, o)
		return err
	})
	return db, err
}

// unpanicked makes an error of the panic with which Pebble answers some failed
// writes.
func unpanicked(do func() error) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		failure, ok := v.(error)
		if _, bug := v.(runtime.Error); !ok || bug {
			panic(v)
		}
		err = failure
	}()
	return do()
}

// isLocked tells the refusal of the directory's lock from other errors. Another
// process shows as EAGAIN or EACCES of fcntl(2); this process only by Pebble's
// text.
func isLocked(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) ||
		err.Error() == "lock held by current process"
}

// holdsLog tells a data directory from any other: opening one that is none would
// speak of Pebble's files.
func holdsLog(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, manifestPrefix) || strings.HasPrefix(n, manifestMarker) || strings.HasSuffix(n, ".sst") {
			return nil
		}
	}
	return ErrNoLog
}

func makeDir(fsys vfs.FS, dir string) error {
	if _, err := fsys.Stat(dir); err == nil {
		return nil
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Without this a power cut could take the whole new directory away.
	return syncDir(fsys, fsys.PathDir(dir))
}

// loadApplied reads where the log ends and checks that its last event is there
// and that none lies beyond: one look-up each, whatever the log's length.
func (s *Store) loadApplied() (next events.Position, hash root, err error) {
	value, closer, err := s.db.Get(appliedKey())
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case err != nil:
		return 0, root{}, translate("applied position", err)
	default:
		var rooted bool
		next, hash, rooted, err = parseApplied(value)
		if err = errors.Join(err, closer.Close()); err != nil {
			return 0, root{}, err
		}
		if !rooted {
			if hash, err = s.upgrade(next); err != nil {
				return 0, root{}, err
			}
		}
	}
	return next, hash, s.checkEnd(next)
}

// checkAlone refuses to write a replica's log without the others.
func (s *Store) checkAlone() error {
	if s.propose != nil || s.opts.ReadOnly {
		return nil
	}
	_, replicated, err := loadReplica(s.db)
	if err == nil && replicated {
		err = ErrReplicated
	}
	return err
}

// checkEnd looks whether the last record is the one before next.
func (s *Store) checkEnd(next events.Position) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindEvent}, UpperBound: []byte{kindEvent + 1}})
	if err != nil {
		return translate("end of the log", err)
	}
	found := events.Position(0)
	if it.Last() {
		k, err := parseKey(it.Key())
		if err != nil {
			return errors.Join(err, it.Close())
		}
		found = events.Position(k.number) + 1
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return translate("end of the log", err)
	}
	if found != next {
		return &events.CorruptError{
			Where:  "end of the log",
			Reason: fmt.Sprintf("the next position is %d by the log's count and %d by its records", next, found),
		}
	}
	return nil
}

// enter must come before a use of db outside the committer, leave after it. The
// time between is short: a reader holds no part of the database while its
// caller works.
func (s *Store) enter() error {
	s.reading.RLock()
	if s.dbClosed || s.closed.Load() {
		s.reading.RUnlock()
		return events.ErrClosed
	}
	return nil
}

func (s *Store) leave() { s.reading.RUnlock() }

// limit is the position after the last event that may be read.
func (s *Store) limit() events.Position { return events.Position(s.durable.Load()) }

// Sync implements events.Store. On one node an event is applied before anyone
// knows it to be committed, so there is nothing to wait for.
func (s *Store) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return events.ErrClosed
	}
	return nil
}

// Head implements events.Store.
func (s *Store) Head(ctx context.Context) (pos events.Position, ok bool, err error) {
	if err := s.Sync(ctx); err != nil {
		return 0, false, err
	}
	next := s.limit()
	if next == 0 {
		return 0, false, nil
	}
	return next - 1, true, nil
}

// ReadOnly reports whether appends are refused because a write to this
// directory failed, now or before Open.
func (s *Store) ReadOnly() bool { return s.readOnly || s.isolated.Load() }

// Close implements events.Store.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.closed.Store(true)
		close(s.quit)
		<-s.stopped
		s.reading.Lock()
		defer s.reading.Unlock()
		s.dbClosed = true
		var err error
		if s.low != nil {
			err = s.low.close()
		}
		if s.abandon.Load() || s.db == nil {
			return // Pebble stopped in the middle of something: closing it could hang
		}
		if err = errors.Join(err, s.db.Close(), s.lock.Close()); err != nil && !s.isolated.Load() {
			s.closeErr = fmt.Errorf("close log in %s: %w", s.dir, err)
		}
	})
	return s.closeErr
}
