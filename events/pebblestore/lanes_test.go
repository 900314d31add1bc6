package pebblestore

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/events"
)

// TestLanesJoinKindAfterKind holds the order of what a group writes: kind after kind, and
// within a kind as it was written.
func TestLanesJoinKindAfterKind(t *testing.T) {
	s, err := Open(t.TempDir(), DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := &lanes{db: s.db}
	for _, kv := range []string{"hb1", "ea1", "ha1", "eb1", "hb2", "ea2"} {
		mustSet(l, []byte(kv[:2]), []byte(kv[2:]))
	}
	mustDelete(l, []byte("eb"))
	b := l.join()
	defer b.Close()
	var got []string
	for r := b.Reader(); ; {
		kind, key, value, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		got = append(got, fmt.Sprintf("%v %s=%s", kind, key, value))
	}
	want := []string{"SET ea=1", "SET eb=1", "SET ea=2", "DEL eb=", "SET hb=1", "SET ha=1", "SET hb=2"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// cpuTime is the processors' time that this process has taken, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkReplicaApply reports what applying costs, for each of the 32 events of an entry
// that go to as many of 64 streams: time, and processors' time, in which compactions are.
func BenchmarkReplicaApply(b *testing.B) {
	const streams, size = 64, 32
	o := DefaultOptions()
	o.BallastBytes = 0
	var proposal []byte
	r, err := OpenReplica(b.TempDir(), o, func(_ context.Context, p []byte) Outcome {
		proposal = p
		return Outcome{}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	names := agentStreams(streams)
	entry := func(index int) Entry {
		e := Entry{Index: uint64(index)}
		for i := range size {
			if _, err := r.Append(context.Background(), names[(index*size+i)%streams], events.Any(), benchEvent()); err != nil {
				b.Fatal(err)
			}
			e.Proposals = append(e.Proposals, proposal)
		}
		return e
	}
	applied, cpu := 0, int64(0)
	for b.Loop() {
		b.StopTimer()
		e := entry(applied + 1)
		b.StartTimer()
		before := cpuTime(b)
		if _, err := r.Apply([]Entry{e}); err != nil {
			b.Fatal(err)
		}
		cpu += cpuTime(b) - before
		applied++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(applied*size), "ns/event")
	b.ReportMetric(float64(cpu)/float64(applied*size), "cpu-ns/event")
}
