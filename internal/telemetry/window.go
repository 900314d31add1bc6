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

// MaxWindow is how far back percentiles can look.
const MaxWindow = windowSlots * slotDuration

// window keeps latencies of the last five minutes.
type window struct {
	now func() time.Time

	mu    sync.Mutex // guards below
	slots []*hdrhistogram.Histogram
	at    int       // the present slot
	began time.Time // of it
}

func newWindow(now func() time.Time) *window {
	w := &window{now: now, began: now()}
	for range windowSlots {
		w.slots = append(w.slots, newSlot())
	}
	return w
}

func newSlot() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency.Microseconds(), 2) }

func (w *window) record(d time.Duration) {
	us := min(max(d.Microseconds(), 1), maxLatency.Microseconds())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn()
	_ = w.slots[w.at].RecordValue(us) // within bounds, by the line above
}

// p99 is in milliseconds.
func (w *window) p99() float64 {
	v, _ := w.quantile(0.99, MaxWindow)
	return float64(v.Microseconds()) / 1000
}

// quantile is of the slots that reach back to within; count 0 is none.
func (w *window) quantile(q float64, within time.Duration) (v time.Duration, count int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn()
	sum := newSlot()
	for i := range min(windowSlots, int((within+slotDuration-1)/slotDuration)) {
		sum.Merge(w.slots[(w.at-i+windowSlots)%windowSlots])
	}
	return time.Duration(sum.ValueAtQuantile(q*100)) * time.Microsecond, sum.TotalCount()
}

// turn begins as many new slots as time has passed for. Caller holds mu.
func (w *window) turn() {
	passed := int(w.now().Sub(w.began) / slotDuration)
	for range min(passed, windowSlots) {
		w.at = (w.at + 1) % windowSlots
		w.slots[w.at].Reset()
	}
	w.began = w.began.Add(time.Duration(passed) * slotDuration)
}
