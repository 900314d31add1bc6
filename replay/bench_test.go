package replay

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caxton-run/caxton/fixtures"
)

// BenchmarkWake is from the log to an agent that can take a message: at its
// newest snapshot, and with messages after it to run again.
func BenchmarkWake(b *testing.B) {
	for _, guest := range []string{"counter-c", "counter-rust", "counter-go"} {
		for _, after := range []int{0, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", guest, after), func(b *testing.B) {
				w := newBench(b, fixtures.Agent(guest))
				for range 20 {
					w.handle(`{"op":"add","n":1}`, nil)
				}
				w.snapshot(nil)
				for range after {
					w.handle(`{"op":"add","n":1}`, nil)
				}
				var list []time.Duration
				for b.Loop() {
					a, err := w.src.Agent(context.Background(), w.state.ID)
					if err != nil {
						b.Fatal(err)
					}
					list = append(list, a.Elapsed)
					a.Release()
				}
				slices.Sort(list)
				b.ReportMetric(float64(list[len(list)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(list[min(len(list)*99/100, len(list)-1)].Microseconds()), "p99-µs")
			})
		}
	}
}
