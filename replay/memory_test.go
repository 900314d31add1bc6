package replay

import (
	"context"
	"errors"
	"iter"
	"os"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
)

// TestAFullNodeDoesNotDiverge: a run that is refused memory which other guests have
// has not gone otherwise than the log says: the agent is rebuilt when there is memory.
func TestAFullNodeDoesNotDiverge(t *testing.T) {
	wasm, err := os.ReadFile("../wasmhost/testdata/probe.wasm")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, wasm)
	for range 5 {
		b.handle(`"c"`, nil) // the fifth takes another page
	}
	ctx := context.Background()
	cfg := wasmhost.DefaultConfig()
	cfg.GuestMemory = 1 << 20
	small, err := wasmhost.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := small.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	m, err := small.Compile(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	var others []*wasmhost.Instance
	for range 15 { // and one page is left
		in, err := small.Instantiate(ctx, m, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, in)
	}
	src := Source{Store: b.store, Host: small, Modules: sharing{small, wasm}}
	var diverged *DivergedError
	if _, err := src.Agent(ctx, b.state.ID); !errors.Is(err, events.ErrOverloaded) || errors.As(err, &diverged) {
		t.Errorf("rebuilt on a full node: %v", err)
	}
	if out, err := src.Trial(ctx, b.state.ID, b.mod.Hash(), b.state.Limits); !errors.Is(err, events.ErrOverloaded) || out.Complete || out.Difference != nil {
		t.Errorf("tried on a full node: %+v, %v", out, err)
	}
	for _, in := range others {
		in.Close()
	}
	live, err := src.Agent(ctx, b.state.ID)
	if err != nil {
		t.Fatal(err)
	}
	if live.Guest.StateHash() != b.hash[len(b.hash)-1] {
		t.Error("rebuilt with memory, its state is another")
	}
	live.Release()
}

// ending is a store that ends a context when it has read a message, and does not notice.
type ending struct {
	events.Store
	end context.CancelFunc
}

// ReadStream implements events.Store.
func (e ending) ReadStream(ctx context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		for rec, err := range e.Store.ReadStream(context.WithoutCancel(ctx), s, o) {
			if rec.Revision == 1 && rec.Type == (events.MessageHandled{}).EventType() {
				e.end()
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// TestAnEndIsNoDivergence: a run that its caller ends has not gone otherwise than the
// log says.
func TestAnEndIsNoDivergence(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-c"))
	b.handle(`{"op":"add","n":1}`, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	src := b.src
	src.Store = ending{b.store, cancel}
	var diverged *DivergedError
	if _, err := src.Agent(ctx, b.state.ID); !errors.Is(err, context.Canceled) || errors.As(err, &diverged) {
		t.Errorf("ended within a run: %v", err)
	}
}
