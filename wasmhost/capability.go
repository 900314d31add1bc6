package wasmhost

import (
	"slices"

	"github.com/caxton-run/caxton/events"
)

// hostRegisterCapability works in initialisation too: what a module can do is
// known before its agent's first message.
func hostRegisterCapability(in *Instance, stack []uint64) {
	ptr, n := arg(stack, 0), arg(stack, 1)
	in.charge(copyCost(n))
	c := &in.call
	b, ok := in.view(ptr, n)
	switch {
	case !ok:
		answer(stack, codeBadPointer)
		return
	case n > events.MaxCapabilityLength:
		answer(stack, codeTooLarge)
		return
	case events.CheckCapability(string(b)) != nil:
		answer(stack, codeInvalid)
		return
	}
	name, have := string(b), len(c.registered)
	if c.agent != nil {
		have += c.agent.Capabilities()
	}
	switch {
	case slices.Contains(c.registered, name), c.agent != nil && c.agent.HasCapability(name):
		answer(stack, 0)
	case have >= events.MaxCapabilities:
		answer(stack, codeTooLarge)
	default:
		in.room(1, len(name))
		c.registered = append(c.registered, name)
		answer(stack, 0)
	}
}

// Capabilities are what the module registered while it was initialised, in that
// order. The slice is shared: read only.
func (in *Instance) Capabilities() []string { return in.registered }
