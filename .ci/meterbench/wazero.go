package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/assemblyscript"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/caxton-run/caxton/wasmhost/meter"
)

// slice and depth are the host's defaults (wasmhost.DefaultConfig).
const (
	slice = 100_000
	depth = 10_000
)

type wazeroGuest struct {
	rt       wazero.Runtime
	mod      api.Module
	metered  bool
	deadline time.Time
	fuel     api.MutableGlobal
	depth    api.MutableGlobal
}

func loadWazero(wasm []byte, metered bool) (guest, error) {
	ctx := context.Background()
	g := &wazeroGuest{rt: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler()), metered: metered}
	wasi_snapshot_preview1.MustInstantiate(ctx, g.rt)
	env := g.rt.NewHostModuleBuilder("env")
	assemblyscript.NewFunctionExporter().ExportFunctions(env)
	if _, err := env.Instantiate(ctx); err != nil {
		return nil, err
	}
	i64 := []api.ValueType{api.ValueTypeI64}
	if _, err := g.rt.NewHostModuleBuilder(meter.RefillModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(g.refill), i64, i64).Export(meter.RefillName).Instantiate(ctx); err != nil {
		return nil, err
	}
	if metered {
		var err error
		if wasm, _, err = meter.Instrument(wasm, meter.Options{Caps: meter.DefaultCaps()}); err != nil {
			return nil, err
		}
	}
	var err error
	g.mod, err = g.rt.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		return nil, err
	}
	if metered {
		g.fuel = g.mod.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
		g.depth = g.mod.ExportedGlobal(meter.DepthGlobal).(api.MutableGlobal)
	}
	if start := g.mod.ExportedFunction(meter.StartExport); start != nil {
		_ = g.ready()
		if _, err := start.Call(ctx); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// refill does what the host's does for a guest that may go on.
func (g *wazeroGuest) refill(ctx context.Context, _ api.Module, stack []uint64) {
	if ctx.Err() != nil || !time.Now().Before(g.deadline) {
		panic("stopped")
	}
	if stack[0] == meter.Look {
		return
	}
	grant := slice - int64(stack[0])
	g.fuel.Set(uint64(int64(g.fuel.Get()) + grant))
	stack[0] = slice
}

func (g *wazeroGuest) ready() error {
	if g.metered {
		g.deadline = time.Now().Add(time.Hour)
		g.fuel.Set(0)
		g.depth.Set(depth)
	}
	return nil
}

func (g *wazeroGuest) call(name string, n uint32) (uint32, error) {
	f := g.mod.ExportedFunction(name)
	if f == nil {
		return 0, fmt.Errorf("no function %s", name)
	}
	var args []uint64
	if len(f.Definition().ParamTypes()) > 0 {
		args = []uint64{uint64(n)}
	}
	res, err := f.Call(context.Background(), args...)
	if err != nil || len(res) == 0 {
		return 0, err
	}
	return uint32(res[0]), nil
}

func (g *wazeroGuest) close() { _ = g.rt.Close(context.Background()) }
