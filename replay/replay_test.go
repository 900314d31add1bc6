package replay

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a log with one agent whose guest lives beside it: what a replay has
// to come to.
type bench struct {
	t     testing.TB
	store *pebblestore.Store
	host  *wasmhost.Host
	src   Source
	state *agent.State
	mod   *wasmhost.Module
	guest *wasmhost.Instance
	hash  [][32]byte // of the guest, by the agent's revision
}

// only is a source of one module.
type only struct{ mod *wasmhost.Module }

func (o only) Module(context.Context, events.ModuleHash) (*wasmhost.Module, error) {
	if o.mod == nil {
		return nil, events.ErrModuleNotFound
	}
	return o.mod, nil
}

func newBench(t testing.TB, wasm []byte) *bench {
	t.Helper()
	ctx := context.Background()
	store, err := pebblestore.Open(t.TempDir(), pebblestore.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	host, err := wasmhost.New(ctx, wasmhost.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, store: store, host: host}
	t.Cleanup(func() {
		if b.guest != nil {
			b.guest.Close()
		}
		if err := errors.Join(host.Close(ctx), store.Close()); err != nil {
			t.Error(err)
		}
	})
	if b.mod, err = host.Compile(ctx, wasm); err != nil {
		t.Fatal(err)
	}
	b.src = Source{Store: store, Host: host, Modules: sharing{host, wasm}}
	id := events.NewAgentID()
	b.state = &agent.State{ID: id}
	b.append(events.AgentDeployed{AgentID: id, Name: "a", Module: b.mod.Hash(), ModuleSize: len(wasm), Limits: events.DefaultLimits(), Priority: events.Normal})
	if b.mod.Info().HandlesMessages {
		if b.guest, err = host.Instantiate(ctx, b.mod, events.DefaultLimits().MaxMemoryBytes); err != nil {
			t.Fatal(err)
		}
		b.hash = append(b.hash, b.guest.StateHash())
	}
	return b
}

// sharing compiles a module again and again: each caller releases its own.
type sharing struct {
	host *wasmhost.Host
	wasm []byte
}

func (s sharing) Module(ctx context.Context, _ events.ModuleHash) (*wasmhost.Module, error) {
	return s.host.Compile(ctx, s.wasm)
}

// append adds payloads to the agent's stream and folds them.
func (b *bench) append(list ...events.Payload) {
	b.t.Helper()
	for _, p := range list {
		ev, err := events.Encode(events.NewEventID(), p, events.Metadata{})
		if err != nil {
			b.t.Fatal(err)
		}
		res, err := b.store.Append(context.Background(), events.AgentStream(b.state.ID), events.Any(), ev)
		if err != nil {
			b.t.Fatal(err)
		}
		if err := b.state.Apply(res.Last, p); err != nil {
			b.t.Fatal(err)
		}
	}
}

// handle runs a message and records it, as the actor does.
func (b *bench) handle(content string, change func(*events.MessageHandled)) {
	b.t.Helper()
	m := events.Message{
		ID: events.NewMessageID(), Performative: events.Request, Sender: "user:test", Receiver: b.state.ID.String(),
		Content: json.RawMessage(content), ConversationID: "c",
	}
	host := events.HostRecord{NowMicros: b.state.Now(1), Seed: 42}
	out := b.guest.Handle(context.Background(), wasmhost.Call{Message: &m, Host: host, Fuel: b.state.Limits.MaxFuel, State: b.state, Agent: b.state})
	run := agent.Run{
		Message: m, Host: host, MeterVersion: meter.Version, Status: out.Status, Detail: out.Detail, Replied: out.Replied,
		Reply: out.Reply, Logs: out.Logs, State: out.State, Fuel: out.Fuel, Capabilities: out.Capabilities,
	}
	for _, c := range out.Timers {
		run.Timers = append(run.Timers, agent.TimerChange(c))
	}
	payloads, err := agent.Decide(b.state, agent.Finish{Run: run})
	if err != nil {
		b.t.Fatal(err)
	}
	for i, p := range payloads {
		if h, ok := p.(events.MessageHandled); ok && change != nil {
			change(&h)
			payloads[i] = h
		}
	}
	b.append(payloads...)
	b.hash = append(b.hash, b.guest.StateHash())
}

// snapshot stores what the agent is now.
func (b *bench) snapshot(spoil func([]byte) []byte) {
	b.t.Helper()
	memory, err := b.guest.Snapshot()
	if err != nil {
		b.t.Fatal(err)
	}
	list, err := EncodeSnapshot(b.state, memory)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, ev := range list {
		if spoil != nil {
			ev.Data = spoil(ev.Data)
		}
		if _, err := b.store.Append(context.Background(), events.SnapshotStream(b.state.ID), events.Any(), ev); err != nil {
			b.t.Fatal(err)
		}
	}
}

// rebuilt wants the agent from the log to be the one that lives.
func (b *bench) rebuilt() *Agent {
	b.t.Helper()
	a, err := b.src.Agent(context.Background(), b.state.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(a.Release)
	if got, want := encoded(b.t, a.State), encoded(b.t, b.state); got != want {
		b.t.Errorf("state\n%s\nwant\n%s", got, want)
	}
	if b.guest != nil && a.Guest.StateHash() != b.guest.StateHash() {
		b.t.Error("the rebuilt guest's memory differs")
	}
	return a
}

func encoded(t testing.TB, s *agent.State) string {
	t.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRebuildIsExact at every revision, in four languages.
func TestRebuildIsExact(t *testing.T) {
	for _, guest := range []string{"counter-c", "counter-rust", "counter-as", "counter-go", "kv"} {
		t.Run(guest, func(t *testing.T) {
			b := newBench(t, fixtures.Agent(guest))
			b.rebuilt()
			for i := range 8 {
				if guest == "kv" {
					b.handle(fmt.Sprintf(`{"op":"put","key":"k%d","value":"<%d & more>"}`, i%3, i), nil)
				} else {
					b.handle(fmt.Sprintf(`{"op":"add","n":%d}`, i), nil)
				}
				if a := b.rebuilt(); a.Replayed != i+1 {
					t.Errorf("%d messages run again, want %d", a.Replayed, i+1)
				}
			}
		})
	}
}

// TestRebuildBeginsAtTheNewestUsableSnapshot: damaged ones are passed over.
func TestRebuildBeginsAtTheNewestUsableSnapshot(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	for i := range 4 {
		b.handle(`{"op":"add","n":1}`, nil)
		switch i {
		case 1:
			b.snapshot(nil)
		case 2:
			b.snapshot(func(d []byte) []byte { return d[:len(d)/2] })
		case 3:
			b.snapshot(func(d []byte) []byte { d[0] = 99; return d })
		}
	}
	a := b.rebuilt()
	if a.Snapshot != 2 || a.Replayed != 2 {
		t.Errorf("began at revision %d and ran %d messages again, want 2 and 2", a.Snapshot, a.Replayed)
	}
	b.snapshot(nil)
	if a := b.rebuilt(); a.Snapshot != 4 || a.Replayed != 0 {
		t.Errorf("began at revision %d and ran %d messages again, want 4 and none", a.Snapshot, a.Replayed)
	}
}

// TestDivergence: a log that says otherwise than the guest does is told, with its
// place.
func TestDivergence(t *testing.T) {
	for name, change := range map[string]func(*events.MessageHandled){
		"fuel":    func(h *events.MessageHandled) { h.Fuel++ },
		"outcome": func(h *events.MessageHandled) { h.Message.Content = json.RawMessage(`{"op":"dance"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fixtures.Agent("counter-c"))
			b.handle(`{"op":"add","n":1}`, nil)
			b.handle(`{"op":"add","n":1}`, change)
			_, err := b.src.Agent(context.Background(), b.state.ID)
			var diverged *DivergedError
			if !errors.As(err, &diverged) || diverged.Revision != 2 || diverged.Agent != b.state.ID {
				t.Fatalf("%v, want a *DivergedError at revision 2", err)
			}
			if !strings.Contains(err.Error(), "recorded") {
				t.Errorf("%v does not say what was recorded", err)
			}
			st, err := b.src.State(context.Background(), b.state.ID)
			if err != nil || st.Revision != 2 {
				t.Errorf("its state alone: %v, %v", st, err)
			}
		})
	}
}

// TestRerunIsBounded: an agent whose messages take too long to be run again is told
// by name, and begins anew all the same after a restart.
func TestRerunIsBounded(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-c"))
	b.handle(`{"op":"add","n":1}`, nil)
	b.src.MaxRerun = time.Nanosecond // over before the first message is
	_, err := b.src.Agent(context.Background(), b.state.ID)
	var long *RerunTooLongError
	if !errors.As(err, &long) || long.Agent != b.state.ID || long.Limit != b.src.MaxRerun || !errors.Is(err, events.ErrIllegalLifecycle) {
		t.Fatalf("%v, want a *RerunTooLongError", err)
	}
	b.src.MaxRerun = time.Hour
	if a := b.rebuilt(); a.Replayed != 1 {
		t.Errorf("%d messages run again, want 1", a.Replayed)
	}
}

// TestOtherMachineIsRefused: what a module that computes with floats did on another
// architecture is not run again as if it were the same. A snapshot after it will do.
func TestOtherMachineIsRefused(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-c"))
	elsewhere := func(h *events.MessageHandled) { h.Host.Machine = "pdp11" }
	b.handle(`{"op":"add","n":1}`, func(h *events.MessageHandled) { h.Host.Machine = runtime.GOARCH })
	b.handle(`{"op":"add","n":1}`, elsewhere)
	_, err := b.src.Agent(context.Background(), b.state.ID)
	var other *MachineError
	if !errors.As(err, &other) || other.Revision != 2 || other.Ran != "pdp11" || !errors.Is(err, events.ErrIllegalLifecycle) {
		t.Fatalf("%v, want a *MachineError at revision 2", err)
	}
	b.snapshot(nil)
	b.handle(`{"op":"add","n":1}`, nil)
	if a := b.rebuilt(); a.Replayed != 1 {
		t.Errorf("%d messages run again, want 1", a.Replayed)
	}
}

func TestOlderMeterIsNotCompared(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-c"))
	b.handle(`{"op":"add","n":1}`, func(h *events.MessageHandled) { h.Fuel, h.MeterVersion = 1, meter.Version+1 })
	b.rebuilt()
}

// TestAnotherMeterMayChargeMore: a run that succeeded is run again even if today it
// costs more than the agent may use.
func TestAnotherMeterMayChargeMore(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-c"))
	b.handle(`{"op":"add","n":1}`, func(h *events.MessageHandled) { h.MeterVersion = meter.Version + 1 })
	b.state.Limits.MaxFuel = 1
	limits := func(p events.Payload) events.Payload {
		d := p.(events.AgentDeployed)
		d.Limits.MaxFuel = 1
		return d
	}
	b.src.Store = rewriting{b.store, limits}
	if a := b.rebuilt(); a.Replayed != 1 {
		t.Errorf("%d messages run again, want 1", a.Replayed)
	}
}

//go:embed testdata/deep.wasm
var deepModule []byte

// TestAnotherMeterMayWeighMore: nor does it matter that its frames weigh more today
// than the agent's calls may nest.
func TestAnotherMeterMayWeighMore(t *testing.T) {
	b := newBench(t, deepModule)
	b.handle(`1`, func(h *events.MessageHandled) { h.MeterVersion = meter.Version + 1 })
	cfg := wasmhost.DefaultConfig()
	cfg.CallDepth = 50
	strict, err := wasmhost.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = strict.Close(context.Background()) })
	b.src.Host, b.src.Modules = strict, sharing{strict, deepModule}
	if a := b.rebuilt(); a.Replayed != 1 {
		t.Errorf("%d messages run again, want 1", a.Replayed)
	}
	b.handle(`2`, nil)
	var diverged *DivergedError
	if _, err := b.src.Agent(t.Context(), b.state.ID); !errors.As(err, &diverged) {
		t.Errorf("a message of this meter is bounded as it was: %v", err)
	}
}

// rewriting is a log whose first events say something else.
type rewriting struct {
	events.Store
	change func(events.Payload) events.Payload
}

// ReadStream implements events.Store.
func (r rewriting) ReadStream(ctx context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		for rec, err := range r.Store.ReadStream(ctx, s, o) {
			if err == nil && rec.Type == (events.AgentDeployed{}).EventType() {
				var p events.Payload
				if p, err = events.Decode(rec.Event); err == nil {
					rec.Event, err = events.Encode(rec.ID, r.change(p), events.Metadata{})
				}
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// TestStateBeginsAtASnapshot: a state alone needs neither the module nor the
// events before the snapshot.
func TestStateBeginsAtASnapshot(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	for range 3 {
		b.handle(`{"op":"add","n":1}`, nil)
	}
	b.snapshot(nil)
	b.handle(`{"op":"add","n":1}`, nil)
	read := &counting{Store: b.store, stream: events.AgentStream(b.state.ID)}
	b.src.Store, b.src.Modules = read, only{}
	st, err := b.src.State(context.Background(), b.state.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := encoded(t, st), encoded(t, b.state); got != want {
		t.Errorf("state\n%s\nwant\n%s", got, want)
	}
	if read.n != 1 {
		t.Errorf("%d events of the agent were read, want the one since the snapshot", read.n)
	}
}

// counting counts the events that are read from one stream.
type counting struct {
	events.Store
	stream events.Stream
	n      int
}

// ReadStream implements events.Store.
func (c *counting) ReadStream(ctx context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		for rec, err := range c.Store.ReadStream(ctx, s, o) {
			if s == c.stream {
				c.n++
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

func TestAgentsWithoutAGuest(t *testing.T) {
	b := newBench(t, []byte("\x00asm\x01\x00\x00\x00"))
	if a := b.rebuilt(); a.Guest != nil || a.Module == nil {
		t.Errorf("guest %v, module %v", a.Guest, a.Module)
	}
	a, err := b.src.Agent(context.Background(), events.NewAgentID())
	if err != nil || a.State.Exists() {
		t.Errorf("an agent that never was: %v, %v", a, err)
	}
	b.src.Modules = only{}
	if _, err := b.src.Agent(context.Background(), b.state.ID); !errors.Is(err, events.ErrModuleNotFound) {
		t.Errorf("%v, want events.ErrModuleNotFound", err)
	}
}
