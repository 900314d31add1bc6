package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/procfs"
)

// cpu measures the use of all processors between two looks.
type cpu struct {
	now func() time.Time

	mu    sync.Mutex // guards below
	at    time.Time
	busy  float64 // s, of all processors together
	total float64
	last  float64 // percent
}

// minInterval keeps two scrapes in a row from measuring noise.
const minInterval = time.Second

func newCPU(now func() time.Time) *cpu {
	c := &cpu{now: now, at: now()}
	c.busy, c.total, _ = cpuTime()
	return c
}

// percent is 0 to 100; 0 where the system does not tell.
func (c *cpu) percent() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.at) < minInterval {
		return c.last
	}
	busy, total, ok := cpuTime()
	if ok && total > c.total {
		c.last = min(100, max(0, 100*(busy-c.busy)/(total-c.total)))
	}
	c.at, c.busy, c.total = c.now(), busy, total
	return c.last
}

func cpuTime() (busy, total float64, ok bool) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, 0, false
	}
	stat, err := fs.Stat()
	if err != nil {
		return 0, 0, false
	}
	t := stat.CPUTotal
	busy = t.User + t.Nice + t.System + t.IRQ + t.SoftIRQ + t.Steal
	return busy, busy + t.Idle + t.Iowait, true
}

// availableMemory is 0 where the system does not tell.
func availableMemory() float64 {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0
	}
	info, err := fs.Meminfo()
	if err != nil || info.MemAvailableBytes == nil {
		return 0
	}
	return float64(*info.MemAvailableBytes)
}
