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
// snapshots but the newest, and inbox entries that were handled. It does so too
// whenever the disk came to a higher level. It is a stage of the node.
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
		n.scavengeOnce(ctx)
	}
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
