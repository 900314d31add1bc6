package raftstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// Names in the data directory.
const (
	logDir       = "log"       // pebblestore's
	raftDir      = "raft"      // the raft log
	snapshotsDir = "snapshots" // one directory each
)

// Store is a member of a cluster, and the events.Store that all of its members
// are. Open makes one.
//
// Reads, subscriptions and Head are of what this member has applied; Sync brings it
// up to what was committed anywhere.
type Store struct {
	*pebblestore.Store // reads, and changes by way of propose
	replica            *pebblestore.Replica

	dir  string
	opts Options
	fs   vfs.FS
	log  *slog.Logger
	id   *identity
	logs *logs
	fsm  *fsm
	gate *gate
	raft *raft.Raft
	wire *wire

	queue   chan *pending
	settled chan struct{}   // closed when nothing that was queued is carried any more
	life    context.Context // ended by Close
	end     context.CancelFunc
	quit    <-chan struct{} // life's
	tasks   sync.WaitGroup
	moved   bell // rung when another leader is known

	talking lock // guards session
	session *session

	serving  lock // guards sessions, and orders what they propose
	sessions map[ServerID]*served

	changing sync.Mutex // held by a change of members

	verifying verifying

	// using counts who waits for raft to answer: it forgets what it has taken when it
	// is shut down. While it runs it answers all, at the latest when it finds that it
	// leads nobody.
	using uses

	failing   sync.Once
	failed    atomic.Pointer[string] // why this member stopped
	stopped   chan struct{}          // closed when it did
	closeOnce sync.Once
	closeErr  error
}

var _ events.Store = (*Store)(nil)

// Open opens the member in dir, and makes one there if there is none. It returns
// before a leader is known; appends wait for one.
//
// Errors: *events.InvalidError (options), pebblestore.ErrInUse,
// *events.CorruptError (what is damaged, by name), the disk's and the network's.
func Open(dir string, o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := newStore(dir, o.withDefaults())
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open member in %s: %w", dir, errors.Join(err, s.abandon()))
	}
	s.tasks.Go(s.gather)
	s.tasks.Go(s.compact)
	s.tasks.Go(s.raise)
	s.watchLeader()
	s.gate.run()
	s.log.Info("member opened", "dir", dir, "member", s.id.self.String(), "cluster", s.id.of().String(),
		"applied", s.fsm.applied.get(), "next_position", uint64(s.Root().Next))
	return s, nil
}

func newStore(dir string, o Options) *Store {
	s := &Store{
		dir: dir, opts: o, fs: o.Log.FS, log: o.Log.Logger,
		queue: make(chan *pending, queueLength), settled: make(chan struct{}),
		sessions: make(map[ServerID]*served), stopped: make(chan struct{}),
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.quit = s.life.Done()
	return s
}

// open brings up the disk's part, then raft.
func (s *Store) open() error {
	for _, step := range []func() error{s.checkDir, s.openDisk, s.endRecovery, s.openRaft} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// openDisk brings up what lies on the disk.
func (s *Store) openDisk() error {
	if err := makeDir(s.fs, s.dir); err != nil {
		return err
	}
	path := func(name string) string { return s.fs.PathJoin(s.dir, name) }
	var err error
	if s.replica, err = pebblestore.OpenReplica(path(logDir), s.opts.Log, s.propose); err != nil {
		return err // it holds the directory's lock: first
	}
	s.Store = s.replica.Store
	if s.id, err = openIdentity(s.fs, s.dir); err != nil {
		return err
	}
	snaps, err := openSnapshots(s.fs, path(snapshotsDir), s.log)
	if err != nil {
		return err
	}
	if err = checkHasVotes(s.fs, s.dir, s.id.of()); err != nil {
		return err
	}
	if s.logs, err = openLogs(s.fs, path(raftDir), s.opts, s.fail); err != nil {
		return err
	}
	s.logs.snapshot = snaps.index
	s.fsm = &fsm{replica: s.replica, snaps: snaps, fatal: s.fail, understands: s.opts.version, large: make(chan struct{}, 1), long: s.isLong}
	if err := s.fsm.readVersion(); err != nil {
		return err
	}
	return s.reconcile()
}

// isLong reports whether SnapshotEvery entries behind the newest snapshot are applied.
func (s *Store) isLong() bool {
	running := s.wire.raft.Load()
	return running != nil && running.AppliedIndex() >= s.fsm.snaps.index()+s.opts.SnapshotEvery
}

// openRaft connects the member with the others, and makes a cluster of it if that
// is wanted.
func (s *Store) openRaft() error {
	listen, err := s.opts.Network.Listen(s.opts.Address)
	if err != nil {
		return err
	}
	s.gate = newGate(s.opts, s.id, listen)
	s.gate.state, s.gate.begin, s.gate.empty, s.gate.member, s.gate.tooOld = s.state, s.beginSession, s.empty, s.isMember, s.tooOld
	s.wire = newWire(s, raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: s.gate, MaxPool: 3, Timeout: s.patience(), Logger: newLogger(s.log), MsgpackUseNewTimeFormat: true,
		// No pipelines: a leader that steps down while one is full leaves a goroutine
		// in it for ever, and Shutdown waits for that.
		MaxRPCsInFlight: 1,
	}))
	config := s.config()
	if err := s.bootstrap(config); err != nil {
		return err
	}
	cache, err := raft.NewLogCache(cachedEntries, s.logs)
	if err != nil {
		return err
	}
	if s.raft, err = raft.NewRaft(config, s.fsm, cache, s.logs, s.fsm.snaps, s.wire); err == nil {
		s.wire.raft.Store(s.raft)
	}
	return err
}

