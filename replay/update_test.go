package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// shelf is a source of several modules.
type shelf struct {
	host *wasmhost.Host
	wasm map[events.ModuleHash][]byte
}

func (s shelf) Module(ctx context.Context, h events.ModuleHash) (*wasmhost.Module, error) {
	wasm, ok := s.wasm[h]
	if !ok {
		return nil, events.ErrModuleNotFound
	}
	return s.host.Compile(ctx, wasm)
}

// shelve puts benign agents on the bench's shelf.
func (b *bench) shelve(names ...string) {
	s := shelf{b.host, map[events.ModuleHash][]byte{}}
	for _, n := range names {
		s.wasm[events.HashModule(fixtures.Agent(n))] = fixtures.Agent(n)
	}
	b.src.Modules = s
}

// update gives the agent another module, as the actor does.
func (b *bench) update(name string, change func(*events.AgentUpdated)) {
	b.t.Helper()
	ctx := context.Background()
	hash := events.HashModule(fixtures.Agent(name))
	mod, guest, err := b.src.Begin(ctx, hash, b.state.Limits.MaxMemoryBytes)
	if err != nil {
		b.t.Fatal(err)
	}
	defer mod.Release()
	host := events.HostRecord{NowMicros: b.state.Now(1), Seed: 7}
	c := agent.Update{Module: hash, ModuleSize: 1}
	if mod.Info().Migrates {
		out := guest.Migrate(ctx, wasmhost.Call{Host: host, Fuel: b.state.Limits.MaxFuel, State: b.state}, wasmhost.Change{From: b.state.Module, To: hash})
		if out.Status != events.OutcomeOK {
			b.t.Fatalf("%s: %s", out.Status, out.Detail)
		}
		c.Migration = &events.Migration{Host: host, State: out.State, Logs: out.Logs, Fuel: out.Fuel, MeterVersion: meter.Version}
	}
	list, err := agent.Decide(b.state, c)
	if err != nil {
		b.t.Fatal(err)
	}
	if change != nil {
		u := list[0].(events.AgentUpdated)
		change(&u)
		list[0] = u
	}
	b.append(list...)
	b.guest.Close()
	b.guest = guest
}

// TestRebuildOverUpdates is exact: other modules, other limits, restarts, and a
// migration in between.
func TestRebuildOverUpdates(t *testing.T) {
	b := newBench(t, fixtures.Agent("tally"))
	b.shelve("tally", "tally-2", "counter-c")
	b.handle(`{"op":"add","n":3}`, nil)
	b.handle(`{"op":"add","n":4}`, nil)
	b.update("tally-2", nil)
	b.rebuilt()
	if v, ok := b.state.Get("sum"); !ok || string(v) != "7" {
		t.Fatalf("the migration left %q %v", v, ok)
	}
	b.handle(`{"op":"add","n":1}`, nil)
	b.rebuilt()
	b.snapshot(nil)
	limits := b.state.Limits
	limits.MaxMemoryBytes *= 2
	b.append(events.AgentUpdated{Limits: &limits})
	b.guest.SetMaxMemory(limits.MaxMemoryBytes)
	b.handle(`{"op":"add","n":1}`, nil)
	if a := b.rebuilt(); a.Replayed != 1 {
		t.Errorf("%d messages run again after the snapshot, want 1", a.Replayed)
	}
	b.update("counter-c", nil)
	b.handle(`{"op":"add","n":1}`, nil)
	b.rebuilt()
	b.append(events.AgentRestarted{})
	b.guest.Close()
	var err error
	if b.guest, err = b.host.Instantiate(context.Background(), mustModule(t, b, "counter-c"), limits.MaxMemoryBytes); err != nil {
		t.Fatal(err)
	}
	b.rebuilt()
	b.handle(`{"op":"get"}`, nil)
	b.rebuilt()
}

func mustModule(t *testing.T, b *bench, name string) *wasmhost.Module {
	t.Helper()
	m, err := b.host.Compile(context.Background(), fixtures.Agent(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

// TestAMigrationThatDiverges is told; one that diverged before the guest began anew
// does not matter any more.
func TestAMigrationThatDiverges(t *testing.T) {
	b := newBench(t, fixtures.Agent("tally"))
	b.shelve("tally", "tally-2")
	b.handle(`{"op":"add","n":3}`, nil)
	b.update("tally-2", func(u *events.AgentUpdated) { u.Migration.Fuel++ })
	_, err := b.src.Agent(context.Background(), b.state.ID)
	var diverged *DivergedError
	if !errors.As(err, &diverged) || diverged.Revision != 2 || !strings.Contains(err.Error(), "migration") {
		t.Fatalf("%v, want a *DivergedError at revision 2", err)
	}
	b.append(events.AgentRestarted{})
	a, err := b.src.Agent(context.Background(), b.state.ID)
	if err != nil || a.Guest == nil {
		t.Fatalf("after a restart: %v", err)
	}
	a.Release()
}

// trialOf tries a benign agent's module on what the bench's agent has handled.
func (b *bench) trialOf(name string) Trial {
	b.t.Helper()
	out, err := b.src.Trial(context.Background(), b.state.ID, events.HashModule(fixtures.Agent(name)), events.DefaultLimits())
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func TestTrial(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-c"))
	b.shelve("counter-c", "counter-rust", "tally", "tally-2", "echo")
	for i := range 5 {
		b.handle(fmt.Sprintf(`{"op":"add","n":%d}`, i), nil)
	}
	for _, same := range []string{"counter-c", "counter-rust"} {
		if out := b.trialOf(same); out.Difference != nil || out.Messages != 5 || !out.Complete || !out.FromMemory || out.From != 1 || out.Migration != nil {
			t.Errorf("%s: %+v", same, out)
		}
	}
	out := b.trialOf("echo")
	if d := out.Difference; d == nil || d.What != "reply" || d.Revision != 1 || d.Recorded != `{"count":0}` || d.Now != `{"op":"add","n":0}` || out.Messages != 1 || !out.Complete {
		t.Errorf("echo: %+v %+v", out, d)
	}
	b.update("tally", nil)
	b.handle(`{"op":"add","n":5}`, nil)
	out = b.trialOf("tally-2")
	if d := out.Difference; d == nil || d.What != "state" || out.From != 7 || !strings.Contains(d.Now, `"sum"`) || out.Migration == nil || out.Migration.Outcome != events.OutcomeOK || out.Migration.State != 2 {
		t.Errorf("tally-2: %+v %+v %+v", out, d, out.Migration)
	}
	if before := b.state.Revision; b.rebuilt().State.Revision != before {
		t.Error("a trial left an event")
	}
	if _, err := b.src.Trial(context.Background(), events.NewAgentID(), events.HashModule(fixtures.Agent("echo")), events.DefaultLimits()); !errors.Is(err, events.ErrAgentNotFound) {
		t.Errorf("%v, want events.ErrAgentNotFound", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if out, err := b.src.Trial(ended, b.state.ID, events.HashModule(fixtures.Agent("tally")), events.DefaultLimits()); err == nil && out.Complete {
		t.Errorf("a trial without time is complete: %+v", out)
	}
}
