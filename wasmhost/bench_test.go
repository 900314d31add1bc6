package wasmhost

import (
	"context"
	"testing"

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

// BenchmarkInstantiate begins at the module's image; BenchmarkRestore at a
// snapshot after some messages.
func BenchmarkInstantiate(b *testing.B) {
	h := testHost(b)
	for _, name := range []string{"counter-c", "counter-rust", "counter-go"} {
		m := benchModule(b, h, name)
		start(b, h, m) // makes the image
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in, err := h.Instantiate(context.Background(), m, testMemory)
				if err != nil {
					b.Fatal(err)
				}
				in.Close()
			}
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
