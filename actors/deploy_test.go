package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/projections"
)

func deployment(name, guest string) DeployRequest {
	return DeployRequest{Caller: Caller{Principal: "user:test"}, Name: name, Wasm: fixtures.Agent(guest), Limits: events.DefaultLimits()}
}

// TestARefusedDeployStoresNothing: neither the agent nor the module it brought,
// whatever it is refused for.
func TestARefusedDeployStoresNothing(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxAgents = 2 })
	r.deploy("one", "echo")
	keyed := deployment("two", "echo")
	keyed.IdempotencyKey = "k"
	d, err := r.Deploy(context.Background(), keyed)
	if err != nil {
		t.Fatal(err)
	}
	r.caughtUp(d.Position)
	named := deployment("one", "kv")
	named.UniqueName = true
	keyed.Wasm = fixtures.Agent("kv")
	for _, c := range []struct {
		name   string
		room   int
		deploy DeployRequest
		want   error
	}{
		{"name taken", 3, named, events.ErrNameTaken},
		{"key of another request", 3, keyed, events.ErrKeyReused},
		{"too many agents", 2, deployment("three", "kv"), events.ErrTooManyAgents},
	} {
		r.sys.cfg.MaxAgents = c.room
		before, _, err := r.log.Head(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Deploy(context.Background(), c.deploy); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if after, _, err := r.log.Head(context.Background()); err != nil || after != before {
			t.Errorf("%s: the log went from %d to %d, %v", c.name, before, after, err)
		}
	}
}

// TestADeployIsRepeatedAtTheLimit: what a keyed deployment made is told again even
// when nothing more could be made.
func TestADeployIsRepeatedAtTheLimit(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxAgents = 1 })
	q := deployment("echo", "echo")
	q.IdempotencyKey = "k"
	first, err := r.Deploy(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	r.caughtUp(first.Position)
	again, err := r.Deploy(context.Background(), q)
	if err != nil || again != first {
		t.Errorf("%v, %v; want %v", again, err, first)
	}
}

