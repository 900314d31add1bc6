package raftstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// TestSchedules lets clients work while members are cut off, crash, restart, lead
// and snapshot in an order that a seed decides. Then everything is mended: the
// history is linearizable, nothing acknowledged is lost or twice, and all roots are
// equal. Time is simulated: it passes when all wait, so a seed takes the processor a
// fraction of a second, and seconds in which nobody leads take nothing.
//
// CAXTON_LONG=1 takes more seeds, CAXTON_LONG=all a thousand; CAXTON_SEED=n takes one
// again, CAXTON_SEED=n-m those from n to m. A seed repeats the faults, the clients'
// choices and the delays; how goroutines take turns at one instant, and when raft's
// timers go off, is not the seed's.
func TestSchedules(t *testing.T) {
	forSeeds(t, map[string]int{"": 16, "1": 100, "all": 1000}, func(t *testing.T, seed uint64) (h *history) {
		simulate(t, seed, func(t *testing.T, c *cluster) { h = runSchedule(t, c, seed) })
		return h
	})
}

// TestSchedulesInRealTime is TestSchedules with sockets and a clock: every sync of a
// disk may hang there, where simulated time leaves out those that are waited for with
// mutexes.
func TestSchedulesInRealTime(t *testing.T) {
	forSeeds(t, map[string]int{"": 1, "1": 4, "all": 40}, func(t *testing.T, seed uint64) *history {
		return runSchedule(t, newCluster(t), seed)
	})
}

func forSeeds(t *testing.T, most map[string]int, run func(*testing.T, uint64) *history) {
	seeds, known := most[os.Getenv("CAXTON_LONG")]
	if !known {
		seeds = most["1"]
	}
	first, last := 0, seeds-1
	if s := os.Getenv("CAXTON_SEED"); s != "" {
		from, to, ranged := strings.Cut(s, "-")
		if !ranged {
			to = from
		}
		var err, bad error
		first, err = strconv.Atoi(from)
		last, bad = strconv.Atoi(to)
		if err = errors.Join(err, bad); err != nil {
			t.Fatal(err)
		}
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			if h := run(t, uint64(seed)); !t.Failed() {
				h.judge(t)
			}
		})
	}
}

// simulate runs what happens to a cluster in simulated time, over a network in memory
// whose delays a seed decides. The cluster is closed at the end.
func simulate(t *testing.T, seed uint64, happens func(*testing.T, *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.net.rng = rand.New(rand.NewPCG(seed, 99))
		happens(t, c)
	})
}

const stepsOfSchedule = 10

func runSchedule(t *testing.T, c *cluster, seed uint64) *history {
	rng := rand.New(rand.NewPCG(seed, 1))
	c.grow(3+2*rng.IntN(2), func(o *Options) { o.Trailing = rng.Uint64N(8) })
	h := newHistory()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() { h.client(ctx, c, rand.New(rand.NewPCG(seed, uint64(i)+2))) })
	}
	var log []string
	defer func() {
		if t.Failed() {
			t.Logf("seed %d: %s\n%s", seed, strings.Join(log, "; "), c.states())
		}
	}()
	for range stepsOfSchedule {
		what, mend := c.disturb(rng)
		log = append(log, what)
		if n := 1 + rng.IntN(8); !strings.Contains(what, "disk") { // a leader whose disk hangs holds up all
			h.wait(t, n)
		}
		mend()
		h.wait(t, 1+rng.IntN(4))
	}
	cancel()
	clients.Wait()
	c.agree()
	h.compare(t, c.leader().Store)
	return h
}

// states says what each member believes, for whoever reads of a failure.
func (c *cluster) states() string {
	var b strings.Builder
	for i, n := range c.nodes {
		if n.Store == nil {
			fmt.Fprintf(&b, "%d is down\n", i)
			continue
		}
		_, leader := n.raft.LeaderWithID()
		fmt.Fprintf(&b, "%d (%s) is %s in term %d, has %d entries, %d committed, believes in leader %q, members %v\n", i, n.ID(), n.raft.State(),
			n.raft.CurrentTerm(), n.raft.LastIndex(), n.raft.CommitIndex(), leader, n.Members())
	}
	return b.String()
}

