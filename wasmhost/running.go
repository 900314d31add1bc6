package wasmhost

import (
	"github.com/tetratelabs/wazero/api"

	"github.com/caxton-run/caxton/events"
)

// enter calls into the guest; parameters and result are in in.stack.
//
// While the guest runs, a stack that outgrew what it may keep is counted at each
// look of the host, once in a slice at the latest. meter.StackBytes bounds each;
// Config.GuestStacks bounds them all.
func (in *Instance) enter(f api.Function) error {
	in.depth.Set(uint64(in.call.depth))
	in.running = f
	err := f.CallWithStack(in.ctx, in.stack[:])
	in.running = nil
	if n := in.deep.Load(); n != 0 {
		in.deep.Store(0)
		in.host.deep.Add(-n)
	}
	return err
}

// weigh counts the stack of the guest that runs, and stops one whose stack is
// deep when all deep ones together are more than the node has for them. How many
// run is no matter of the guest's, so no replay has to repeat it.
func (in *Instance) weigh(stop func(events.OutcomeStatus, string)) {
	if in.running == nil { // a test calls a guest past enter
		return
	}
	n := int64(in.host.warm.stackBytes(in.running))
	if n <= maxWarmStack {
		return
	}
	all := in.host.deep.Add(n - in.deep.Swap(n))
	if all > in.host.cfg.GuestStacks {
		in.call.stackFull = true
		stop(events.OutcomeHostFault, "the node has no more memory for guests' stacks")
	}
}
