package meter

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/assemblyscript"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

var errNoFuel = errors.New("no fuel")

// plenty is a budget that no test here uses up, and a depth.
const (
	plenty    = int64(1) << 50
	deepCalls = 2000
)

type engine struct {
	name     string
	cfg      wazero.RuntimeConfig
	profiled bool // compiled with listeners
}

func engines() []engine {
	return []engine{
		{name: "compiler", cfg: wazero.NewRuntimeConfigCompiler()},
		{name: "interpreter", cfg: wazero.NewRuntimeConfigInterpreter()},
	}
}

// machine runs one module, metered or not, as a host would.
type machine struct {
	t       testing.TB
	rt      wazero.Runtime
	mod     api.Module
	metered bool
	slice   int64
	depth   int32
	budget  int64
	granted int64
	stopped int64 // fuel used when refill ended the call
	refills int
	looks   int
	onLook  func() // nil for nothing
}

// newMachine instantiates a module that imports nothing but refill, WASI and what
// AssemblyScript needs. Clocks and randomness are the engine's fakes: the same in
// each run.
func newMachine(t testing.TB, e engine, wasm []byte, metered bool, slice int64) *machine {
	t.Helper()
	m, err := tryMachine(t, e, wasm, metered, slice)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tryMachine is newMachine for a module that may not come to life.
func tryMachine(t testing.TB, e engine, wasm []byte, metered bool, slice int64) (*machine, error) {
	t.Helper()
	ctx := context.Background()
	m := &machine{t: t, rt: wazero.NewRuntimeWithConfig(ctx, e.cfg), metered: metered, slice: slice, depth: deepCalls}
	t.Cleanup(func() { _ = m.rt.Close(ctx) })
	i64 := []api.ValueType{api.ValueTypeI64}
	if _, err := m.rt.NewHostModuleBuilder(RefillModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(m.refill), i64, i64).Export(RefillName).Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	wasi_snapshot_preview1.MustInstantiate(ctx, m.rt)
	env := m.rt.NewHostModuleBuilder("env")
	assemblyscript.NewFunctionExporter().ExportFunctions(env)
	if _, err := env.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	if metered {
		var err error
		if wasm, _, err = Instrument(wasm, Options{Caps: DefaultCaps()}); err != nil {
			t.Fatal(err)
		}
	}
	if e.profiled {
		ctx = experimental.WithFunctionListenerFactory(ctx, silent{})
	}
	var err error
	m.mod, err = m.rt.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions())
	return m, err
}

func (m *machine) refill(_ context.Context, _ api.Module, stack []uint64) {
	left := int64(stack[0])
	if left == Look {
		m.looks++
		if m.onLook != nil {
			m.onLook()
		}
		return
	}
	m.refills++
	if left >= 0 {
		panic("refill of a guest that has fuel")
	}
	if used := m.granted - left; used > m.budget {
		m.stopped = used
		panic(errNoFuel)
	}
	grant := min(m.slice, m.budget-m.granted)
	m.granted += grant
	g := m.global(FuelGlobal)
	g.Set(uint64(int64(g.Get()) + grant))
	stack[0] = uint64(left + grant)
}

func (m *machine) close() { _ = m.rt.Close(context.Background()) }

