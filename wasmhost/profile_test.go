package wasmhost

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

func compileProfiled(t testing.TB, h *Host, wasm []byte) *Module {
	t.Helper()
	m, err := h.CompileProfiled(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

// TestProfile: a guest whose work is known is told so: by whom, how often and
// how much.
func TestProfile(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.Slice = 999 }, false)
	in := start(t, h, compileProfiled(t, h, testModule(t, "busy")))
	if p := in.TakeProfile(); len(p.Samples) != 0 {
		t.Errorf("before its first call: %+v", p)
	}
	var used events.Fuel
	for range 3 {
		out := ask(in, "q")
		if out.Status != events.OutcomeOK {
			t.Fatalf("%s: %s", out.Status, out.Detail)
		}
		used += out.Fuel
	}
	p := in.TakeProfile()
	if p.Fuel() != used || p.Truncated {
		t.Errorf("the samples have %d fuel, the calls used %d", p.Fuel(), used)
	}
	byName := map[string]FunctionFuel{}
	var names []string
	for _, f := range p.Functions() {
		byName[f.Name] = f
		names = append(names, f.Name)
	}
	if want := []string{"hot", "cold", "handle", "main", "caxton_alloc"}; !slices.Equal(names, want) {
		t.Fatalf("functions %v, want %v", names, want)
	}
	hot, cold, handle, inner := byName["hot"], byName["cold"], byName["handle"], byName["main"]
	if hot.Calls != 6 || cold.Calls != 3 || inner.Calls != 3 || handle.Calls != 3 || byName["caxton_alloc"].Calls != 3 {
		t.Errorf("calls: %+v", byName)
	}
	// hot goes round its loop 3,000 times in each of two calls, cold 1,000 in one.
	if ratio := float64(hot.Self) / float64(cold.Self); math.Abs(ratio-6) > 0.06 {
		t.Errorf("hot used %d, cold %d: ratio %.3f, want 6", hot.Self, cold.Self, ratio)
	}
	if hot.Self != hot.Total || inner.Total != inner.Self+hot.Self+cold.Self || handle.Total != handle.Self+inner.Total {
		t.Errorf("totals: %+v", byName)
	}
	if got := p.Samples[0].Stack; !slices.Equal(got, []string{"hot", "main", "handle"}) {
		t.Errorf("the stack with most fuel is %v", got)
	}
	if inner.Self < 3*costCall {
		t.Errorf("main used %d; the host function that it called three times costs %d each", inner.Self, costCall)
	}
	if again := in.TakeProfile(); len(again.Samples) != 0 {
		t.Errorf("taken twice: %+v", again)
	}
}

