package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

func TestConfigValidate(t *testing.T) {
	var invalid *events.InvalidError
	if err := (Config{}).Validate(); !errors.As(err, &invalid) || len(invalid.Fields) < 9 {
		t.Errorf("%v", err)
	}
	if _, err := New(context.Background(), Config{}); !errors.As(err, &invalid) {
		t.Errorf("New: %v", err)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// TestSingleFlight: one module, compiled once, for all who ask at once; what
// they run is theirs alone.
func TestSingleFlight(t *testing.T) {
	h := hostWith(t, nil, false)
	wasm := testModule(t, "probe")
	got := make([]*Module, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			m, err := h.Compile(context.Background(), wasm)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = m
			in, err := h.Instantiate(context.Background(), m, testMemory)
			if err != nil {
				t.Error(err)
				return
			}
			defer in.Close()
			for n := range 20 {
				if out := count(in, n); out.Status != events.OutcomeOK {
					t.Errorf("%s: %s", out.Status, out.Detail)
				}
			}
			snap, err := in.Snapshot()
			if err != nil {
				t.Error(err)
				return
			}
			again, err := h.Restore(context.Background(), m, testMemory, snap)
			if err != nil {
				t.Error(err)
				return
			}
			again.Close()
		})
	}
	wg.Wait()
	for _, m := range got {
		if m != got[0] {
			t.Error("the module was compiled more than once")
		}
		m.Release()
	}
}

// TestIdleModules: a module in use stays, and so do the last ones that were.
func TestIdleModules(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.IdleModules = 2 }, true)
	ctx := context.Background()
	used := compileTest(t, h, "probe")
	in := start(t, h, used)
	var old []events.ModuleHash
	for _, name := range []string{"alloc-null", "alloc-far", "alloc-missing"} {
		m, err := h.Compile(ctx, testModule(t, name))
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, m.Hash())
		m.Release()
	}
	for i, want := range []bool{false, true, true} {
		m, ok := h.Cached(old[i])
		if ok != want {
			t.Errorf("module %d is kept: %v, want %v", i, ok, want)
		}
		if ok {
			m.Release()
		}
	}
	m, ok := h.Cached(used.Hash())
	if !ok || m != used {
		t.Error("a module in use is gone")
	}
	m.Release()
	if out := ask(in, "a"); out.Status != events.OutcomeOK {
		t.Errorf("its instance: %s", out.Status)
	}
}

// TestFailedBuilds: a refusal is everyone's who waited, and nothing of it stays.
func TestFailedBuilds(t *testing.T) {
	h := hostWith(t, nil, true)
	var bad []byte
	for _, c := range fixtures.Hostile() {
		if c.Name == "locals" {
			bad = c.Wasm
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var refused *events.RefusedError
			if _, err := h.Compile(context.Background(), bad); !errors.As(err, &refused) {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if len(h.modules) != 0 || h.idle.Len() != 0 {
		t.Errorf("%d modules stay, %d idle", len(h.modules), h.idle.Len())
	}
	// Of types that do not fit: the gate admits it, the engine does not.
	invalid := []byte("\x00asm\x01\x00\x00\x00\x01\x05\x01\x60\x00\x01\x7f\x03\x02\x01\x00\x0a\x04\x01\x02\x00\x0b")
	if _, err := h.Compile(context.Background(), invalid); !errors.Is(err, events.ErrInvalidWasm) {
		t.Errorf("%v", err)
	}
}

func TestCompileContext(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.CompileSlots = 1 }, true)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h.slots <- struct{}{} // someone else is compiling
	if _, err := h.Compile(ctx, testModule(t, "probe")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-h.slots
	if m, err := h.Compile(context.Background(), testModule(t, "probe")); err != nil {
		t.Errorf("after that: %v", err)
	} else {
		m.Release()
	}
}

func TestClosed(t *testing.T) {
	h, err := New(context.Background(), DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	m, err := h.Compile(context.Background(), testModule(t, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if _, err := h.Compile(context.Background(), testModule(t, "probe")); !errors.Is(err, events.ErrClosed) {
		t.Errorf("compile: %v", err)
	}
	if _, err := h.Instantiate(context.Background(), m, testMemory); !errors.Is(err, events.ErrClosed) {
		t.Errorf("instantiate: %v", err)
	}
	if _, ok := h.Cached(m.Hash()); ok {
		t.Error("a closed host has modules")
	}
	m.Release()
}

// panicking is a state that fails the host, not the guest.
type panicking struct{}

func (panicking) Get(string) ([]byte, bool) { panic(fmt.Errorf("state is broken")) }

func TestHostFault(t *testing.T) {
	h := hostWith(t, nil, false)
	m, err := h.Compile(context.Background(), fixtures.Agent("kv"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	in := start(t, h, m)
	c := testCall("")
	c.Message, c.State = request(`{"op":"get","key":"k"}`), panicking{}
	if out := in.Handle(context.Background(), c); out.Status != events.OutcomeHostFault || in.Usable() {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
	in = start(t, h, m)
	c.Message = nil
	if out := in.Handle(context.Background(), c); out.Status != events.OutcomeHostFault {
		t.Errorf("without a message: %s: %s", out.Status, out.Detail)
	}
}

// TestStoredModules: bytes are asked for when their module's turn has come, of one of
// those who wait. What became of that one, if it does not bring them, is not the others'.
func TestStoredModules(t *testing.T) {
	wasm, away := testModule(t, "probe"), errors.New("not here")
	for name, c := range map[string]struct {
		first Loader
		asked int64
	}{
		"found":  {given(wasm), 1},
		"failed": {func(context.Context) ([]byte, error) { return nil, away }, 2},
		"panic":  {func(context.Context) ([]byte, error) { panic(away) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := hostWith(t, func(c *Config) { c.CompileSlots = 1 }, false)
			h.slots <- struct{}{}
			var asked atomic.Int64
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					defer func() {
						if r := recover(); r != nil && (r != away || name != "panic") {
							t.Errorf("panic: %v", r)
						}
					}()
					m, err := h.CompileStored(context.Background(), events.HashModule(wasm), func(ctx context.Context) ([]byte, error) {
						if asked.Add(1) == 1 {
							return c.first(ctx)
						}
						return wasm, nil
					})
					switch {
					case err == nil:
						m.Release()
					case err != away || name != "failed":
						t.Error(err)
					}
				})
				for h.waiting() <= i {
					runtime.Gosched()
				}
			}
			if n := asked.Load(); n != 0 {
				t.Errorf("bytes are asked for %d times before their turn", n)
			}
			<-h.slots
			wg.Wait()
			if n := asked.Load(); n != c.asked {
				t.Errorf("bytes are asked for %d times, want %d", n, c.asked)
			}
			if len(h.slots) != 0 || h.builds.Load() != 0 {
				t.Errorf("%d slots and %d builds are left", len(h.slots), h.builds.Load())
			}
		})
	}
}

// waiting counts the references to modules that are compiled or were.
func (h *Host) waiting() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.modules {
		n += m.refs
	}
	return n
}