const (
	cachedEntries    = 256 // that followers are sent without reading the disk
	entriesInRequest = 16  // of raft: at most 16 MiB and a large append
	// commitEvery is how long a follower may not know of a commit that nothing
	// followed; an append by a follower waits for it.
	commitEvery = 10 * time.Millisecond
)

func (s *Store) config() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = s.raftID()
	c.Logger = newLogger(s.log)
	c.HeartbeatTimeout, c.ElectionTimeout = s.opts.Heartbeat, s.opts.Heartbeat
	c.LeaderLeaseTimeout = s.opts.Heartbeat / leaseOfHeartbeats
	c.CommitTimeout = min(commitEvery, s.opts.Heartbeat/10)
	c.MaxAppendEntries, c.BatchApplyCh = entriesInRequest, true
	c.SnapshotThreshold, c.TrailingLogs = s.opts.SnapshotEvery, s.opts.Trailing
	c.SnapshotInterval = snapshotLooks * s.opts.Heartbeat
	c.NoSnapshotRestoreOnStart, c.ShutdownOnRemove, c.NoLegacyTelemetry = true, false, true
	return c
}

// patience is how long a request to another member may take.
func (s *Store) patience() time.Duration { return 5 * s.opts.Heartbeat }

func (s *Store) raftID() raft.ServerID { return raft.ServerID(s.id.self.String()) }

// state is what this member tells whoever greets it.
func (s *Store) state() answer {
	return answer{
		version: s.opts.version, cluster: s.id.of(), from: s.id.self,
		last: s.raft.LastIndex(), applied: s.fsm.applied.get(), term: s.raft.CurrentTerm(),
	}
}

// empty reports whether this member holds nothing that a cluster could overwrite.
func (s *Store) empty() bool { return s.raft.LastIndex() == 0 && s.Root().Next == 0 }

// fail ends this member's part for good: what it would write or say from here on
// may not be what its disk holds.
func (s *Store) fail(why string) {
	s.failing.Do(func() {
		s.failed.Store(&why)
		close(s.stopped)
		s.opts.Log.Fatal(fmt.Sprintf("member in %s failed: %s", s.dir, why))
	})
}

// Failed returns why this member stopped for good; ok is false while it goes on.
func (s *Store) Failed() (why string, ok bool) {
	if p := s.failed.Load(); p != nil {
		return *p, true
	}
	return "", false
}

// compact makes a snapshot when the entries since the last one are large: raft counts
// them only.
func (s *Store) compact() {
	for {
		select {
		case <-s.fsm.large:
		case <-s.quit:
			return
		}
		if !s.useRaft() {
			return
		}
		err := s.raft.Snapshot().Error()
		s.release()
		if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
			s.log.Warn("no snapshot of a large raft log", "err", err)
		}
	}
}

// watchLeader rings moved when raft says that another leader is known.
func (s *Store) watchLeader() {
	seen := make(chan raft.Observation, 1)
	o := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	s.raft.RegisterObserver(o)
	s.tasks.Go(func() {
		defer s.raft.DeregisterObserver(o)
		for {
			select {
			case <-seen:
				s.moved.ring()
			case <-s.quit:
				return
			}
		}
	})
}

func (s *Store) leaderMoved() <-chan struct{} { return s.moved.hear() }

// ReadOnly reports whether this member takes no appends because it failed.
func (s *Store) ReadOnly() bool {
	_, failed := s.Failed()
	return failed || s.Store.ReadOnly()
}

// Close implements events.Store. The member leaves no goroutine behind; to the
// others it is away.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.end() // first: a session that is being opened ends with it
		s.endSession()
		if err := s.abandon(); err != nil {
			s.closeErr = fmt.Errorf("close member in %s: %w", s.dir, err)
		}
	})
	return s.closeErr
}

// abandon ends all there is of a store, opened as a whole or not.
func (s *Store) abandon() error {
	s.end()
	s.using.finish() // returns when raft owes no answer
	var errs []error
	var ended raft.Future
	if s.raft != nil {
		ended = s.raft.Shutdown()
	}
	if s.wire != nil {
		errs = append(errs, s.wire.Close()) // and the gate with it: raft may be sending a snapshot
	}
	if ended != nil {
		errs = append(errs, ended.Error())
	}
	s.tasks.Wait()
	if s.logs != nil {
		errs = append(errs, s.logs.close())
	}
	if s.replica != nil {
		errs = append(errs, s.replica.Close())
	}
	err := errors.Join(errs...)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// useRaft reports whether raft may be asked something; if so release follows.
func (s *Store) useRaft() bool { return s.life.Err() == nil && s.using.begin() }

func (s *Store) release() { s.using.end() }

// bell wakes all who listen, each time it rings.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *bell) hear() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
