package wasmhost

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// busyLetters are the ways in which testdata/busy.wat never ends.
const busyLetters = "sncehmlpkfgw"

// atSlice is a context that does something when a guest asks for its n-th slice.
type atSlice struct {
	context.Context
	n  int
	do func()
}

func (a *atSlice) Err() error {
	if a.n--; a.n == 0 {
		a.do()
	}
	return nil
}

// TestKillWithinSlice: whatever a guest is doing when it is killed, it ends with
// the slice that it has, and its context's end does the same.
func TestKillWithinSlice(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "busy")
	slice := h.cfg.Slice
	for _, letter := range strings.Split(busyLetters, "") {
		for _, at := range []int{2, 7} {
			in := start(t, h, m)
			c := testCall(letter)
			c.Fuel, c.Timeout = 1<<60, 0
			var granted events.Fuel
			ctx := &atSlice{Context: context.Background(), n: at, do: func() {
				granted = events.Fuel(in.call.granted)
				in.Kill()
			}}
			out := in.Handle(ctx, c)
			if out.Status != events.OutcomeKilled || in.Usable() {
				t.Errorf("%s: %s: %s", letter, out.Status, out.Detail)
			}
			// One slice more than it had, and what one step of it may overdraw.
			if out.Fuel > granted+2*slice || ctx.n < -1 {
				t.Errorf("%s: killed with %d fuel granted, went on to %d, asked %d times more", letter, granted, out.Fuel, -ctx.n)
			}
		}
	}
}

// counting is a context that counts how often a guest was looked at.
type counting struct {
	context.Context
	n int
}

func (c *counting) Err() error { c.n++; return nil }

// TestKillWithinInstruction: one instruction that works on much memory is left in its
// middle, and the call tells what it was charged.
func TestKillWithinInstruction(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "long")
	for _, letter := range []string{"f", "c"} {
		c := testCall(letter)
		c.Fuel, c.Timeout = 1<<60, 0
		whole, all := start(t, h, m), counting{Context: context.Background()}
		want := whole.Handle(&all, c)
		if want.Status != events.OutcomeOK || all.n < 12 {
			t.Fatalf("%s: %s: %s, looked at %d times", letter, want.Status, want.Detail, all.n)
		}
		in := start(t, h, m)
		ctx := &atSlice{Context: context.Background(), n: all.n - 5, do: in.Kill}
		out := in.Handle(ctx, c)
		if out.Status != events.OutcomeKilled || ctx.n != 0 || out.Fuel > want.Fuel || out.Fuel < want.Fuel-100 {
			t.Errorf("%s: %s, %d fuel of %d, asked %d times more", letter, out.Status, out.Fuel, want.Fuel, -ctx.n)
		}
		last := in.mem.Size() - 1
		first, _ := in.mem.ReadByte(pageBytes)
		if end, _ := in.mem.ReadByte(last); letter == "f" && (first != 1 || end != 0) {
			t.Errorf("%s: the first byte is %d, the last one %d", letter, first, end)
		}
	}
}

// TestKillFromOutside: another goroutine ends a guest that runs, in each way of
// running, and one that is only just being called.
func TestKillFromOutside(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "busy")
	for _, letter := range strings.Split(busyLetters, "") {
		in := start(t, h, m)
		c := testCall(letter)
		c.Fuel, c.Timeout = 1<<60, 0
		running := make(startSignal)
		done := make(chan Outcome)
		go func() { done <- in.Handle(running, c) }()
		<-running
		in.Kill()
		if out := <-done; out.Status != events.OutcomeKilled {
			t.Errorf("%s: %s: %s", letter, out.Status, out.Detail)
		}
	}
}

// percentiles reports the 50th, the 99th and the largest of some durations.
func percentiles(b *testing.B, name string, list []time.Duration) {
	b.Helper()
	slices.Sort(list)
	for _, p := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
		i := min(int(p.at*float64(len(list))), len(list)-1)
		b.ReportMetric(float64(list[i].Nanoseconds())/1000, p.name+"-"+name+"-µs")
	}
}

