package wasmhost

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"github.com/caxton-run/caxton/wasmhost/meter"
)

// offered returns the functions behind a module name that guests import from.
// Their types are the meter's to say: what it admits and what stands here are
// held together by offer.
func offered(module string) map[string]hostFunc {
	switch module {
	case meter.CaxtonModule:
		return caxtonFuncs()
	case meter.EnvModule:
		list := caxtonFuncs()
		list["abort"] = hostAbort
		list["seed"] = hostSeed
		return list
	case meter.WASIModule:
		return wasiFuncs()
	}
	return nil
}

func caxtonFuncs() map[string]hostFunc {
	return map[string]hostFunc{
		"reply":               hostReply,
		"send":                hostSend,
		"msg_field":           hostField,
		"log":                 hostLog,
		"now":                 hostNow,
		"random":              hostRandom,
		"state_get":           hostStateGet,
		"state_put":           hostStatePut,
		"state_delete":        hostStateDelete,
		"fuel_left":           hostFuelLeft,
		"timer_set":           hostTimerSet,
		"timer_cancel":        hostTimerCancel,
		"register_capability": hostRegisterCapability,
	}
}

// offer makes the host functions known to the engine, once for all guests.
func (h *Host) offer(ctx context.Context) error {
	for _, module := range []string{meter.CaxtonModule, meter.EnvModule, meter.WASIModule} {
		funcs := offered(module)
		b := h.rt.NewHostModuleBuilder(module)
		for name, typ := range meter.Offered(module) {
			f, ok := funcs[name]
			if !ok {
				return fmt.Errorf("%s.%s is admitted but not offered", module, name)
			}
			b.NewFunctionBuilder().WithGoModuleFunction(goFunc(f), valueTypes(typ.Params), valueTypes(typ.Results)).Export(name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return err
		}
	}
	i64 := []api.ValueType{api.ValueTypeI64}
	_, err := h.rt.NewHostModuleBuilder(meter.RefillModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(refill), i64, i64).Export(meter.RefillName).Instantiate(ctx)
	return err
}

// valueTypes reads the letters of a meter.Type.
func valueTypes(letters string) []api.ValueType {
	list := make([]api.ValueType, len(letters))
	for i, l := range letters {
		switch l {
		case 'i':
			list[i] = api.ValueTypeI32
		case 'I':
			list[i] = api.ValueTypeI64
		case 'F':
			list[i] = api.ValueTypeF64
		}
	}
	return list
}
