package wasmhost

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// residentNow returns the process's resident memory in bytes, garbage apart.
func residentNow(t testing.TB) int64 {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "Rss:" {
			kb, err := strconv.ParseInt(string(f[1]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no Rss in smaps_rollup")
	return 0
}

// populate makes n guests that handled a message each, as agents that live have.
func populate(t testing.TB, h *Host, m *Module, n int) []*Instance {
	t.Helper()
	list := make([]*Instance, n)
	for i := range list {
		in, err := h.Instantiate(context.Background(), m, testMemory)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = in
		out := in.Handle(context.Background(), Call{Message: request(`{"op":"add","n":1}`), Fuel: 1 << 40})
		if out.Status != events.OutcomeOK {
			t.Fatalf("%s: %s", out.Status, out.Detail)
		}
	}
	return list
}

// BenchmarkDensity is what a live guest takes that handled a message and rests:
// memory of the process, and what the host says of it. Per GiB counts the growth
// of the whole process, warm stacks and what the heap has free among it.
func BenchmarkDensity(b *testing.B) {
	const n = 20_000
	for _, name := range []string{"counter-c", "counter-rust"} {
		b.Run(name, func(b *testing.B) {
			h := testHost(b)
			m := benchModule(b, h, name)
			start(b, h, m).Close()
			for b.Loop() {
				before := residentNow(b)
				list := populate(b, h, m, n)
				grown := residentNow(b) - before
				u, err := h.MemoryUsage()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(grown)/n, "rss-B/guest")
				b.ReportMetric(float64(u.Resident)/n, "linear-B/guest")
				b.ReportMetric(float64(u.Engine)/n, "engine-B/guest")
				b.ReportMetric(float64(u.Total())/float64(grown), "accounted/rss")
				b.ReportMetric(float64(1<<30)*n/float64(grown), "guests/GiB")
				for _, in := range list {
					in.Close()
				}
				runtime.KeepAlive(list)
				b.ReportMetric(float64(residentNow(b)-before)/n, "left-B/guest")
			}
		})
	}
}

// BenchmarkMemoryUsage is what it takes to measure 20,000 guests, in 1.3 GiB of
// address space, and one of them.
func BenchmarkMemoryUsage(b *testing.B) {
	h := testHost(b)
	m := benchModule(b, h, "counter-c")
	list := populate(b, h, m, 20_000)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.MemoryUsage(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if _, err := list[7].MemoryUsage(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, in := range list {
		in.Close()
	}
}
