package pebblestore

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/events"
)

// slice is how long one contender runs before the next has its turn. The
// disk's speed wanders by a factor of two within seconds, so contenders are
// compared only side by side.
const slice = 200 * time.Millisecond

// benchEvent is an event of about 300 bytes with the metadata of a real one.
func benchEvent() events.Event {
	return events.Event{
		ID: events.NewEventID(), Type: "MessageHandled", ContentType: events.JSON,
		Data:     fmt.Appendf(nil, `{"message":"%0180d"}`, 7),
		Metadata: events.Metadata{CorrelationID: "conversation-0123456789", SchemaVersion: 1}.Encode(),
	}
}

// contender does durable writes; write is called by each writer with its number
// and how often it was called before.
type contender struct {
	name    string
	writers int
	write   func(writer, i int) error

	calls   []int // per writer
	done    int
	elapsed time.Duration
}

func (c *contender) rate() float64 { return float64(c.done) / c.elapsed.Seconds() }

// turn lets c run for one slice.
func (c *contender) turn(b *testing.B) {
	if c.calls == nil {
		c.calls = make([]int, c.writers)
	}
	var done atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for w := range c.writers {
		wg.Go(func() {
			for time.Since(began) < slice {
				if err := c.write(w, c.calls[w]); err != nil {
					b.Error(err)
					return
				}
				c.calls[w]++
				done.Add(1)
			}
		})
	}
	wg.Wait()
	c.elapsed += time.Since(began)
	c.done += int(done.Load())
}

// bareDisk writes 300 bytes and calls fdatasync, again and again.
func bareDisk(b *testing.B) *contender {
	f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	buf := make([]byte, 300)
	return &contender{name: "disk", writers: 1, write: func(int, int) error {
		if _, err := f.Write(buf); err != nil {
			return err
		}
		return unix.Fdatasync(int(f.Fd()))
	}}
}

func agentStreams(n int) []events.Stream {
	streams := make([]events.Stream, n)
	for i := range streams {
		streams[i] = events.AgentStream(events.NewAgentID())
	}
	return streams
}

func engine(b *testing.B, writers int) (*contender, *Store) {
	s, err := Open(b.TempDir(), DefaultOptions())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	streams := agentStreams(writers)
	return &contender{name: "engine", writers: writers, write: func(w, i int) error {
		expected := events.NoStream()
		if i > 0 {
			expected = events.Exact(events.Revision(i - 1))
		}
		_, err := s.Append(context.Background(), streams[w], expected, benchEvent())
		return err
	}}, s
}

// barePebble writes the keys of one append straight into Pebble, a commit each.
func barePebble(b *testing.B, writers int) *contender {
	opts := DefaultOptions().withDefaults()
	db, err := pebble.Open(b.TempDir(), (&Store{opts: opts, log: opts.Logger}).pebbleOptions())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	var next atomic.Uint64
	streams := agentStreams(writers)
	return &contender{name: "pebble", writers: writers, write: func(w, i int) error {
		pos, ev := events.Position(next.Add(1)), benchEvent()
		raw := appendRecord(nil, place{stream: streams[w], pos: pos, rev: events.Revision(i)}, &ev)
		r, err := decodeRecordAt(pos, raw)
		if err != nil {
			return err
		}
		batch := db.NewBatch()
		defer batch.Close()
		(&state{}).applyEvent(batch, streams[w], &entry{correlation: []byte("conversation-0123456789"), raw: raw, rec: r})
		mustSet(batch, appendHeadKey(nil, streams[w]), appendHead(nil, head{lastPos: pos}))
		mustSet(batch, appliedKey(), binary.BigEndian.AppendUint64(nil, uint64(pos)))
		return batch.Commit(pebble.Sync)
	}}
}

// BenchmarkAppend reports durable appends/s of 1 and 64 writers beside bare
// fsyncs/s of the same disk and bare Pebble writing the same keys. Each
// iteration gives each of the three one slice.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			log, s := engine(b, writers)
			disk, bare := bareDisk(b), barePebble(b, writers)
			for b.Loop() {
				disk.turn(b)
				log.turn(b)
				bare.turn(b)
			}
			st := s.Stats()
			b.ReportMetric(log.rate(), "appends/s")
			b.ReportMetric(float64(st.Appends)/float64(max(st.Syncs, 1)), "appends/sync")
			b.ReportMetric(disk.rate(), "disk-fsyncs/s")
			b.ReportMetric(log.rate()/disk.rate(), "x-disk")
			b.ReportMetric(bare.rate(), "pebble/s")
			b.ReportMetric(log.rate()/bare.rate(), "x-pebble")
		})
	}
}

// BenchmarkReplay reports how many events/s ReadAll and ReadStream decode from
// a log of 100,000 events that lies in tables, not in memory.
func BenchmarkReplay(b *testing.B) {
	const total, streams = 100_000, 100
	s, err := Open(b.TempDir(), DefaultOptions())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	names := agentStreams(streams)
	ctx := context.Background()
	for i := 0; i < total; i += 1000 {
		evs := make([]events.Event, 1000)
		for j := range evs {
			evs[j] = benchEvent()
		}
		if _, err := s.Append(ctx, names[i/1000%streams], events.Any(), evs...); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.db.Flush(); err != nil {
		b.Fatal(err)
	}
	reads := map[string]events.Filter{"all": {}, "category": {Categories: []events.Category{events.CategoryAgent}}}
	for name, filter := range reads {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				for _, err := range s.ReadAll(ctx, events.ReadAllOptions{Filter: filter}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
	b.Run("stream", func(b *testing.B) {
		n := 0
		for b.Loop() {
			for _, err := range s.ReadStream(ctx, names[n%streams], events.ReadStreamOptions{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
}
