package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/events/raftstore"
)

// engine is the log as a node uses it: pebblestore's alone, or a member of a group.
type engine interface {
	events.Store
	ReadOnly() bool
	Admit() error
	Disk() pebblestore.Disk
	DiskRose() <-chan struct{}
	Regained() <-chan struct{}
	Stats() pebblestore.Stats
	ReadCorrelation(ctx context.Context, correlation string, max int) iter.Seq2[events.Recorded, error]
	Scavenge(ctx context.Context, o pebblestore.ScavengeOptions) (pebblestore.Scavenged, error)
}

// leadWithin bounds the wait for a group of one to lead itself and apply what its log
// holds beyond its state: at most the entries between two snapshots.
const leadWithin = 5 * time.Minute

// openEngine opens the log in dir: as a group where it is one, or is to become one for
// good, and else alone.
func openEngine(ctx context.Context, dir string, bootstrap bool, opts pebblestore.Options) (engine, error) {
	_, isGroup, err := raftstore.LogDir(dir)
	if err != nil {
		return nil, err
	}
	if !isGroup && !bootstrap {
		s, err := pebblestore.Open(dir, opts)
		if err != nil {
			return nil, err // not s: it would be an engine that is nil
		}
		return s, nil
	}
	if err := raftstore.Adopt(dir, opts); err != nil {
		return nil, err
	}
	o := raftstore.DefaultOptions()
	o.Log = opts
	s, err := raftstore.Open(dir, o.Alone())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, leadWithin)
	defer cancel()
	// What was acknowledged may be in the raft log only: nobody reads before it is applied.
	if err := s.Sync(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open log in %s: %w", dir, err), s.Close())
	}
	return s, nil
}

// replicated is what a group's directory holds beyond the log of its state.
type replicated struct {
	Entries uint64 `json:"entries"`     // read, with checksums that are right
	Last    uint64 `json:"last_entry"`  // index
	Term    uint64 `json:"last_term"`   // of that entry
	Applied uint64 `json:"applied"`     // index of the last entry that the log holds the events of
	Beyond  uint64 `json:"not_applied"` // entries after that
	Events  uint64 `json:"events"`      // that those append, at most
	Snaps   uint64 `json:"snapshots"`   // that are sound
}

// examineGroup reads the replicated log in a data directory; nil without one. s is the
// log that was opened there. deep reads the tables of snapshots too.
func (a *app) examineGroup(ctx context.Context, dir string, s *pebblestore.Store, deep bool, report func(error)) (*replicated, error) {
	if _, isGroup, err := raftstore.LogDir(dir); err != nil || !isGroup {
		return nil, err
	}
	x, err := raftstore.Examine(ctx, dir, s, a.stoppedLog(), deep, report)
	return &replicated{x.Entries, x.Last, x.Term, x.Applied, x.Beyond, x.Events, x.Snapshots}, err
}

// tellReplicated prints what a replicated log holds; nil is none.
func (a *app) tellReplicated(r *replicated) {
	if r == nil {
		return
	}
	a.printf("Raft log:   %s, the last is number %d of term %d\n", count(r.Entries, "sound record"), r.Last, r.Term)
	a.printf("Snapshots:  %d\n", r.Snaps)
	if r.Beyond > 0 || r.Events > 0 {
		a.printf("To apply:   %s with at most %s: the server's next start does\n", count(r.Beyond, "record"), count(r.Events, "event"))
	}
}

// logPath is where the log in a data directory lies: a group has it one level below.
func logPath(dir string) (string, error) {
	path, isGroup, err := raftstore.LogDir(dir)
	if err != nil || !isGroup {
		return dir, err
	}
	return path, nil
}
