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

// logPath is where the log in a data directory lies: a group has it one level below.
func logPath(dir string) (string, error) {
	path, isGroup, err := raftstore.LogDir(dir)
	if err != nil || !isGroup {
		return dir, err
	}
	return path, nil
}
