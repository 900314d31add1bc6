package pebblestore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// growthSizes are the lengths, in events, of the logs that BenchmarkGrowth
// compares; with CAXTON_LONG=1 the last of them too, which takes minutes to
// build and 7 GB of disk.
var growthSizes = []int{100_000, 1_000_000, 10_000_000}

// grown is one log of the comparison with what was measured on it.
type grown struct {
	events  int
	dir     string
	s       *Store
	streams []events.Stream
	took    map[string][]time.Duration // by operation
	suffix  string                     // of the names of operations from now on
}

// BenchmarkGrowth builds logs of growing length and reports, for each operation,
// the time it takes on the longest as a multiple of what it takes on the
// shortest. The logs take turns, so that the disk's moods meet all alike.
func BenchmarkGrowth(b *testing.B) {
	sizes := growthSizes
	if os.Getenv("CAXTON_LONG") == "" {
		sizes = sizes[:2]
	}
	var logs []*grown
	for _, n := range sizes {
		logs = append(logs, grow(b, n))
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		for range 200 {
			for _, g := range logs {
				g.measure(b, rng)
			}
		}
	}
	for range 9 {
		for _, g := range logs {
			g.reopen(b, DefaultOptions())
		}
	}
	// A log that fits the cache is read from memory and a longer one is not.
	// With next to no cache all are read alike, and what is left is growth.
	uncached := DefaultOptions()
	uncached.CacheBytes = minCacheBytes
	for _, g := range logs {
		g.suffix = "-uncached"
		g.reopen(b, uncached)
	}
	for range 200 * 3 {
		for _, g := range logs {
			g.measure(b, rng)
		}
	}
	report(b, logs)
}

func report(b *testing.B, logs []*grown) {
	var table []string
	for _, op := range []string{"append", "open", "read-middle", "read-stream", "read-middle-uncached", "read-stream-uncached"} {
		for _, p := range []int{50, 99} {
			if op == "open" && p == 99 {
				continue // of 9 it would be the worst
			}
			first := logs[0].percentile(op, p)
			line := fmt.Sprintf("%-20s p%d", op, p)
			for _, g := range logs {
				line += fmt.Sprintf("  %s of %d", g.percentile(op, p).Round(time.Microsecond), g.events)
			}
			table = append(table, line)
			most := logs[len(logs)-1].percentile(op, p)
			b.ReportMetric(most.Seconds()/first.Seconds(), fmt.Sprintf("x-%s-p%d", op, p))
		}
	}
	b.Log("\n" + strings.Join(table, "\n"))
}

// grow builds a log of n events in streams of 100, a stream at a time in appends
// of 50.
func grow(b *testing.B, n int) *grown {
	b.Helper()
	g := &grown{events: n, dir: b.TempDir(), took: make(map[string][]time.Duration)}
	opts := DefaultOptions()
	var err error
	if g.s, err = Open(g.dir, opts); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { g.s.Close() })
	const each, streams = 50, 64
	for done := 0; done < n; done += 2 * each * streams {
		names := agentStreams(streams)
		errs := make(chan error, streams)
		for _, name := range names { // many at once, so that they share syncs
			go func() { errs <- g.fill(name, 2, each) }()
		}
		for range names {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		if len(g.streams) < 10_000 {
			g.streams = append(g.streams, names...)
		}
	}
	return g
}

func (g *grown) fill(stream events.Stream, appends, each int) error {
	for range appends {
		evs := make([]events.Event, each)
		for i := range evs {
			evs[i] = benchEvent()
		}
		if _, err := g.s.Append(context.Background(), stream, events.Any(), evs...); err != nil {
			return err
		}
	}
	return nil
}

func (g *grown) time(op string, f func() error) error {
	began := time.Now()
	err := f()
	g.took[op+g.suffix] = append(g.took[op+g.suffix], time.Since(began))
	return err
}

// measure does each operation once: an append to one of many streams, a read of
// 100 events in the middle of the log, and a read of a stream.
func (g *grown) measure(b *testing.B, rng *rand.Rand) {
	stream := g.streams[rng.IntN(len(g.streams))]
	read := func(seq func(func(events.Recorded, error) bool)) func() error {
		return func() error {
			n := 0
			for _, err := range seq {
				if err != nil {
					return err
				}
				n++
			}
			if n < 100 {
				return fmt.Errorf("%d events read", n)
			}
			return nil
		}
	}
	ctx := context.Background()
	middle := events.ReadAllOptions{From: events.Position(g.events/4 + rng.IntN(g.events/2)), Max: 100}
	for _, err := range []error{
		g.time("append", func() error {
			_, err := g.s.Append(ctx, stream, events.Any(), benchEvent())
			return err
		}),
		g.time("read-middle", read(g.s.ReadAll(ctx, middle))),
		g.time("read-stream", read(g.s.ReadStream(ctx, stream, events.ReadStreamOptions{Max: 100}))),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
}

func (g *grown) reopen(b *testing.B, opts Options) {
	if err := g.s.Close(); err != nil {
		b.Fatal(err)
	}
	err := g.time("open", func() (err error) {
		g.s, err = Open(g.dir, opts)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func (g *grown) percentile(op string, p int) time.Duration {
	all := slices.Sorted(slices.Values(g.took[op]))
	return all[min(len(all)*p/100, len(all)-1)]
}