// TestProfiledIsTheSame: profiling changes neither outcome nor fuel nor state, and
// no fuel is missing from a profile, however a call ends.
func TestProfiledIsTheSame(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.CallDepth = 500 }, false)
	check := func(name string, wasm []byte, c Call) {
		t.Helper()
		m, err := h.Compile(context.Background(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		plain, profiled := start(t, h, m), start(t, h, compileProfiled(t, h, wasm))
		want, got := plain.Handle(context.Background(), c), profiled.Handle(context.Background(), c)
		if got.Status != want.Status || got.Fuel != want.Fuel || profiled.StateHash() != plain.StateHash() {
			t.Errorf("%s: %s with %d fuel; without a profile %s with %d", name, got.Status, got.Fuel, want.Status, want.Fuel)
		}
		p := profiled.TakeProfile()
		for _, f := range p.Functions() {
			if strings.HasPrefix(f.Name, "__cx") {
				t.Errorf("%s: %s of the meter's is in the profile", name, f.Name)
			}
		}
		if sum := p.Fuel(); sum != got.Fuel && got.Status != events.OutcomeOutOfFuel || sum < got.Fuel {
			t.Errorf("%s: %s, the profile has %d fuel of %d", name, got.Status, sum, got.Fuel)
		}
		if q := plain.TakeProfile(); len(q.Samples) != 0 {
			t.Errorf("%s: a profile that nobody asked for", name)
		}
	}
	for _, letter := range strings.Split("aruzwsdgmxbfpoc", "") {
		c := testCall(letter)
		c.Fuel = 3_000_000
		check("probe "+letter, testModule(t, "probe"), c)
	}
	for _, letter := range strings.Split("scehdqr", "") {
		c := testCall(letter)
		c.Fuel = 300_000
		check("busy "+letter, testModule(t, "busy"), c)
	}
	for _, letter := range []string{"f", "c"} {
		check("long "+letter, testModule(t, "long"), testCall(letter))
	}
	for _, name := range []string{"counter-c", "counter-rust", "counter-as", "kv"} {
		c := testCall("")
		c.Message = request(`{"op":"add","n":1}`)
		check(name, fixtures.Agent(name), c)
	}
}

// TestProfileSwap: an agent that runs is profiled from the middle of its life:
// its snapshot is good for the profiled module, and the other way round.
func TestProfileSwap(t *testing.T) {
	h := hostWith(t, nil, false)
	plain, profiled := compileTest(t, h, "probe"), compileProfiled(t, h, testModule(t, "probe"))
	if plain == profiled {
		t.Fatal("one module for both")
	}
	swap := func(in *Instance, to *Module) *Instance {
		t.Helper()
		snap, err := in.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		next, err := h.Restore(context.Background(), to, testMemory, snap)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(next.Close)
		return next
	}
	swapped, whole := start(t, h, plain), start(t, h, plain)
	for n := range 30 {
		switch n {
		case 10:
			swapped = swap(swapped, profiled)
		case 20:
			if p := swapped.TakeProfile(); p.Fuel() == 0 {
				t.Error("nothing in the profile")
			}
			swapped = swap(swapped, plain)
		}
		if a, b := count(swapped, n), count(whole, n); a.Fuel != b.Fuel {
			t.Errorf("message %d: %d fuel, without profiling %d", n, a.Fuel, b.Fuel)
		}
	}
	if swapped.StateHash() != whole.StateHash() {
		t.Error("profiling changed the agent")
	}
}

// TestProfileIsBounded: a profile of more stacks than there is room for keeps
// all the fuel.
func TestProfileIsBounded(t *testing.T) {
	h := hostWith(t, nil, false)
	in := start(t, h, compileProfiled(t, h, testModule(t, "busy")))
	out := ask(in, "d") // 9,000 deep, one function
	if p := in.TakeProfile(); out.Status != events.OutcomeOK || len(p.Samples) > 4 || p.Fuel() != out.Fuel {
		t.Errorf("%s: %d samples, fuel %d of %d", out.Status, len(p.Samples), p.Fuel(), out.Fuel)
	}
	var p profile
	for i := range maxProfileNodes { // as if by a guest with that many functions
		p.nodes = append(p.nodes, profileNode{parent: int32(i) - 1, name: "f"})
	}
	p.frames = []int32{0}
	in.profile = &p
	out = ask(in, "q")
	if got := in.TakeProfile(); !got.Truncated || got.Fuel() != out.Fuel {
		t.Errorf("truncated %v, fuel %d of %d", got.Truncated, got.Fuel(), out.Fuel)
	}
}

// TestProfiledApart: the code for profiles is a worker's work too, and is found
// again.
func TestProfiledApart(t *testing.T) {
	iso := isolated(t)
	first := isolatedHost(t, iso)
	wasm := testModule(t, "busy")
	in := start(t, first, compileProfiled(t, first, wasm))
	if out := ask(in, "q"); out.Status != events.OutcomeOK || in.TakeProfile().Fuel() != out.Fuel {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
	again := *iso
	again.Command = shell("exit 9")
	second := isolatedHost(t, &again)
	in = start(t, second, compileProfiled(t, second, wasm))
	if out := ask(in, "q"); out.Status != events.OutcomeOK || in.TakeProfile().Fuel() != out.Fuel {
		t.Errorf("from the cache: %s: %s", out.Status, out.Detail)
	}
	if _, err := second.Compile(context.Background(), wasm); err == nil {
		t.Error("code for profiles was taken for plain code")
	}
}

// BenchmarkProfile is a call with and without.
func BenchmarkProfile(b *testing.B) {
	h := hostWith(b, nil, false)
	wasm := fixtures.Agent("counter-go")
	for _, profiled := range []bool{false, true} {
		m, name := benchModule(b, h, "counter-go"), "off"
		if profiled {
			m, name = compileProfiled(b, h, wasm), "on"
		}
		b.Run(name, func(b *testing.B) {
			in := start(b, h, m)
			c := Call{Message: request(`{"op":"add","n":1}`), Fuel: 1 << 40}
			for b.Loop() {
				if out := in.Handle(context.Background(), c); out.Status != events.OutcomeOK {
					b.Fatal(out.Status, out.Detail)
				}
			}
		})
	}
}

// TestProfileOfReservedNames: a guest hides none of its fuel behind the names of
// functions that the meter adds.
func TestProfileOfReservedNames(t *testing.T) {
	const handle = 15 // of busy
	h := hostWith(t, nil, false)
	core, err := meter.Core(testModule(t, "busy"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{meter.FillName, meter.CopyName} {
		names := slices.Concat([]byte{1, handle, byte(len(name))}, []byte(name))
		names = slices.Concat([]byte("\x04name\x01"), []byte{byte(len(names))}, names)
		wasm := slices.Concat(core, []byte{0, byte(len(names))}, names)
		in := start(t, h, compileProfiled(t, h, wasm))
		out := ask(in, "q")
		if p := in.TakeProfile(); out.Status != events.OutcomeOK || p.Fuel() != out.Fuel {
			t.Errorf("%s: %s, the profile has %d fuel of %d", name, out.Status, p.Fuel(), out.Fuel)
		}
	}
}
