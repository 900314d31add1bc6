package main

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/internal/telemetry"
)

// How a node keeps within its memory.
const (
	pressureEvery = 5 * time.Second // a look reads one file of the system
	pressureShare = 0.9             // of the limit, beyond which idle agents are put to sleep
)

// watchMemory keeps the process within its limit as far as idle agents can: it is a
// stage of the node. The collector is told what its heap may come to beside the
// guests' memories, of which it knows nothing.
func (n *node) watchMemory(ctx context.Context) error {
	limit := n.memoryLimit()
	if limit == 0 { // the system does not tell
		<-ctx.Done()
		return nil
	}
	before := debug.SetMemoryLimit(heapLimit(limit, 0))
	defer debug.SetMemoryLimit(before)
	tick := time.NewTicker(pressureEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			guests, _ := n.host.MemoryUsage() // an upper bound where the system does not tell
			debug.SetMemoryLimit(heapLimit(limit, guests.OffHeap()))
			n.relieve(ctx, limit, func() uint64 {
				promised, most := n.host.PromisedMemory()
				return max(telemetry.ResidentBytes(), promisedOf(limit, promised, most))
			})
		case <-ctx.Done():
			return nil
		}
	}
}

// heapLimit is what the collector's heap may come to beside the guests' memories and code:
// the rest of the share beyond which agents sleep. It is never below a quarter of
// the limit, or a node full of guests would do nothing but collect.
func heapLimit(limit uint64, guests int64) int64 {
	return max(int64(pressureShare*float64(limit))-guests, int64(limit/4))
}

// promisedOf is the part of the limit that guests' promises stand for: large guests
// may write all they have, and while idle ones hold what may be promised no other
// begins.
func promisedOf(limit uint64, promised, most int64) uint64 {
	if most <= 0 || promised <= 0 {
		return 0
	}
	return uint64(float64(limit) * float64(promised) / float64(most))
}

// relieve puts idle agents to sleep, those that matter least first, while the process
// has more than its share, and gives back what they leave.
func (n *node) relieve(ctx context.Context, limit uint64, resident func() uint64) {
	high := uint64(pressureShare * float64(limit))
	began, used := time.Now(), resident()
	if used <= high {
		return
	}
	slept := 0
	for _, p := range []events.Priority{events.Low, events.Normal, events.High, events.Critical} {
		rested, err := n.system.Rest(ctx, p)
		if err != nil {
			return // the node ends
		}
		slept += rested
		if rested > 0 {
			n.host.Trim(true, false) // images and code of modules whose agents all rest, too
			debug.FreeOSMemory()
		}
		if resident() <= high {
			break
		}
	}
	level := slog.LevelWarn
	if slept == 0 {
		level = slog.LevelDebug // it was said when the last of them went to sleep
	}
	n.log.Log(ctx, level, "memory is short: idle agents hibernate", slog.Uint64("used", used), slog.Uint64("limit", limit),
		slog.Int("agents", slept), slog.Uint64("left", resident()), slog.Duration("elapsed", time.Since(began)))
}
