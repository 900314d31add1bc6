package meter

import (
	"context"
	"testing"

	"github.com/caxton-run/caxton/fixtures"
)

// BenchmarkKernels compares each kernel metered, in slices as the host gives
// them, with the same engine unmetered. The ratio of times per kernel, as a
// geometric mean, is the price of metering.
func BenchmarkKernels(b *testing.B) {
	src := kernels(b)
	modes := map[string]*machine{
		"plain":   newMachine(b, engines()[0], src, false, 0),
		"metered": newMachine(b, engines()[0], src, true, 200_000),
	}
	for _, k := range kernelRuns() {
		if k.name == "grow" {
			continue
		}
		for _, mode := range []string{"plain", "metered"} {
			m := modes[mode]
			m.budget = plenty
			f := m.mod.ExportedFunction(k.name)
			b.Run(k.name+"/"+mode, func(b *testing.B) {
				for b.Loop() {
					if m.metered {
						m.global(DepthGlobal).Set(deepCalls)
					}
					if _, err := f.Call(context.Background(), k.n); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkGate is Check and Instrument on a large real guest.
func BenchmarkGate(b *testing.B) {
	for _, name := range []string{"kv-go", "counter-rust"} {
		src := fixtures.Agent(name)
		b.Run("check/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Check(src, DefaultCaps()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("instrument/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Instrument(src, Options{Caps: DefaultCaps()}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
