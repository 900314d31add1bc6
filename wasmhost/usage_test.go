package wasmhost

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/caxton-run/caxton/fixtures"
)

// heapNow returns the bytes that live on the heap.
func heapNow() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and pools let go
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestEngineBytes: what the host says that the engine takes is what the heap
// says, for small guests and for large ones.
func TestEngineBytes(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.WarmGuests = 1 }, false)
	for _, name := range fixtures.Names() {
		m := compileFixture(t, h, name)
		start(t, h, m).Close() // makes the image
		const n = 200
		before := heapNow()
		list := make([]*Instance, n)
		for i := range list {
			var err error
			if list[i], err = h.Instantiate(context.Background(), m, testMemory); err != nil {
				t.Fatal(err)
			}
		}
		got := float64(heapNow()-before) / n
		t.Logf("%s: %.0f bytes of heap, said %d", name, got, m.engineBytes())
		if said := float64(m.engineBytes()); math.Abs(said-got) > got/10 {
			t.Errorf("%s: an instance takes %.0f bytes of heap, the host says %.0f", name, got, said)
		}
		for _, in := range list {
			in.Close()
		}
	}
}

// TestUsageIsMeasured: what the host says of its guests' linear memories is what
// the system says, all together and one by one; one that hibernates takes
// nothing, and all of it goes back.
func TestUsageIsMeasured(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.WarmGuests = 4 }, false)
	m := compileFixture(t, h, "counter-c")
	const n = 300
	list := populate(t, h, m, n)
	u, err := h.MemoryUsage()
	if err != nil {
		t.Skip(err)
	}
	if u.Guests != n || u.Linear != n*pageBytes || u.Resident < n*2*4096 || u.Resident > u.Linear/2 || u.WarmGuests > 4 || u.Images == 0 {
		t.Errorf("%+v", u)
	}
	if rss := mappedResident(t, h); rss != u.Resident {
		t.Errorf("the host says that %d bytes are resident, the system %d", u.Resident, rss)
	}
	var sum InstanceUsage
	for _, in := range list {
		one, err := in.MemoryUsage()
		if err != nil {
			t.Fatal(err)
		}
		sum.Linear += one.Linear
		sum.Resident += one.Resident
		sum.Engine += one.Engine
		sum.Stacks += one.Stacks
	}
	if sum.Linear != u.Linear || sum.Resident != u.Resident || sum.Engine != u.Engine || sum.Stacks != u.Stacks {
		t.Errorf("the guests' sum is %+v, the host says %+v", sum, u)
	}
	// Reading a memory that was never written makes nothing of it resident.
	list[0].StateHash()
	for i := range list[0].linear.buf {
		if list[0].linear.buf[i] == 77 {
			break
		}
	}
	if again, err := h.MemoryUsage(); err != nil || again.Resident != u.Resident {
		t.Errorf("after reading %d bytes are resident, before %d; %v", again.Resident, u.Resident, err)
	}
	for _, in := range list[:n-1] {
		in.Close()
	}
	last, err := list[n-1].MemoryUsage()
	if err != nil {
		t.Fatal(err)
	}
	if u, err = h.MemoryUsage(); err != nil || u.Guests != 1 || u.Resident != last.Resident || u.Engine != last.Engine {
		t.Errorf("with one left %+v, that one %+v; %v", u, last, err)
	}
	list[n-1].Close()
	h.Trim(true, true)
	if u, err = h.MemoryUsage(); err != nil || u.Guests != 0 || u.Total() != u.Images+u.Code+u.Decoded || u.Mapped != 0 || u.Lost != 0 {
		t.Errorf("with none left %+v, %v", u, err)
	}
}

// mappedResident sums up what the system says is resident of the slabs' mappings.
func mappedResident(t *testing.T, h *Host) (sum int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	ranges, _, _ := h.memory.slabs.ranges()
	inside := false
	for line := range strings.Lines(string(b)) {
		var from, to uintptr
		var kb int64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = false
			for _, r := range ranges {
				inside = inside || from <= r.at && r.at < to
			}
		} else if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kb); n == 1 && inside {
			sum += kb << 10
		}
	}
	return sum
}

// TestTrim: modules that nobody uses go, those in use stay.
func TestTrim(t *testing.T) {
	h := hostWith(t, nil, false)
	used := compileTest(t, h, "probe")
	unused, err := h.Compile(context.Background(), testModule(t, "busy"))
	if err != nil {
		t.Fatal(err)
	}
	unused.Release()
	if f := h.Trim(false, false); f.Modules != 0 {
		t.Errorf("%+v", f)
	}
	if f := h.Trim(true, true); f.Modules != 1 {
		t.Errorf("%+v", f)
	}
	if u, _ := h.MemoryUsage(); u.Modules != 1 || u.Idle != 0 {
		t.Errorf("%+v", u)
	}
	if out := ask(start(t, h, used), "a"); out.Status != "OK" {
		t.Errorf("a guest of a module in use: %s", out.Status)
	}
}

// TestUsageWhileRunning: guests are measured while they run, grow and go.
func TestUsageWhileRunning(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	live := make(chan *Instance, 4)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 20 {
				in, err := h.Instantiate(context.Background(), m, testMemory)
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case live <- in:
				default:
				}
				for n := range 6 { // grows at the fifth
					count(in, n)
				}
				in.Close()
			}
		})
	}
	wg.Go(func() {
		for range 40 {
			if u, err := h.MemoryUsage(); err != nil || u.Guests < 0 || u.Guests > 2 || u.Resident > u.Mapped {
				t.Errorf("%+v, %v", u, err)
			}
			select {
			case in := <-live:
				if u, err := in.MemoryUsage(); err != nil || u.Resident > max(u.Linear, testMemory) {
					t.Errorf("%+v, %v", u, err)
				}
			default:
			}
			h.Trim(false, false)
		}
	})
	wg.Wait()
}
