package raftstore

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// slice is how long one contender runs before the next has its turn: the disk's
// speed wanders, so contenders are compared only side by side.
const slice = 200 * time.Millisecond

// contender does durable writes.
type contender struct {
	name    string
	writers int
	write   func(writer, i int) error

	calls   []int                     // per writer
	took    []*hdrhistogram.Histogram // per writer; microseconds of a call
	elapsed time.Duration
}

// maxTook bounds what is told apart, in microseconds: a call that takes longer fails.
const maxTook = 60e6

// all is the histogram of all writers.
func (c *contender) all() *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, maxTook, 3)
	for _, of := range c.took {
		h.Merge(of)
	}
	return h
}

func (c *contender) rate() float64 { return float64(c.all().TotalCount()) / c.elapsed.Seconds() }

// report tells the rate of c, and how long half and all but a hundredth of its calls took.
func (c *contender) report(b *testing.B, unit string) {
	h := c.all()
	b.ReportMetric(c.rate(), c.name+unit)
	b.ReportMetric(float64(h.ValueAtQuantile(50))/1000, c.name+"-p50-ms")
	b.ReportMetric(float64(h.ValueAtQuantile(99))/1000, c.name+"-p99-ms")
}

// turn lets c run for one slice.
func (c *contender) turn(b *testing.B) {
	if c.calls == nil {
		c.calls = make([]int, c.writers)
		for range c.writers {
			c.took = append(c.took, hdrhistogram.New(1, maxTook, 3))
		}
	}
	var wg sync.WaitGroup
	began := time.Now()
	for w := range c.writers {
		wg.Go(func() {
			for time.Since(began) < slice {
				asked := time.Now()
				err := c.write(w, c.calls[w])
				if err == nil {
					err = c.took[w].RecordValue(max(1, time.Since(asked).Microseconds()))
				}
				if err != nil {
					b.Error(err)
					return
				}
				c.calls[w]++
			}
		})
	}
	wg.Wait()
	c.elapsed += time.Since(began)
}

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

// appends is a contender that appends events of about 300 bytes, each writer to a
// stream of its own.
func appends(name string, s events.Store, writers int) *contender {
	streams := make([]events.Stream, writers)
	for i := range streams {
		streams[i] = events.AgentStream(events.NewAgentID())
	}
	return &contender{name: name, writers: writers, write: func(w, i int) error {
		expected := events.NoStream()
		if i > 0 {
			expected = events.Exact(events.Revision(i - 1))
		}
		_, err := s.Append(context.Background(), streams[w], expected, events.Event{
			ID: events.NewEventID(), Type: "MessageHandled", ContentType: events.JSON,
			Data:     fmt.Appendf(nil, `{"message":"%0180d"}`, 7),
			Metadata: events.Metadata{CorrelationID: "conversation-0123456789", SchemaVersion: 1}.Encode(),
		})
		return err
	}}
}

// group opens members on this machine's disk and network, and returns the leader
// and a follower (nil for one member).
func group(b *testing.B, size int) (leader, follower *Store) {
	var all []*Store
	for i := range size {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		o := DefaultOptions()
		o.Log.BallastBytes = 0
		o.Address, o.Bootstrap = l.Addr().String(), i == 0
		l.Close()
		s, err := Open(filepath.Join(b.TempDir(), "data"), o)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		all = append(all, s)
		if i == 0 {
			if err := s.Sync(context.Background()); err != nil { // it leads then
				b.Fatal(err)
			}
		} else {
			if _, err := all[0].AddMember(context.Background(), o.Address); err != nil {
				b.Fatal(err)
			}
			follower = s
		}
	}
	return all[0], follower
}

// asTheServer has Go run one thread more than there are processors, as cmd/caxton does: a
// thread that waits for a sync keeps its place until the runtime takes notice.
func asTheServer(b *testing.B) {
	before := runtime.GOMAXPROCS(0)
	b.Cleanup(func() { runtime.GOMAXPROCS(before) })
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(before + 1)
	}
}

// BenchmarkAppend reports durable appends/s of 1 and 64 writers, and their p50 and p99: of
// one member, of three in this process by the leader and by a follower, beside pebblestore
// alone and bare fsyncs of the same disk. Each iteration gives each of them one slice.
func BenchmarkAppend(b *testing.B) {
	asTheServer(b)
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			o := pebblestore.DefaultOptions()
			o.BallastBytes = 0
			plain, err := pebblestore.Open(b.TempDir(), o)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { plain.Close() })
			one, _ := group(b, 1)
			leader, follower := group(b, 3)
			disk, engine := bareDisk(b), appends("plain", plain, writers)
			groups := []*contender{
				appends("1-member", one, writers), appends("3-members", leader, writers), appends("3-by-follower", follower, writers),
			}
			for b.Loop() {
				disk.turn(b)
				engine.turn(b)
				for _, g := range groups {
					g.turn(b)
				}
			}
			disk.report(b, "-fsyncs/s")
			engine.report(b, "/s")
			for _, g := range groups {
				g.report(b, "/s")
				b.ReportMetric(g.rate()/engine.rate(), g.name+"-x-plain")
			}
		})
	}
}
