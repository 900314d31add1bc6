package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// TestKillWhileAgentsChange kills a server while writers send to counters that are
// updated to another module and back, stopped, restarted and resumed. Counters keep
// their count as state, so at the end each message has counted once, whatever the
// agent was at the moment of a kill.
func TestKillWhileAgentsChange(t *testing.T) {
	kills := killsOf(killsLong)
	k := startKilling(t)
	p, client, counters, writers := k.p, k.client, k.counters, k.writers
	changing, still := context.WithCancel(context.Background())
	var group sync.WaitGroup
	changes := &changer{client: client, counters: counters, chance: rand.New(rand.NewPCG(k.seed, 1))}
	group.Go(func() { changes.run(changing) })
	until(t, "an agent is changed", func() bool { return changes.made.Load() > 0 })
	for range kills {
		writers.progress(t, 5+k.chance.Int64N(40))
		p.killUnsuspected()
		p.start()
	}
	still()
	group.Wait()
	p.ready(client)
	resumeAll(t, client, counters) // else writers would wait for a stopped one for ever
	k.stop()
	resumeAll(t, client, counters)
	for i, name := range counters {
		writers.check(t, client, i, name)
	}
	t.Logf("%d kills, %d messages acknowledged, %d attempts failed; %d changes made",
		kills, writers.acked.Load(), writers.failed.Load(), changes.made.Load())
}

// changer is an operator without rest.
type changer struct {
	client   *caxtonhttp.Client
	counters []string
	chance   *rand.Rand
	made     atomic.Int64
}

// run changes one counter after the other until ctx ends. A change that fails, for
// the server is away, is none.
func (c *changer) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		name := c.counters[n%len(c.counters)]
		own := context.WithoutCancel(ctx) // a stop that nobody waits for may yet be made, after the last resume
		err := c.change(own, name)
		if err == nil {
			_, err = c.client.Resume(own, name, "") // whatever it was
		}
		if err == nil {
			c.made.Add(1)
			continue
		}
		pause := time.NewTimer(time.Millisecond)
		<-pause.C
	}
}

func (c *changer) change(ctx context.Context, name string) (err error) {
	switch c.chance.IntN(4) {
	case 0:
		_, err = c.client.Update(ctx, name, caxtonhttp.Changes{Wasm: fixtures.Agent([]string{"counter-c", "counter-rust"}[c.chance.IntN(2)])})
	case 1:
		_, err = c.client.Stop(ctx, name, caxtonhttp.Stopping{Drain: true, Grace: time.Second})
	case 2:
		_, err = c.client.Stop(ctx, name, caxtonhttp.Stopping{})
	case 3:
		_, err = c.client.Restart(ctx, name, "")
	}
	return err
}
