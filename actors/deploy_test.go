package actors

import (
	"context"
	"errors"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
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
