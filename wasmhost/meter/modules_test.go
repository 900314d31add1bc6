package meter

import (
	"context"
	"errors"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/caxton-run/caxton/fixtures"
)

// Bounds of what FuzzModules runs.
const (
	fuzzBudget = 50_000 // fuel of one call
	fuzzCalls  = 4      // exported functions of one module
	fuzzPages  = 64     // memory of one instance
)

// runnable reports whether a module is one that the host would run, imports
// nothing, and is small.
func runnable(b []byte) bool {
	rep, err := Check(b, DefaultCaps())
	return err == nil && len(rep.Imports) == 0 && len(b) < 64<<10 && rep.MemoryMinPages <= fuzzPages/2
}

// FuzzModules: what the engine takes and the gate admits, it takes metered, and
// then it computes the same: results, memory and traps. How much fuel that takes
// does not depend on slices.
func FuzzModules(f *testing.F) {
	f.Add(kernels(f), uint64(3))
	f.Add(guestModule(f, "cpp.wasm"), uint64(1))
	for seed := range uint64(5) {
		f.Add(program(seed), seed)
	}
	for _, c := range fixtures.Hostile() {
		if runnable(c.Wasm) {
			f.Add(c.Wasm, uint64(1))
		}
	}
	cfg := wazero.NewRuntimeConfigCompiler().WithMemoryLimitPages(fuzzPages)
	f.Fuzz(func(t *testing.T, b []byte, arg uint64) {
		if !runnable(b) {
			return
		}
		ctx := context.Background()
		rt := wazero.NewRuntimeWithConfig(ctx, cfg)
		code, err := rt.CompileModule(ctx, b)
		if err != nil {
			_ = rt.Close(ctx)
			return
		}
		var names []string
		for name, d := range code.ExportedFunctions() {
			if len(names) < fuzzCalls && numbers(d.ParamTypes()) {
				names = append(names, name)
			}
		}
		_ = rt.Close(ctx)
		if rep, err := Check(b, DefaultCaps()); err != nil || rep.HasStart {
			return // its start function has no budget unmetered
		}
		differ(t, engine{name: "compiler", cfg: cfg}, b, names, arg)
	})
}

// differ calls functions of a module unmetered, and metered in two sizes of
// slices, until one of them uses its budget up.
func differ(t *testing.T, e engine, b []byte, names []string, arg uint64) {
	plain, err := tryMachine(t, e, b, false, 0)
	defer plain.close()
	if err != nil {
		return // a segment outside of memory, say
	}
	whole := newMachine(t, e, b, true, 1<<40)
	defer whole.close()
	thin := newMachine(t, e, b, true, 7)
	defer thin.close()
	for _, name := range names {
		args := make([]uint64, len(plain.mod.ExportedFunction(name).Definition().ParamTypes()))
		for i := range args {
			args[i] = arg & 0xffffffff
		}
		got, fuel, err := whole.run(name, fuzzBudget, args...)
		_, thinFuel, thinErr := thin.run(name, fuzzBudget, args...)
		if whole.stopped != thin.stopped || whole.stopped == 0 && (fuel != thinFuel || reason(err) != reason(thinErr)) {
			t.Fatalf("%s: stopped %d, fuel %d (%s); in thin slices %d, %d (%s)",
				name, whole.stopped, fuel, reason(err), thin.stopped, thinFuel, reason(thinErr))
		}
		if errors.Is(err, errNoFuel) || int32(whole.global(DepthGlobal).Get()) < 0 {
			return
		}
		want, _, plainErr := plain.run(name, 0, args...)
		if got != want || reason(err) != reason(plainErr) {
			t.Fatalf("%s: %d (%s), unmetered %d (%s)", name, got, reason(err), want, reason(plainErr))
		}
		if whole.memory() != plain.memory() || thin.memory() != plain.memory() {
			t.Fatalf("%s: memories differ", name)
		}
	}
}

func numbers(types []api.ValueType) bool {
	for _, t := range types {
		if t != api.ValueTypeI32 && t != api.ValueTypeI64 {
			return false
		}
	}
	return true
}
