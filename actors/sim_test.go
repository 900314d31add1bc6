package actors_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
)

// maxFaults are shown of one schedule: the first says most.
const maxFaults = 5

// simLong is how many times as many schedules a run with CAXTON_LONG has.
const simLong = 40

// TestSimulation runs schedules that are drawn: clients send, operators intervene, and the
// power is cut anywhere, on a real system over a real log in memory, in simulated time.
// What comes of each is compared with the model. A failure shows the shortest schedule
// that fails, and the seed (-rapid.seed) that draws it again.
//
// A schedule is the same in each run, and so are the simulated times that calls of the
// log take. What happens within one instant of simulated time is ordered by Go, so a
// schedule whose calls take no time ("slow 0s") may go otherwise the next time.
func TestSimulation(t *testing.T) {
	host := simHost(t)
	runs := 3 // of rapid's 100 schedules, each with a seed of its own
	if os.Getenv("CAXTON_LONG") != "" {
		runs *= simLong
	}
	for range runs {
		if simulateMany(t, host); t.Failed() {
			return
		}
	}
}

func simulateMany(t *testing.T, host *wasmhost.Host) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		if faults := simulate(t, p, host); len(faults) > 0 {
			rt.Fatalf("%s\n%s", strings.Join(faults[:min(len(faults), maxFaults)], "\n"), p)
		}
	})
}

// simulate runs a plan in a bubble of its own and returns what was wrong.
func simulate(t *testing.T, p *plan, host *wasmhost.Host) (faults []string) {
	synctest.Test(t, func(*testing.T) {
		w := newWorld(p, host)
		h := w.run()
		if h != nil {
			w.check(h)
			w.faults = append(w.faults, h.faults...)
		}
		faults = w.faults
	})
	return faults
}

// simHost has all modules of a simulation compiled, outside of any bubble, and keeps
// them.
func simHost(t *testing.T) *wasmhost.Host {
	t.Helper()
	host, err := wasmhost.New(context.Background(), wasmhost.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	list := [][]byte{fixtures.Agent("account")}
	for i := range ledgerVersions {
		list = append(list, ledgerVersion(i))
	}
	for _, wasm := range list {
		m, err := host.Compile(context.Background(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Release)
		warm(t, host, m)
	}
	return host
}

// warm takes a guest's snapshot and restores it, because a compressor makes its
// channels when it is first used, and those of one bubble are not for others.
func warm(t *testing.T, host *wasmhost.Host, m *wasmhost.Module) {
	t.Helper()
	memory := events.DefaultLimits().MaxMemoryBytes
	guest, err := host.Instantiate(context.Background(), m, memory)
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	snapshot, err := guest.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again, err := host.Restore(context.Background(), m, memory, snapshot)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
