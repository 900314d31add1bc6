package main

import (
	"fmt"

	wasmtime "github.com/bytecodealliance/wasmtime-go/v37"
)

// plenty is fuel that no kernel uses up.
const plenty = 1 << 50

type wasmtimeGuest struct {
	store    *wasmtime.Store
	instance *wasmtime.Instance
	fuel     bool
}

func loadWasmtime(wasm []byte, fuel bool) (guest, error) {
	cfg := wasmtime.NewConfig()
	cfg.SetConsumeFuel(fuel)
	engine := wasmtime.NewEngineWithConfig(cfg)
	module, err := wasmtime.NewModule(engine, wasm)
	if err != nil {
		return nil, err
	}
	g := &wasmtimeGuest{store: wasmtime.NewStore(engine), fuel: fuel}
	g.store.SetWasi(wasmtime.NewWasiConfig())
	linker := wasmtime.NewLinker(engine)
	if err := linker.DefineWasi(); err != nil {
		return nil, err
	}
	abort := func(_, _, _, _ int32) *wasmtime.Trap { return wasmtime.NewTrap("abort") }
	if err := linker.FuncWrap("env", "abort", abort); err != nil {
		return nil, err
	}
	if err := g.ready(); err != nil {
		return nil, err
	}
	if g.instance, err = linker.Instantiate(g.store, module); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *wasmtimeGuest) ready() error {
	if !g.fuel {
		return nil
	}
	return g.store.SetFuel(plenty)
}

func (g *wasmtimeGuest) call(name string, n uint32) (uint32, error) {
	f := g.instance.GetFunc(g.store, name)
	if f == nil {
		return 0, fmt.Errorf("no function %s", name)
	}
	var args []any
	if len(f.Type(g.store).Params()) > 0 {
		args = []any{int32(n)}
	}
	res, err := f.Call(g.store, args...)
	if err != nil || res == nil {
		return 0, err
	}
	return uint32(res.(int32)), nil
}

func (g *wasmtimeGuest) close() {}
