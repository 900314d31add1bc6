package wasmhost_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
)

type values map[string][]byte

func (v values) Get(key string) ([]byte, bool) { b, ok := v[key]; return b, ok }

// TestMigrate: a module moves the state of the one before it, or refuses to, within
// bounds.
func TestMigrate(t *testing.T) {
	ctx := context.Background()
	host, err := wasmhost.New(ctx, wasmhost.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := host.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	change := wasmhost.Change{From: events.HashModule(fixtures.Agent("tally")), To: events.HashModule(fixtures.Agent("tally-2"))}
	run := func(guest string, state values, timeout time.Duration) wasmhost.Outcome {
		t.Helper()
		mod, err := host.Compile(ctx, fixtures.Agent(guest))
		if err != nil {
			t.Fatal(err)
		}
		defer mod.Release()
		in, err := host.Instantiate(ctx, mod, events.DefaultLimits().MaxMemoryBytes)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out := in.Migrate(ctx, wasmhost.Call{Fuel: 1_000_000_000_000, Timeout: timeout, State: state}, change)
		if ok := out.Status == events.OutcomeOK || out.Status == events.OutcomeNoHandler; in.Usable() != ok {
			t.Errorf("after %s usable is %v", out.Status, in.Usable())
		}
		return out
	}

	out := run("tally-2", values{"total": []byte("14")}, 0)
	if out.Status != events.OutcomeOK || len(out.State) != 2 || out.State[0].Key != "sum" || string(out.State[0].Value) != "14" || !out.State[1].Delete ||
		len(out.Logs) != 1 || out.Fuel == 0 {
		t.Errorf("%+v", out)
	}
	if again := run("tally-2", values{"total": []byte("14")}, 0); again.Fuel != out.Fuel {
		t.Errorf("fuel %d, then %d", out.Fuel, again.Fuel)
	}
	if out := run("tally-2", values{}, 0); out.Status != events.OutcomeOK || len(out.State) != 0 {
		t.Errorf("no state: %+v", out)
	}
	if out := run("tally-2", values{"total": []byte("-1")}, 0); out.Status != events.OutcomeRefused || out.GuestStatus != 7 || !strings.Contains(out.Detail, "caxton_migrate returned 7") {
		t.Errorf("refusal: %+v", out)
	}
	if out := run("tally-2", values{"total": []byte("13")}, time.Millisecond); out.Status != events.OutcomeTimeout {
		t.Errorf("spinning: %+v", out)
	}
	if out := run("tally", values{}, 0); out.Status != events.OutcomeNoHandler {
		t.Errorf("without caxton_migrate: %+v", out)
	}
}

// TestSetMaxMemory: growth goes by the limit as it is now.
func TestSetMaxMemory(t *testing.T) {
	ctx := context.Background()
	host, err := wasmhost.New(ctx, wasmhost.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close(ctx) }()
	mod, err := host.Compile(ctx, fixtures.Agent("echo"))
	if err != nil {
		t.Fatal(err)
	}
	defer mod.Release()
	in, err := host.Instantiate(ctx, mod, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	send := func(n int) events.OutcomeStatus {
		m := &events.Message{ID: events.NewMessageID(), Content: []byte(`"` + strings.Repeat("x", n) + `"`)}
		return in.Handle(ctx, wasmhost.Call{Message: m, Fuel: 1_000_000_000_000}).Status
	}
	in.SetMaxMemory(in.MemoryBytes())
	if got := send(10); got != events.OutcomeOK {
		t.Errorf("within the memory it has: %s", got)
	}
	in.SetMaxMemory(in.MemoryBytes() + 16<<20)
	if got := send(200 << 10); got != events.OutcomeOK {
		t.Errorf("with a higher limit: %s", got)
	}
	in.SetMaxMemory(in.MemoryBytes())
	if got := send(events.MaxMessageContent - 2); got != events.OutcomeMemoryLimit {
		t.Errorf("beyond it: %s", got)
	}
}
