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

// benchEvent is an event of about 300 bytes with the metadata of a real one.
func benchEvent(correlation string) events.Event {
	return events.Event{
		ID: events.NewEventID(), Type: "MessageHandled", ContentType: events.JSON,
		Data:     []byte(fmt.Sprintf(`{"message":"%0180d"}`, 7)),
		Metadata: events.Metadata{CorrelationID: correlation, SchemaVersion: 1}.Encode(),
	}
}

// floor measures the bare disk: sequential writes of 300 bytes, each followed
// by fdatasync.
func floor(b *testing.B, dir string) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	buf, n, began := make([]byte, 300), 0, time.Now()
	for time.Since(began) < time.Second {
		if _, err := f.Write(buf); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		n++
	}
	return float64(n) / time.Since(began).Seconds()
}

// eachWriter spreads b.N calls over writers goroutines and returns calls/s.
func eachWriter(b *testing.B, writers int, call func(writer, i int) error) float64 {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	began := time.Now()
	for w := range writers {
		wg.Go(func() {
			for i := 0; left.Add(-1) >= 0; i++ {
				if err := call(w, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	rate := float64(b.N) / time.Since(began).Seconds()
	b.StopTimer()
	return rate
}

func appendRate(b *testing.B, dir string, writers int) float64 {
	b.Helper()
	s, err := Open(dir, DefaultOptions())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	streams := make([]events.Stream, writers)
	for i := range streams {
		streams[i] = events.AgentStream(events.NewAgentID())
	}
	rate := eachWriter(b, writers, func(w, i int) error {
		expected := events.NoStream()
		if i > 0 {
			expected = events.Exact(events.Revision(i - 1))
		}
		_, err := s.Append(context.Background(), streams[w], expected, benchEvent("c"))
		return err
	})
	st := s.Stats()
	b.ReportMetric(float64(st.Appends)/float64(max(st.Syncs, 1)), "appends/sync")
	return rate
}

// bareRate writes the keys of one append straight into Pebble, a commit each.
func bareRate(b *testing.B, dir string, writers int) float64 {
	b.Helper()
	shell := &Store{opts: DefaultOptions().withDefaults(), log: DefaultOptions().withDefaults().Logger}
	db, err := pebble.Open(dir, shell.pebbleOptions())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var next atomic.Uint64
	streams := make([]events.Stream, writers)
	for i := range streams {
		streams[i] = events.AgentStream(events.NewAgentID())
	}
	return eachWriter(b, writers, func(w, i int) error {
		pos := events.Position(next.Add(1))
		ev := benchEvent("c")
		batch := db.NewBatch()
		defer batch.Close()
		st := &state{}
		raw := appendRecord(nil, place{stream: streams[w], pos: pos, rev: events.Revision(i)}, &ev)
		r, err := decodeRecordAt(pos, raw)
		if err != nil {
			return err
		}
		st.applyEvent(batch, streams[w], &entry{correlation: []byte("c"), raw: raw, rec: r})
		mustSet(batch, appendHeadKey(nil, streams[w]), appendHead(nil, head{lastPos: pos}))
		mustSet(batch, appliedKey(), binary.BigEndian.AppendUint64(nil, uint64(pos)))
		return batch.Commit(pebble.Sync)
	})
}

// BenchmarkAppend reports appends/s of 1 and 64 writers, the bare disk's
// fsyncs/s, and how the two compare. 64 writers stand beside bare Pebble in
// BenchmarkBarePebble.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			dir := b.TempDir()
			disk := floor(b, dir)
			rate := appendRate(b, filepath.Join(dir, "log"), writers)
			b.ReportMetric(rate, "appends/s")
			b.ReportMetric(disk, "floor/s")
			b.ReportMetric(rate/disk, "x-floor")
		})
	}
}

// BenchmarkBarePebble is what Pebble does with the same keys and no log engine.
func BenchmarkBarePebble(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			b.ReportMetric(bareRate(b, filepath.Join(b.TempDir(), "bare"), writers), "appends/s")
		})
	}
}
