package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// TestControlsLoseNothing lets operators do everything that they can, in any order,
// while messages come in: whatever was acknowledged is handled once, and what was
// refused is not. A failure names the seed that repeats it.
func TestControlsLoseNothing(t *testing.T) {
	seeds := 3
	if os.Getenv("CAXTON_LONG") != "" {
		seeds = 60
	}
	for i := range seeds {
		seed := uint64(i)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := &controlled{rig: newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond; c.IdleTimeout = 20 * time.Millisecond })}
			c.chaos(rand.New(rand.NewPCG(seed, seed)))
		})
	}
}

// controlled is a rig with counters, and how many messages each has acknowledged.
type controlled struct {
	*rig
	ids   []events.AgentID
	acked []atomic.Int64
}

func (c *controlled) chaos(rnd *rand.Rand) {
	const counters, senders, steps = 3, 3, 40
	for i := range counters {
		c.ids = append(c.ids, c.deploy(fmt.Sprint("counter", i), "counter-c"))
	}
	c.acked = make([]atomic.Int64, counters)
	var group sync.WaitGroup
	stop := make(chan struct{})
	for s := range senders {
		group.Go(func() { c.sends(s, stop) })
	}
	for range steps {
		c.control(rnd)
	}
	close(stop)
	group.Wait()
	if _, err := c.LiftStop(context.Background(), Caller{}); err != nil {
		c.t.Error(err)
	}
	if _, err := c.OrderBreaker(context.Background(), BreakerRequest{}); err != nil {
		c.t.Error(err)
	}
	for i, id := range c.ids {
		if err := c.command(c.Resume, id); err != nil {
			c.t.Error(err)
		}
		want := c.acked[i].Load()
		c.eventually(fmt.Sprintf("agent %d handles %d", i, want), func() bool {
			v, _ := c.agents.Get(id)
			return int64(v.MessagesHandled) >= want
		})
		c.wants(id, `{"op":"get"}`, fmt.Sprintf(`{"count":%d}`, want))
	}
}

// sends adds to the counters until stop, and counts what was acknowledged.
func (c *controlled) sends(n int, stop <-chan struct{}) {
	const most = 500 // what is held has to be handled in the end
	for last := n + most; n < last; n++ {
		select {
		case <-stop:
			return
		default:
		}
		i := n % len(c.ids)
		q := request(c.ids[i], `{"op":"add","n":1}`)
		q.Wait = 0
		_, err := c.Send(context.Background(), q)
		switch {
		case err == nil:
			c.acked[i].Add(1)
		case errors.Is(err, events.ErrOverloaded), errors.Is(err, events.ErrBreakerOpen), errors.Is(err, events.ErrMailboxFull),
			errors.Is(err, events.ErrAgentStopped):
		default:
			c.t.Error(err)
			return
		}
	}
}

// control does one thing that an operator may do.
func (c *controlled) control(rnd *rand.Rand) {
	id := c.ids[rnd.IntN(len(c.ids))]
	ctx := context.Background()
	by := Command{Caller: Caller{Principal: "user:test"}, Agent: id}
	scope := []events.BreakerScope{events.ScopeAll, events.AgentScope(id), "node-here"}[rnd.IntN(3)]
	var err error
	switch rnd.IntN(9) {
	case 0:
		_, err = c.StopAll(ctx, StopAllRequest{})
	case 1:
		_, err = c.LiftStop(ctx, by.Caller)
	case 2:
		if _, err = c.Suspend(ctx, by); errors.Is(err, events.ErrIllegalLifecycle) {
			err = nil // it is stopped
		}
	case 3, 4:
		_, err = c.Resume(ctx, by)
	case 5:
		_, err = c.OrderBreaker(ctx, BreakerRequest{Scope: scope, Activate: true})
	case 6:
		_, err = c.OrderBreaker(ctx, BreakerRequest{Scope: scope, Over: []time.Duration{0, MinReset}[rnd.IntN(2)]})
	case 7:
		_, err = c.Drain(ctx, time.Duration(rnd.IntN(20))*time.Millisecond, false)
	case 8:
		if rnd.IntN(2) == 0 {
			_, err = c.sys.Rest(ctx)
			break
		}
		_, err = c.Stop(ctx, StopRequest{Command: by, Drain: rnd.IntN(2) == 0, Grace: time.Duration(rnd.IntN(20)) * time.Millisecond})
	}
	if err != nil {
		c.t.Error(err)
	}
}
