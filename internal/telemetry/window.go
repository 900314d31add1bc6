package telemetry

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The window of percentiles: ten slots of half a minute.
const (
	windowSlots  = 10
	slotDuration = 30 * time.Second
	maxLatency   = 10 * time.Minute
)

// window keeps latencies of the last five minutes.
type window struct {
	now func() time.Time

	mu    sync.Mutex // guards below
	hist  *hdrhistogram.WindowedHistogram
	began time.Time // of the present slot
}

func newWindow(now func() time.Time) *window {
	return &window{
		now:   now,
		hist:  hdrhistogram.NewWindowed(windowSlots, 1, maxLatency.Microseconds(), 2),
		began: now(),
	}
}

func (w *window) record(d time.Duration) {
	us := min(max(d.Microseconds(), 1), maxLatency.Microseconds())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn()
	_ = w.hist.Current.RecordValue(us) // within bounds, by the line above
}

// p99 is in milliseconds.
func (w *window) p99() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn()
	return float64(w.hist.Merge().ValueAtQuantile(99)) / 1000
}

// turn begins as many new slots as time has passed for. Caller holds mu.
func (w *window) turn() {
	passed := int(w.now().Sub(w.began) / slotDuration)
	for range min(passed, windowSlots) {
		w.hist.Rotate()
	}
	w.began = w.began.Add(time.Duration(passed) * slotDuration)
}
