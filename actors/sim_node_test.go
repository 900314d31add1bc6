package actors_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/wasmhost"
)

// node is one life of a node, from its start to its end or to a power cut.
type node struct {
	disk    *vfs.MemFS
	log     *pebblestore.Store
	store   *slowStore
	agents  *projections.Agents
	flight  *projections.InFlight
	inboxes *projections.Inboxes
	timers  *projections.Timers
	letters *projections.Letters
	talks   *projections.Conversations
	runner  *projections.Runner
	running *actors.RunLog // nil: none
	dir     string
	life    int
	sys     *actors.System
	*actors.Gateway

	survives atomic.Int64  // share of what is not synced that a cut leaves, in percent
	cut      chan struct{} // closed when the power is cut
	left     *vfs.MemFS    // the disk as the cut left it; set before cut is closed
	stop     func() error  // an orderly end, or the end of what a cut left behind
}

// simLog is the configuration of a log that is small enough to be made anew often.
func simLog(disk vfs.FS) pebblestore.Options {
	o := pebblestore.DefaultOptions()
	o.FS, o.CacheBytes, o.MemTableBytes, o.HeadCache, o.BallastBytes = disk, 1<<20, 1<<20, 1024, 0
	return o
}

// startNode starts a node on a disk, in its life-th life; what is in no log is in dir.
func startNode(disk *vfs.MemFS, host *wasmhost.Host, plan *plan, life int, dir string) (*node, error) {
	log, err := pebblestore.Open("log", simLog(disk))
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	n := &node{disk: disk, log: log, dir: dir, life: life, cut: make(chan struct{})}
	if plan.running {
		// A new file each time: what the life before writes after its end does not count.
		if n.running, err = openRunning(dir, life); err != nil {
			return nil, errors.Join(err, log.Close())
		}
	}
	n.store = newSlowStore(log, plan.seed+uint64(life)<<32, plan.slow)
	n.agents, n.flight, n.inboxes, n.timers = projections.NewAgents("here"), projections.NewInFlight(), projections.NewInboxes(), projections.NewTimers()
	storms, requests := projections.NewStorms(), projections.NewRequests()
	n.letters, n.talks = projections.NewLetters(), projections.NewConversations(simTalk)
	index := projections.NewMessages()
	quiet := slog.New(slog.DiscardHandler)
	n.runner = projections.NewRunner(n.store, quiet, index, n.agents, n.flight, n.inboxes, n.timers, n.talks, n.letters, storms, requests)
	n.sys, err = actors.New(plan.cfg, actors.Deps{
		Store: n.store, Host: host, Agents: n.agents, InFlight: n.flight, Inboxes: n.inboxes, Timers: n.timers,
		Talks: n.talks, Letters: n.letters, Storms: storms, Requests: requests, Messages: index, Runner: n.runner, Running: n.running, Log: quiet, Member: "here",
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start: %w", err), n.running.Close(), log.Close())
	}
	n.Gateway = n.sys.Gateway()
	n.run()
	return n, nil
}

// run starts what runs and makes stop.
func (n *node) run() {
	folds, stopFolds := context.WithCancel(context.Background())
	agents, stopAgents := context.WithCancel(context.Background())
	var ran, folded error
	var first, last sync.WaitGroup
	first.Go(func() { ran = n.sys.Run(agents) })
	last.Go(func() { folded = n.runner.Run(folds) })
	n.stop = sync.OnceValue(func() error {
		stopAgents()
		first.Wait()
		stopFolds()
		last.Wait()
		return errors.Join(ran, folded, n.running.Close(), n.log.Close())
	})
}

// powerCut keeps the disk as a power cut leaves it, with any part of what was not
// synced, and has nothing that the node does any more be seen.
func (n *node) powerCut(rng *rand.Rand) {
	n.left = n.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(n.survives.Load()), RNG: rng})
	n.keepRunning()
	close(n.cut) // before anyone meets a store that is dead, and wonders why
	n.store.die()
}

// Names of the files in which a life records which messages run, and in which it knows
// of lives before: a process that is gone writes no more, and one of this simulation does.
func runningFile(dir string, life int) string {
	return filepath.Join(dir, fmt.Sprint("running-", life))
}

// openRunning opens the record of a life, on what the one before left.
func openRunning(dir string, life int) (*actors.RunLog, error) {
	return actors.OpenRunLog(runningFile(dir, life))
}

// keepRunning copies the record for the next life, as a cut finds it.
func (n *node) keepRunning() {
	if n.running == nil {
		return
	}
	for _, end := range []string{"", ".suspects"} {
		b, err := os.ReadFile(runningFile(n.dir, n.life) + end)
		if err == nil {
			err = os.WriteFile(runningFile(n.dir, n.life+1)+end, b, 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			panic(err) // a temporary directory
		}
	}
}

// isCut reports whether the power is cut.
func (n *node) isCut() bool {
	select {
	case <-n.cut:
		return true
	default:
		return false
	}
}

// after returns when so much time is over, or the power is cut.
func (n *node) after(d time.Duration) {
	select {
	case <-time.After(d):
	case <-n.cut:
	}
}

// idle reports whether nothing is left to do.
func (n *node) idle(ctx context.Context) (left string, err error) {
	head, _, err := n.log.Head(ctx)
	switch {
	case err != nil:
		return "", err
	case n.runner.Position() < head && n.behind(ctx, head):
		return "projections are behind", nil
	case n.sys.QueueDepth() > 0:
		return fmt.Sprintf("%d wait in mailboxes", n.sys.QueueDepth()), nil
	case n.inboxes.Len() > 0:
		return fmt.Sprintf("%d wait in inboxes", n.inboxes.Len()), nil
	case n.flight.Len() > 0:
		return fmt.Sprintf("%d sends are in flight", n.flight.Len()), nil
	case n.talks.Len() > 0:
		return fmt.Sprintf("somebody waits in %d conversations", n.talks.Len()), nil
	case n.timers.Len() > 0:
		return fmt.Sprintf("%d timers are pending", n.timers.Len()), nil
	}
	return "", nil
}

// behind reports whether there is an event that the projections have not seen: the
// last ones of the log may be of streams that they do not follow.
func (n *node) behind(ctx context.Context, head events.Position) bool {
	for rec, err := range n.log.ReadAll(ctx, events.ReadAllOptions{From: n.runner.Position() + 1, Filter: projections.Followed(), Max: 1}) {
		return err != nil || rec.Position <= head
	}
	return false
}
