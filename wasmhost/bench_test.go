package wasmhost

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

func benchModule(b *testing.B, h *Host, name string) *Module {
	b.Helper()
	m, err := h.Compile(context.Background(), fixtures.Agent(name))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Release)
	return m
}

// BenchmarkHandle is one message through a guest, of each language.
func BenchmarkHandle(b *testing.B) {
	h := testHost(b)
	for _, name := range []string{"echo", "counter-c", "counter-rust", "counter-as", "counter-go"} {
		b.Run(name, func(b *testing.B) {
			in := start(b, h, benchModule(b, h, name))
			c := Call{Message: request(`{"op":"add","n":1}`), Fuel: 1 << 40}
			var fuel events.Fuel
			b.ReportAllocs()
			for b.Loop() {
				out := in.Handle(context.Background(), c)
				if out.Status != events.OutcomeOK {
					b.Fatal(out.Status, out.Detail)
				}
				fuel = out.Fuel
			}
			b.ReportMetric(float64(fuel), "fuel")
		})
	}
}

// BenchmarkCall is what a call of the smallest guest costs, whose handler does
// nothing: the engine alone, with the two calls into the guest that a message
// takes, and all that the host adds, the message's JSON foremost.
func BenchmarkCall(b *testing.B) {
	h := testHost(b)
	m, err := h.Compile(context.Background(), generated{}.wasm())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Release)
	c := Call{Message: request(`{"op":"add","n":1}`), Fuel: 1 << 40}
	b.Run("engine", func(b *testing.B) {
		in := start(b, h, m)
		body, err := encodeMessage(nil, c.Message)
		if err != nil {
			b.Fatal(err)
		}
		in.begin(context.Background(), &c, body)
		ways := in.entries()
		for b.Loop() {
			in.stack[0] = uint64(len(body))
			if err := in.enter(ways.alloc); err != nil {
				b.Fatal(err)
			}
			in.stack[0], in.stack[1] = 8, uint64(len(body))
			if err := in.enter(ways.handle); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("handle", func(b *testing.B) {
		in := start(b, h, m)
		b.ReportAllocs()
		for b.Loop() {
			if out := in.Handle(context.Background(), c); out.Status != events.OutcomeOK {
				b.Fatal(out.Status, out.Detail)
			}
		}
	})
	b.Run("message", func(b *testing.B) {
		var room []byte
		for b.Loop() {
			if room, err = encodeMessage(room, c.Message); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkInstantiate begins at the module's image; BenchmarkRestore at a
// snapshot after some messages.
func BenchmarkInstantiate(b *testing.B) {
	h := testHost(b)
	for _, name := range []string{"counter-c", "counter-rust", "counter-go"} {
		m := benchModule(b, h, name)
		start(b, h, m) // makes the image
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var list []time.Duration
			for b.Loop() {
				began := time.Now()
				in, err := h.Instantiate(context.Background(), m, testMemory)
				if err != nil {
					b.Fatal(err)
				}
				list = append(list, time.Since(began))
				in.Close()
			}
			percentiles(b, "new", list)
		})
	}
}

// BenchmarkRestore is the way of an agent that wakes.
func BenchmarkRestore(b *testing.B) {
	h := testHost(b)
	for _, name := range []string{"counter-c", "counter-rust", "counter-go"} {
		m := benchModule(b, h, name)
		in := start(b, h, m)
		for range 10 {
			in.Handle(context.Background(), Call{Message: request(`{"op":"add","n":1}`), Fuel: 1 << 40})
		}
		snap, err := in.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(float64(len(snap)), "snapshot-bytes")
			for b.Loop() {
				in, err := h.Restore(context.Background(), m, testMemory, snap)
				if err != nil {
					b.Fatal(err)
				}
				in.Close()
			}
		})
	}
}

// BenchmarkGrow is memory.grow by one page from a full slot, all of it written.
func BenchmarkGrow(b *testing.B) {
	for _, mib := range []uint64{4, 64, 512} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			budget := memoryBudget{limit: 1 << 40}
			for b.Loop() {
				b.StopTimer()
				l := &linearMemory{budget: &budget, limit: 1 << 32}
				buf := l.Reallocate(mib << 20)
				for i := 0; i < len(buf); i += 4096 {
					buf[i] = 1
				}
				b.StartTimer()
				if l.Reallocate(mib<<20+pageBytes) == nil {
					b.Fatal("refused")
				}
				b.StopTimer()
				l.Free()
				b.StartTimer()
			}
		})
	}
}
