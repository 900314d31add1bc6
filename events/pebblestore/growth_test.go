package pebblestore

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"runtime/debug"
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
	suffix  string                     // of the names of reads from now on
}

// growthTurns is how often each operation is done on each log.
const growthTurns = 2000

// BenchmarkGrowth builds logs of growing length and reports, for each operation,
// the time it takes on the longest as a multiple of what it takes on the
// shortest. The logs take turns, so that the disk's moods meet all alike.
func BenchmarkGrowth(b *testing.B) {
	// A server's heap is large beside what a read allocates; this process's is not, and
	// would be collected at every hundredth read, as the log that is read or another needs.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	sizes := growthSizes
	if os.Getenv("CAXTON_LONG") == "" {
		sizes = sizes[:2]
	}
	var logs []*grown
	for _, n := range sizes {
		logs = append(logs, grow(b, n))
	}
	for b.Loop() {
		takeTurns(b, logs, "append", growthTurns)
		for range 9 {
			for _, g := range logs {
				g.suffix = ""
				g.reopen(b, DefaultOptions())
			}
		}
		readEach(b, logs)
		// A log that fits the cache is read from memory and a longer one is not.
		// With next to no cache all are read alike, and what is left is growth.
		uncached := DefaultOptions()
		uncached.CacheBytes = minCacheBytes
		for _, g := range logs {
			g.suffix = uncachedSuffix
			g.reopen(b, uncached)
		}
		readEach(b, logs)
	}
	report(b, logs)
}

// uncachedSuffix ends the names of reads with next to no cache.
const uncachedSuffix = "-uncached"

// reads are the operations that change nothing.
func reads() []string { return []string{"read-middle", "read-anywhere", "read-stream"} }

// readEach measures one read after the other: each has the cache for itself.
func readEach(b *testing.B, logs []*grown) {
	for _, op := range reads() {
		takeTurns(b, logs, op, growthTurns/2) // for the cache
		for _, g := range logs {
			delete(g.took, op+g.suffix)
		}
		takeTurns(b, logs, op, growthTurns)
	}
}

// takeTurns does an operation on each log in turn.
func takeTurns(b *testing.B, logs []*grown, op string, turns int) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range turns {
		for _, g := range logs {
			if err := g.time(op, g.operation(op, rng)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func report(b *testing.B, logs []*grown) {
	var table []string
	ops := []string{"append", "open"}
	for _, suffix := range []string{"", uncachedSuffix} {
		for _, op := range reads() {
			ops = append(ops, op+suffix)
		}
	}
	for _, op := range ops {
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

// operation is an append to one of many streams, a read of 100 events around the middle
// of the log, one anywhere in its middle half, or a read of a stream. Around the middle
// all logs have as much to read as the smallest, so that what is read fits the cache of
// all or of none, and the history behind it is what differs; anywhere, a longer log is
// also more to keep in the cache.
func (g *grown) operation(op string, rng *rand.Rand) func() error {
	ctx := context.Background()
	stream := g.streams[rng.IntN(len(g.streams))]
	within := func(span int) events.ReadAllOptions {
		return events.ReadAllOptions{From: events.Position((g.events-span)/2 + rng.IntN(span)), Max: 100}
	}
	switch op {
	case "append":
		return func() error {
			_, err := g.s.Append(ctx, stream, events.Any(), benchEvent())
			return err
		}
	case "read-middle":
		return hundred(g.s.ReadAll(ctx, within(growthSizes[0]/2)))
	case "read-anywhere":
		return hundred(g.s.ReadAll(ctx, within(g.events/2)))
	default:
		return hundred(g.s.ReadStream(ctx, stream, events.ReadStreamOptions{Max: 100}))
	}
}

// hundred reads 100 events.
func hundred(seq iter.Seq2[events.Recorded, error]) func() error {
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
