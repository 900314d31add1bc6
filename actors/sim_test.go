package actors_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
)

// maxFaults are shown of one schedule: the first says most.
const maxFaults = 5

// simLong is how many times as many schedules a run with CAXTON_LONG has: 900, of which
// ten take a second; simAll with CAXTON_LONG=all.
const (
	simLong = 3
	simAll  = 20
)

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
	switch os.Getenv("CAXTON_LONG") {
	case "":
		if fixtures.RaceDetector {
			runs = 1
		}
	case "all":
		runs *= simAll
	default:
		runs *= simLong
	}
	sum := newSeen()
	for range runs {
		if simulateMany(t, host, sum); t.Failed() {
			return
		}
	}
	t.Log(sum)
}

// seen counts what schedules came to: whoever doubts the simulation can see that it
// does what it says.
type seen struct {
	schedules, sent, acked, sends, timers, halts int
	blobs, skilled, bulks, storms, joined        int
	timeouts, jobs                               int
	trimmed, given                               uint64
	cuts                                         map[failpoint]int
	ends                                         map[string]int
}

func newSeen() *seen { return &seen{cuts: make(map[failpoint]int), ends: make(map[string]int)} }

func (s *seen) add(w *world, h *history) {
	s.schedules++
	for at, n := range w.cutAt {
		s.cuts[at] += n
	}
	for _, x := range w.sends {
		s.sent++
		if !x.unknown && x.err == nil {
			s.acked++
		}
	}
	s.trimmed, s.given = s.trimmed+w.trims.Agents, s.given+w.trims.Events
	if h == nil {
		return
	}
	s.sends, s.halts = s.sends+len(h.sent), s.halts+len(w.halts)
	for _, ends := range h.ends {
		s.ends[string(ends[0].outcome)+string(ends[0].reason)]++
	}
	s.timeouts += len(h.silences)
	for _, t := range h.tasks() {
		if t.done {
			s.jobs++
		}
	}
	s.blobs, s.bulks, s.storms = s.blobs+h.blobs, s.bulks+len(w.bulks), s.storms+len(h.storms)
	s.joined += len(h.joined)
	for _, l := range h.agents {
		s.timers += len(l.timers)
		for _, e := range l.passed {
			s.skilled += skilled(e)
		}
	}
}

// String is one line for each kind of thing.
func (s *seen) String() string {
	return fmt.Sprintf("%d schedules, %d requests, %d of them acknowledged, %d sends, %d timers, %d emergency stops\n%d contents in blobs, %d sends to capabilities, %d bulk actions, %d storms, joined by %d agents\n%d histories trimmed, of %d events\n%d conversations timed out, %d jobs done\ncuts: %v\nends of messages: %v",
		s.schedules, s.sent, s.acked, s.sends, s.timers, s.halts, s.blobs, s.skilled, s.bulks, s.storms, s.joined, s.trimmed, s.given, s.timeouts, s.jobs, s.cuts, s.ends)
}

func simulateMany(t *testing.T, host *wasmhost.Host, sum *seen) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		if faults := simulate(t, p, host, sum); len(faults) > 0 {
			rt.Fatalf("%s\n%s", strings.Join(faults[:min(len(faults), maxFaults)], "\n"), p)
		}
	})
}

// simulate runs a plan in a bubble of its own and returns what was wrong.
func simulate(t *testing.T, p *plan, host *wasmhost.Host, sum *seen) (faults []string) {
	dir := ""
	if p.running { // not t's, which would keep the files of thousands of schedules
		var err error
		if dir, err = os.MkdirTemp("", "caxton-sim"); err != nil {
			return []string{err.Error()}
		}
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}()
	}
	if p.slow > 0 { // nothing else then says who comes first than the simulated time
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, func(*testing.T) {
		w := newWorld(p, host, dir)
		h := w.run()
		if h != nil {
			w.check(h)
			w.faults = append(w.faults, h.faults...)
		}
		sum.add(w, h)
		<-time.After(time.Second) // simulated, and it ends with this goroutine: whoever waits for a moment yet goes on
		synctest.Wait()
		for _, g := range left() {
			t.Log(g, p) // the bubble panics
		}
		faults = w.faults
	})
	return faults
}

// left returns the stacks of the goroutines of a bubble that wait though it is at its
// end. It panics after that.
func left() []string {
	b := make([]byte, 1<<20)
	list := strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n")
	_, bubble, _ := strings.Cut(strings.SplitN(list[0], "\n", 2)[0], "synctest bubble ")
	var out []string
	for _, g := range list[1:] {
		if strings.Contains(strings.SplitN(g, "\n", 2)[0], "synctest bubble "+bubble) && !strings.Contains(g, "testing/synctest.") {
			out = append(out, "left behind: "+g)
		}
	}
	return out
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
	list := [][]byte{fixtures.Agent("account"), fixtures.Agent("manager"), fixtures.Agent("contractor"), simGuest("mute")}
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