// initialize runs what has to run before anything else.
func (m *machine) initialize() {
	m.t.Helper()
	for _, name := range []string{StartExport, "_initialize"} {
		if m.mod.ExportedFunction(name) == nil {
			continue
		}
		if _, _, err := m.run(name, plenty); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *machine) global(name string) api.MutableGlobal {
	return m.mod.ExportedGlobal(name).(api.MutableGlobal)
}

// run calls a function with a budget; fuel is what it used, as far as the
// global shows.
func (m *machine) run(name string, budget int64, args ...uint64) (result uint64, fuel int64, err error) {
	m.t.Helper()
	m.budget, m.granted, m.stopped, m.refills, m.looks = budget, 0, 0, 0, 0
	if m.metered {
		m.global(FuelGlobal).Set(0)
		m.global(DepthGlobal).Set(uint64(m.depth))
	}
	f := m.mod.ExportedFunction(name)
	if f == nil {
		m.t.Fatalf("no function %s", name)
	}
	res, err := f.Call(context.Background(), args...)
	if m.metered {
		fuel = m.granted - int64(m.global(FuelGlobal).Get())
	}
	if len(res) > 0 {
		result = res[0]
	}
	return result, fuel, err
}

func (m *machine) memory() [32]byte {
	mem := m.mod.Memory()
	if mem == nil {
		return [32]byte{}
	}
	b, _ := mem.Read(0, mem.Size())
	return sha256.Sum256(b)
}

// kernelRuns are the kernels with sizes that take milliseconds, and the fuel of
// each, which changes with Version only.
func kernelRuns() []struct {
	name string
	n    uint64
	fuel int64
} {
	return []struct {
		name string
		n    uint64
		fuel int64
	}{
		{"fib", 15, 23_671}, {"sieve", 20_000, 860_470}, {"matmul", 1, 4_465_887}, {"crc32", 5000, 515_010},
		{"quicksort", 3000, 1_231_143}, {"sha", 100, 981_646}, {"mandel", 30, 644_485}, {"hashmap", 5000, 236_393},
		{"interpreter", 3000, 1_737_008}, {"indirect", 10_000, 175_031}, {"bulk", 50, 26_527}, {"collatz", 500, 557_681},
		{"grow", 20, 82_468}, {"depth", 300, 8_114},
	}
}

// TestKernels: metered or not, compiled or interpreted, in slices of any size, a
// program computes the same; and its fuel is always the same.
func TestKernels(t *testing.T) {
	src := kernels(t)
	slices := []int64{53, 977, 1 << 40}
	if testing.Short() {
		slices = slices[1:2]
	}
	for _, e := range engines() {
		plain := newMachine(t, e, src, false, 0)
		for _, slice := range slices {
			metered := newMachine(t, e, src, true, slice)
			for _, k := range kernelRuns() {
				want, _, err := plain.run(k.name, 0, k.n)
				if err != nil {
					t.Fatal(err)
				}
				got, fuel, err := metered.run(k.name, plenty, k.n)
				if err != nil || got != want {
					t.Errorf("%s, %s, slice %d: %d, %v, want %d", k.name, e.name, slice, got, err, want)
				}
				if fuel != k.fuel {
					t.Errorf("%s, %s, slice %d: %d fuel, want %d (raise Version with a change of totals)", k.name, e.name, slice, fuel, k.fuel)
				}
				if d := int32(metered.global(DepthGlobal).Get()); d != deepCalls {
					t.Errorf("%s: depth %d after the call, want %d", k.name, d, deepCalls)
				}
			}
			if plain.memory() != metered.memory() {
				t.Errorf("%s, slice %d: memories differ", e.name, slice)
			}
			plain = newMachine(t, e, src, false, 0) // a fresh one: grow changes the next run
		}
	}
}

// TestTrapFuel: what the global shows after a trap does not depend on slices.
func TestTrapFuel(t *testing.T) {
	var want int64
	for _, e := range engines() {
		for _, slice := range []int64{1, 100, 1 << 40} {
			m := newMachine(t, e, kernels(t), true, slice)
			_, fuel, err := m.run("wild", plenty, 10_000)
			if err == nil || !strings.Contains(err.Error(), "out of bounds") {
				t.Fatalf("got %v, want a trap", err)
			}
			if !strings.Contains(err.Error(), "wild") {
				t.Errorf("the trap does not name its function: %v", err)
			}
			if want == 0 {
				want = fuel
			}
			if fuel != want {
				t.Errorf("%s, slice %d: %d fuel, want %d", e.name, slice, fuel, want)
			}
			if d := int32(m.global(DepthGlobal).Get()); d < 0 {
				t.Errorf("depth %d after a trap that is none of depth", d)
			}
		}
	}
}

// TestBudget: with one unit less than it needs a program is stopped, at the
// same place for every slice.
func TestBudget(t *testing.T) {
	for _, k := range kernelRuns() {
		var places []int64
		for _, slice := range []int64{53, 1000, 1 << 40} {
			m := newMachine(t, engines()[0], kernels(t), true, slice)
			if _, _, err := m.run(k.name, k.fuel, k.n); err != nil {
				t.Errorf("%s with all the fuel it needs: %v", k.name, err)
			}
			m = newMachine(t, engines()[0], kernels(t), true, slice)
			_, _, err := m.run(k.name, k.fuel/2, k.n)
			if !errors.Is(err, errNoFuel) {
				t.Errorf("%s with half of its fuel: %v", k.name, err)
			}
			places = append(places, m.stopped)
		}
		if places[0] != places[1] || places[1] != places[2] {
			t.Errorf("%s stopped after %v", k.name, places)
		}
	}
}

func TestDepth(t *testing.T) {
	for _, e := range engines()[:1] { // the interpreter's own stack holds 2,000 frames
		m := newMachine(t, e, kernels(t), true, 1<<40)
		if got, _, err := m.run("depth", plenty, 1000); err != nil || got != 1000 {
			t.Errorf("%s: %d, %v", e.name, got, err)
		}
		_, _, err := m.run("depth", plenty, 1_000_000)
		if err == nil || int32(m.global(DepthGlobal).Get()) >= 0 {
			t.Errorf("%s: %v with depth %d, want a trap and a negative depth", e.name, err, int32(m.global(DepthGlobal).Get()))
		}
	}
}

// TestLateness bounds what a program may burn after its fuel is gone: a straight
// line of calls of the largest leaves.
func TestLateness(t *testing.T) {
	const calls = 40_000
	leaf := fn(times(33_000, opI32Const, 0, opDrop)...)
	small := fn(times(smallLeaf, opI32Const, 0, opDrop)...)
	for name, body := range map[string][]byte{"large": leaf, "small": small} {
		s := sectionsOf(fn(times(calls, opCall, 1)...), body)
		src := wasm(s[0], s[1], sec{secExport, vec(exported("f", kindFunction, 0))}, s[2])
		m := newMachine(t, engines()[0], src, true, 1000)
		_, fuel, err := m.run("f", 10_000)
		late := max(m.stopped, fuel) - 10_000
		if late > calls*(smallLeaf+10) {
			t.Errorf("%s leaves: stopped (%v) %d late", name, err, late)
		}
		if name == "large" && !errors.Is(err, errNoFuel) {
			t.Errorf("large leaves: %v, want a stop within the call", err)
		}
	}
}

func TestSpin(t *testing.T) {
	for name, code := range map[string][]byte{
		"loop":       {opLoop, typeVoid, opBr, 0, opEnd},
		"recursion":  {opCall, 0},
		"loop below": {opLoop, typeVoid, opBlock, typeVoid, opLoop, typeVoid, opBr, 2, opEnd, opEnd, opEnd},
		"table":      {opLoop, typeVoid, opI32Const, 0, opBrTable, 0, 0, opEnd},
	} {
		s := sectionsOf(fn(code...))
		src := wasm(s[0], s[1], sec{secExport, vec(exported("f", kindFunction, 0))}, s[2])
		m := newMachine(t, engines()[0], src, true, 100)
		_, _, err := m.run("f", 1000)
		if name == "recursion" && err == nil || name != "recursion" && !errors.Is(err, errNoFuel) {
			t.Errorf("%s: %v", name, err)
		}
		if m.stopped > 1100 {
			t.Errorf("%s: stopped after %d", name, m.stopped)
		}
	}
}

// TestTableGrowth: a table stays below its ceiling, and growing costs fuel.
func TestTableGrowth(t *testing.T) {
	grow := fnLocals(0, opRefNull, 0x70, opLocalGet, 0, opMisc, miscTableGrow, 0)
	src := wasm(
		sec{secType, vec([]byte{0x60, 1, typeI32, 1, typeI32})}, sec{secFunction, repeat(1, 0)},
		sec{secTable, vec([]byte{0x70, 0, 5})}, sec{secExport, vec(exported("f", kindFunction, 0))},
		sec{secCode, vec(grow)})
	m := newMachine(t, engines()[0], src, true, 100)
	for _, c := range []struct{ n, want int32 }{{1000, 5}, {1 << 30, -1}, {tableCeiling - 1005 + 1, -1}, {tableCeiling - 1005, 1005}, {1, -1}} {
		got, fuel, err := m.run("f", plenty, uint64(c.n))
		if err != nil || int32(got) != c.want {
			t.Errorf("grow by %d: %d, %v, want %d", c.n, int32(got), err, c.want)
		}
		if c.want >= 0 && fuel < int64(c.n)>>tableShift {
			t.Errorf("grow by %d: %d fuel", c.n, fuel)
		}
	}
}

func TestChargesBySize(t *testing.T) {
	module := func(code ...byte) *machine {
		src := wasm(
			sec{secType, vec([]byte{0x60, 1, typeI32, 0})}, sec{secFunction, repeat(1, 0)},
			sec{secMemory, vec([]byte{0, 100})}, sec{secExport, vec(exported("f", kindFunction, 0))},
			sec{secDataCount, leb(1)}, sec{secCode, vec(fn(code...))}, sec{secData, vec(join([]byte{1}, repeat(4096, 7)))})
		return newMachine(t, engines()[0], src, true, 1<<40)
	}
	zero := []byte{opI32Const, 0}
	size := []byte{opLocalGet, 0}
	for _, c := range []struct {
		name string
		code []byte
		n    uint64
		cost int64 // more than for size 0
	}{
		{"memory.fill", join(zero, zero, size, []byte{opMisc, miscMemoryFill, 0}), 6400, 400},
		{"memory.copy", join(zero, zero, size, []byte{opMisc, miscMemoryCopy, 0, 0}), 640_000, 40_000},
		{"memory.init", join(zero, zero, size, []byte{opMisc, miscMemoryInit, 0, 0}), 4096, 256},
		{"memory.grow", join(size, []byte{opMemoryGrow, 0, opDrop}), 3, 3 * growCharge},
		{"memory.grow refused", join(size, []byte{opMemoryGrow, 0, opDrop}), 70_000, 0},
	} {
		m := module(c.code...)
		_, base, err := m.run("f", plenty, 0)
		if err != nil {
			t.Fatal(c.name, err)
		}
		_, fuel, err := m.run("f", plenty, c.n)
		if err != nil || fuel-base != c.cost {
			t.Errorf("%s of %d costs %d, %v, want %d", c.name, c.n, fuel-base, err, c.cost)
		}
	}
}

// TestStart: the start function waits for the host, and state is within reach.
func TestStart(t *testing.T) {
	s := sectionsOf(fn(opI32Const, 9, opGlobalSet, 0))
	src := wasm(s[0], s[1], sec{secGlobal, vec([]byte{typeI32, 1, opI32Const, 5, opEnd})}, sec{secStart, leb(0)}, s[2])
	m := newMachine(t, engines()[0], src, true, 1000)
	g := m.global(StateGlobal(0))
	if g.Get() != 5 {
		t.Errorf("global %d before the start function, want 5", g.Get())
	}
	if _, _, err := m.run(StartExport, plenty); err != nil || g.Get() != 9 {
		t.Errorf("global %d after it (%v), want 9", g.Get(), err)
	}
}

// TestNames: functions keep their names under new numbers, in a trap too.
func TestNames(t *testing.T) {
	names := func(entries ...[]byte) sec {
		w := writer{}
		w.section(1, vec(entries...))
		return sec{secCustom, join(text("name"), w.b)}
	}
	s := sectionsOf(fn(opCall, 1), fn(opUnreachable))
	exports := sec{secExport, vec(exported("outer", kindFunction, 0), exported("again", kindFunction, 0))}
	for name, c := range map[string]struct {
		section sec
		want    []string
	}{
		"kept":      {names(join(leb(0), text("a")), join(leb(1), text("b\xff"))), []string{".a()", ".b?()"}},
		"none":      {sec{secCustom, text("other")}, []string{".outer()", ".$2()"}},
		"malformed": {names(join(leb(1), text("b")), join(leb(0), text("a"))), []string{".outer()"}},
		"unknown":   {names(join(leb(7), text("b"))), []string{".outer()"}},
		"long":      {names(join(leb(0), text(strings.Repeat("x", 600)))), []string{"." + strings.Repeat("x", 512) + "()"}},
	} {
		m := newMachine(t, engines()[0], wasm(s[0], s[1], exports, s[2], c.section), true, 1000)
		_, _, err := m.run("outer", plenty)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not show %s", name, err, want)
			}
		}
	}
}
