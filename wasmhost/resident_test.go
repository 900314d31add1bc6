package wasmhost

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// measureUsage is what TestUsageIsResident starts this program for: to fill a host
// with guests and print what the host and what the system say of it.
const measureUsage = "measure-usage"

// measured is one line of that: growth since the host was empty.
type measured struct {
	Guests   string
	Said     MemoryUsage
	Total    int64
	Resident int64 // what the process grew by
}

// crowds are guests of each kind, modules large and small. Of fewer than these, what Go
// keeps of the heap in which a module was decoded, a few megabytes, would be a tenth.
func crowds() []struct {
	agent string
	n     int
} {
	return []struct {
		agent string
		n     int
	}{{"counter-go", 40}, {"counter-rust", 500}, {"counter-c", 3000}, {"counter-as", 500}}
}

// processResident is this process's resident memory, garbage apart, and what Go has free and
// has not given back yet.
func processResident() (int64, error) {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what finalizers let go
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Rss:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb<<10 - int64(heap.HeapIdle-heap.HeapReleased), err
		}
	}
	return 0, fmt.Errorf("no Rss in smaps_rollup")
}

// measureGuests is a node whose modules are compiled apart from it, as they are.
func measureGuests(dir string) error {
	ctx := context.Background()
	cfg := DefaultConfig()
	cfg.Isolation = &Isolation{Command: ThisProgram(), Dir: dir, Memory: 1 << 30, Timeout: time.Minute, Cache: 1 << 30}
	h, err := New(ctx, cfg)
	if err != nil {
		return err
	}
	// Pages of this program come first.
	warmUp, err := h.Compile(ctx, fixtures.Agent("kv-go"))
	if err != nil {
		return err
	}
	in, err := h.Instantiate(ctx, warmUp, testMemory)
	if err != nil {
		return err
	}
	in.Close()
	warmUp.Release()
	h.Trim(true, true)
	empty, err := processResident()
	if err != nil {
		return err
	}
	var all []*Instance
	for _, c := range crowds() {
		m, err := h.Compile(ctx, fixtures.Agent(c.agent))
		if err != nil {
			return err
		}
		for range c.n {
			in, err := h.Instantiate(ctx, m, testMemory)
			if err != nil {
				return err
			}
			if out := in.Handle(ctx, Call{Message: request(`{"op":"add","n":1}`), Fuel: 1 << 40}); out.Status != events.OutcomeOK {
				return fmt.Errorf("%s: %s", out.Status, out.Detail)
			}
			all = append(all, in)
		}
		now, err := processResident()
		if err != nil {
			return err
		}
		u, err := h.MemoryUsage()
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(measured{fmt.Sprint(c.n, " ", c.agent), u, u.Total(), now - empty}); err != nil {
			return err
		}
	}
	for _, in := range all {
		in.Close()
	}
	return h.Close(ctx)
}

// TestUsageIsResident: what the host says that its guests take is within a tenth of
// what the process grew by, whatever kind of guests there are: machine code,
// modules, images, stacks and memories.
func TestUsageIsResident(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's memory is many times the program's")
	}
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], measureUsage, filepath.Join(t.TempDir(), "compiled"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(out)) {
		var m measured
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		lines++
		t.Logf("%s more: said %d, resident %d (%.3f): %+v", m.Guests, m.Total, m.Resident, float64(m.Total)/float64(m.Resident), m.Said)
		if off := m.Total - m.Resident; off > m.Resident/10 || -off > m.Resident/10 {
			t.Errorf("with %s more the host says %d bytes, the process grew by %d", m.Guests, m.Total, m.Resident)
		}
	}
	if lines != len(crowds()) {
		t.Errorf("%d lines of %d", lines, len(crowds()))
	}
}
