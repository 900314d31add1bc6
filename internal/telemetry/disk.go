package telemetry

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/procfs"
)

// floorRecord is the size in bytes of what SyncFloor writes: about one event.
const floorRecord = 300

// SyncFloor measures what a disk can do for a log that has one writer: it
// appends records of 300 bytes to a file in dir, each synced before the next, for
// at least d, and returns how many it wrote a second. The file is removed.
func SyncFloor(dir string, d time.Duration) (perSecond float64, err error) {
	f, err := os.CreateTemp(dir, "sync-floor-*")
	if err != nil {
		return 0, fmt.Errorf("measure the disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	record := make([]byte, floorRecord)
	n, start := 0, time.Now()
	for time.Since(start) < d {
		if _, err := f.Write(record); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
		n++
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// ResidentBytes is the memory this process has in RAM; 0 where the system does
// not tell.
func ResidentBytes() uint64 {
	p, err := procfs.Self()
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil {
		return 0
	}
	return uint64(stat.ResidentMemory())
}