// wait returns when some more appends were acknowledged.
func (h *history) wait(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range n {
		select {
		case <-h.grown:
		case <-ctx.Done():
			t.Fatalf("no append was acknowledged within %s", patience)
		}
	}
}

// disturb does one thing to the cluster that leaves a majority at work, and returns
// what mends it.
func (c *cluster) disturb(rng *rand.Rand) (what string, mend func()) {
	i := rng.IntN(len(c.nodes))
	n := c.nodes[i]
	switch rng.IntN(11) {
	case 8:
		n.slow.begin()
		c.until("a sync waits", n.slow.waits)
		return fmt.Sprintf("%d's disk hangs", i), n.slow.end
	case 10:
		c.stand(n, rng)
		return fmt.Sprintf("%d stood still", i), func() {}
	case 9:
		c.swap(n)
		return fmt.Sprintf("%d removed and added with a new disk", i), func() {}
	case 0:
		c.isolate(n)
		return fmt.Sprintf("%d alone", i), c.net.heal
	case 1:
		for _, other := range c.nodes { // it hears, and is not heard
			c.net.sever(n.opts.Address, other.opts.Address)
		}
		return fmt.Sprintf("%d is not heard", i), c.net.heal
	case 2:
		for _, other := range c.nodes {
			c.net.sever(other.opts.Address, n.opts.Address)
		}
		return fmt.Sprintf("%d is deaf", i), c.net.heal
	case 3: // two do not reach each other; the others are a bridge
		other := c.nodes[(i+1)%len(c.nodes)]
		c.net.sever(n.opts.Address, other.opts.Address)
		c.net.sever(other.opts.Address, n.opts.Address)
		return fmt.Sprintf("%d and %d apart", i, (i+1)%len(c.nodes)), c.net.heal
	case 4:
		c.crash(n, rng)
		return fmt.Sprintf("%d loses its power", i), func() { c.revive(n) }
	case 5:
		c.down(n)
		return fmt.Sprintf("%d stops", i), func() { c.revive(n) }
	case 6:
		for _, m := range c.nodes {
			if m.Store != nil && m.Leads() {
				m.TransferLeadership(c.t.Context(), ServerID{}) //nolint:errcheck // it may not lead any more
			}
		}
	default:
		n.raft.Snapshot().Error() //nolint:errcheck // there may be nothing new
		return fmt.Sprintf("%d snapshots", i), func() {}
	}
	return "another leads", func() {}
}

// stand has a member stand still for up to five heartbeats, as a stopped process does.
// Then it goes on at once with all that it was told meanwhile, and hears late how late
// it is. Clients may all wait for it.
func (c *cluster) stand(n *node, rng *rand.Rand) {
	c.net.freeze(n.opts.Address)
	n.slow.begin()
	<-time.After(time.Duration(rng.Int64N(5 * int64(n.opts.Heartbeat))))
	n.slow.end()
	c.net.thaw(n.opts.Address)
}

// swap removes a member and adds it again with an empty disk, which is another one.
func (c *cluster) swap(n *node) {
	c.t.Helper()
	id := n.ID()
	c.until("a member is removed", func() bool {
		err := c.leader().RemoveMember(c.t.Context(), id)
		var gone *events.InvalidError
		return err == nil || errors.As(err, &gone)
	})
	c.down(n)
	n.fs = vfs.NewCrashableMem()
	n.opts.Bootstrap = false
	c.revive(n)
	c.add(n)
}

// take takes a member out of the clients' sight.
func (c *cluster) take(n *node) *Store {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := n.Store
	n.Store = nil
	return s
}

func (c *cluster) down(n *node) {
	c.t.Helper()
	if err := c.take(n).Close(); err != nil {
		c.t.Errorf("close: %v", err)
	}
}

// crash cuts a member's power: what it says from here on nobody hears, and its disk
// keeps any part of what was not synced.
func (c *cluster) crash(n *node, rng *rand.Rand) {
	c.isolate(n)
	disk := n.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	c.down(n)
	c.net.heal()
	n.fs = disk
}

// revive opens a member on the disk that it has.
func (c *cluster) revive(n *node) {
	c.t.Helper()
	n.opts.Log.FS = n.disk()
	s, err := Open("data", n.opts)
	if err != nil {
		c.t.Fatalf("after a crash: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n.Store = s
}
