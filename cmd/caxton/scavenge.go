package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// scavenge drops, again and again, the data of events that nobody reads any more:
// snapshots but the newest, inbox entries that were handled, and, if events.retention
// says so, what agents no longer need of their histories. It does so too whenever the
// disk came to a higher level. It is a stage of the node.
func (n *node) scavenge(ctx context.Context) error {
	every := n.cfg.Events.ScavengeEvery
	if every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-n.store.DiskRose():
		case <-ctx.Done():
			return nil
		}
		for rose := true; rose; {
			n.scavengeOnce(ctx) // first: it makes room at once, and trimming takes its time
			var some bool
			if some, rose = untilRung(ctx, n.store.DiskRose(), n.trimOnce); some && !rose {
				n.scavengeOnce(ctx)
			}
		}
	}
}

// untilRung does something, and cancels it when the bell rings; it ends with it.
func untilRung(ctx context.Context, bell <-chan struct{}, do func(context.Context) bool) (done, rung bool) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan bool, 1)
	go func() { ended <- do(ctx) }()
	select {
	case done = <-ended:
		return done, false
	case <-bell:
		stop()
		return <-ended, true
	}
}

// trimOnce gives up what events.retention lets go, for a scavenge to drop. What a pass
// does not come to, the next one does. It reports whether there is something to drop.
func (n *node) trimOnce(ctx context.Context) bool {
	keep := n.cfg.Events.Retention
	if keep == 0 {
		return false
	}
	start := time.Now()
	done, err := n.system.TrimHistories(ctx, keep)
	attrs := []any{slog.Uint64("agents", done.Agents), slog.Uint64("events", done.Events), slog.Uint64("kept", done.Kept), slog.Uint64("settled", uint64(done.Settled)), slog.Duration("elapsed", time.Since(start))}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, events.ErrShuttingDown), errors.Is(err, events.ErrReadOnly), errors.Is(err, events.ErrEmergencyStop):
	case err != nil:
		n.log.Error("histories not trimmed", append(attrs, slog.Any("err", err))...)
	default:
		n.log.Info("histories trimmed", attrs...)
	}
	return done.Events > 0
}

// scavengeOnce logs how it went. A failure is no reason to stop the node: what
// was not dropped is dropped the next time, and damage is met by readers too.
func (n *node) scavengeOnce(ctx context.Context) {
	start := time.Now()
	var opts pebblestore.ScavengeOptions
	if keep := n.cfg.Events.Audit.Retention; keep > 0 {
		opts.Before = start.Add(-keep)
	}
	done, err := n.store.Scavenge(ctx, opts)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, events.ErrReadOnly):
	case err != nil:
		n.log.Error("scavenge failed", slog.Any("err", err))
	default:
		n.log.Info("log scavenged", slog.Uint64("streams", done.Streams), slog.Uint64("events", done.Events),
			slog.Uint64("bytes", done.Bytes), slog.Duration("elapsed", time.Since(start)))
	}
}