// BenchmarkKill is from Kill to the call's return, for guests that do what they
// can to go on.
func BenchmarkKill(b *testing.B) {
	h := hostWith(b, nil, false)
	busy, long := compileTest(b, h, "busy"), compileTest(b, h, "long")
	for _, letter := range append(strings.Split(busyLetters, ""), "fill of 512 MiB") {
		m, memory, after := busy, uint64(testMemory), 1
		if len(letter) > 1 {
			m, memory, after = long, 1<<30, 20 // pieces: to be within the instruction
		}
		b.Run(letter, func(b *testing.B) {
			var list []time.Duration
			for b.Loop() {
				in, err := h.Instantiate(context.Background(), m, memory)
				if err != nil {
					b.Fatal(err)
				}
				c := testCall(letter[:1])
				c.Fuel, c.Timeout = 1<<60, 0
				running := make(chan struct{})
				ctx := &atSlice{Context: context.Background(), n: after, do: func() { close(running) }}
				done := make(chan time.Time)
				go func() {
					in.Handle(ctx, c)
					done <- time.Now()
				}()
				<-running
				began := time.Now()
				in.Kill()
				list = append(list, (<-done).Sub(began))
				in.Close()
			}
			percentiles(b, "kill", list)
		})
	}
}

// BenchmarkTimeout is how late a call ends after its time, of 10 ms.
func BenchmarkTimeout(b *testing.B) {
	h := hostWith(b, nil, false)
	m := compileTest(b, h, "busy")
	for _, letter := range []string{"s", "c", "h", "f"} {
		b.Run(letter, func(b *testing.B) {
			var list []time.Duration
			for b.Loop() {
				in, err := h.Instantiate(context.Background(), m, testMemory)
				if err != nil {
					b.Fatal(err)
				}
				c := testCall(letter)
				c.Fuel, c.Timeout = 1<<60, 10*time.Millisecond
				began := time.Now()
				if out := in.Handle(context.Background(), c); out.Status != events.OutcomeTimeout {
					b.Fatal(out.Status, out.Detail)
				}
				list = append(list, time.Since(began)-c.Timeout)
				in.Close()
			}
			percentiles(b, "late", list)
		})
	}
}

// BenchmarkGC is a collection while all processors spin: in Go, and in guests. A
// guest can be stopped only where it asks for its next slice.
func BenchmarkGC(b *testing.B) {
	h := hostWith(b, nil, false)
	m := compileTest(b, h, "busy")
	for _, kind := range []string{"nobody", "go", "guests"} {
		b.Run(kind, func(b *testing.B) {
			stop := spin(b, h, m, kind)
			before := gcPauses()
			var list []time.Duration
			for b.Loop() {
				began := time.Now()
				runtime.GC()
				list = append(list, time.Since(began))
			}
			percentiles(b, "gc", list)
			reportPauses(b, before, gcPauses())
			stop()
		})
	}
}

// spin keeps every processor busy until stop is called.
func spin(b *testing.B, h *Host, m *Module, kind string) (stop func()) {
	b.Helper()
	done := make(chan struct{})
	ended := make(chan struct{}, runtime.GOMAXPROCS(0))
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	for range runtime.GOMAXPROCS(0) {
		switch kind {
		case "go":
			n++
			go func() {
				for x := uint64(1); ; x = x*3 + 1 {
					if x%(1<<20) != 0 {
						continue
					}
					select {
					case <-done:
						ended <- struct{}{}
						return
					default:
					}
				}
			}()
		case "guests":
			n++
			in := start(b, h, m)
			go func() {
				c := testCall("n")
				c.Fuel, c.Timeout = 1<<60, 0
				in.Handle(ctx, c)
				ended <- struct{}{}
			}()
		}
	}
	return func() {
		close(done)
		cancel()
		for range n {
			<-ended
		}
	}
}

func gcPauses() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	h := s[0].Value.Float64Histogram()
	return &metrics.Float64Histogram{Counts: slices.Clone(h.Counts), Buckets: slices.Clone(h.Buckets)}
}

// reportPauses tells how long the world stood still, from one reading to the
// next.
func reportPauses(b *testing.B, before, after *metrics.Float64Histogram) {
	b.Helper()
	var total uint64
	for i := range after.Counts {
		total += after.Counts[i] - before.Counts[i]
	}
	for _, p := range []float64{0.5, 0.99} {
		var sum uint64
		for i := range after.Counts {
			if sum += after.Counts[i] - before.Counts[i]; float64(sum) >= p*float64(total) {
				high := after.Buckets[i+1]
				if math.IsInf(high, 1) {
					high = after.Buckets[i]
				}
				b.ReportMetric(high*1e6, fmt.Sprintf("p%.0f-pause-µs", p*100))
				break
			}
		}
	}
}