// TestABurstOfDeploysMeetsTheBound: of many at once as many succeed as there is room
// for, though the projection has not seen the first when the last comes; those that are
// under way under one key have one place.
func TestABurstOfDeploysMeetsTheBound(t *testing.T) {
	const most, tries = 20, 100
	r := newRig(t, func(c *Config) { c.MaxAgents = most })
	r.deploy("first", "echo") // the module is known: nothing slows them down
	r.watch.mu.Lock()         // the projection comes no further
	var made, refused atomic.Int64
	keys := make([]Deployed, 4)
	var group sync.WaitGroup
	for i := range tries {
		group.Go(func() {
			q := deployment(fmt.Sprint("echo ", i), "echo")
			if i < len(keys) {
				q.Name, q.IdempotencyKey = "keyed", "k"
			}
			d, err := r.Deploy(context.Background(), q)
			switch {
			case err == nil && i < len(keys):
				keys[i] = d
			case err == nil:
				made.Add(1)
			case errors.Is(err, events.ErrTooManyAgents):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	r.watch.mu.Unlock()
	all := 1 + int(made.Load())
	if keys[0] != (Deployed{}) || keys[1] != (Deployed{}) || keys[2] != (Deployed{}) || keys[3] != (Deployed{}) {
		all++
	}
	r.until("all are seen", func() bool { return r.agents.Len() >= all })
	if n := r.agents.Len(); n != most || all != most {
		t.Errorf("%d agents were told to be made, and there are %d, of %d at most (%d refused)", all, n, most, refused.Load())
	}
	page, err := r.agents.List("", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Deploy(context.Background(), deployment("one more", "echo")); !errors.Is(err, events.ErrTooManyAgents) {
		t.Errorf("%v", err)
	}
	if err := r.command(r.Remove, page.Agents[0].ID); err != nil {
		t.Fatal(err)
	}
	r.until("one is gone", func() bool { return r.agents.Len() < most })
	if _, err := r.Deploy(context.Background(), deployment("one more", "echo")); err != nil {
		t.Errorf("though one was removed: %v", err)
	}
}

// TestABirthKeepsItsPlace until the projection counts the agent, or there will be none.
func TestABirthKeepsItsPlace(t *testing.T) {
	agents, now := projections.NewAgents("here"), time.Unix(100, 0)
	for name, c := range map[string]struct {
		at    events.Position
		until time.Time
		seen  events.Position
		now   time.Time
		free  bool
	}{
		"not made":                    {free: true},
		"made and not seen":           {at: 7, seen: 6},
		"made and seen":               {at: 7, seen: 7, free: true}, // and removed: the projection has none
		"unknown":                     {until: now.Add(time.Second), now: now},
		"unknown for too long":        {until: now, now: now, free: true},
		"unknown, then made":          {at: 7, until: now.Add(time.Second), seen: 6, now: now.Add(time.Hour)},
		"unknown, then made and seen": {at: 7, until: now, seen: 7, now: now, free: true},
	} {
		b := new(births)
		one, two := events.NewAgentID(), events.NewAgentID()
		if err := b.take(one, 1, agents, 0, now); err != nil {
			t.Fatal(err)
		}
		if err := b.take(one, 1, agents, 0, now); err != nil {
			t.Errorf("%s: the same once more: %v", name, err)
		}
		b.leave(one, 0, time.Time{})
		if err := b.take(two, 1, agents, 9, now); !errors.Is(err, events.ErrTooManyAgents) {
			t.Errorf("%s: while it is under way: %v", name, err)
		}
		b.leave(one, c.at, c.until)
		if err := b.take(two, 1, agents, c.seen, c.now); (err == nil) != c.free {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestABirthThatIsFoundIsNoLongerUnknown: whose deployment was cut off repeats it under
// its key, and may remove the agent at once.
func TestABirthThatIsFoundIsNoLongerUnknown(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxAgents = 1 })
	ctx, cancel := context.WithCancel(context.Background())
	r.store.fail(nil, func(s events.Stream) error {
		if s.Category() != events.CategoryAgent {
			return nil
		}
		cancel()
		return events.ErrUnknownOutcome
	})
	q := deployment("one", "echo")
	q.IdempotencyKey = "k"
	if _, err := r.Deploy(ctx, q); !errors.Is(err, events.ErrUnknownOutcome) {
		t.Fatalf("%v, want events.ErrUnknownOutcome", err)
	}
	r.store.fail(nil, nil)
	d, err := r.Deploy(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.command(r.Remove, d.ID); err != nil {
		t.Fatal(err)
	}
	r.until("it is gone", func() bool { return r.runner.Position() >= d.Position && r.agents.Len() == 0 })
	if _, err := r.Deploy(context.Background(), deployment("two", "echo")); err != nil {
		t.Error(err)
	}
}

// TestARepeatedBirthNeedsNoPlace: the projection may have come to the agent since the
// repetition looked for it, and nothing is made.
func TestARepeatedBirthNeedsNoPlace(t *testing.T) {
	r := newRig(t, nil)
	one, b := r.deploy("one", "echo"), new(births)
	r.until("it is seen", func() bool { return r.agents.Len() == 1 })
	if err := b.take(one, 1, r.agents, r.runner.Position(), time.Now()); err != nil {
		t.Error(err)
	}
	if err := b.take(events.NewAgentID(), 1, r.agents, r.runner.Position(), time.Now()); !errors.Is(err, events.ErrTooManyAgents) {
		t.Errorf("another: %v", err)
	}
}

// TestAModuleThatMayNotBeStoredKeepsNoPlace: no agent can come of that.
func TestAModuleThatMayNotBeStoredKeepsNoPlace(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxAgents = 1 })
	ctx, cancel := context.WithCancel(context.Background())
	module := events.ModuleStream(events.HashModule(fixtures.Agent("echo")))
	r.store.fail(func(s events.Stream) error {
		if s == module {
			cancel()
			return events.ErrUnknownOutcome
		}
		return nil
	}, nil)
	if _, err := r.Deploy(ctx, deployment("one", "echo")); err == nil {
		t.Fatal("it was deployed")
	}
	r.store.fail(nil, nil)
	if _, err := r.Deploy(context.Background(), deployment("two", "echo")); err != nil {
		t.Error(err)
	}
}
