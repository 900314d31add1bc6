package wasmhost

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// call is the state of one call. Its zero value is no call: host functions see
// no message and no fuel.
type call struct {
	ctx      context.Context
	deadline time.Time // zero for none
	budget   int64     // fuel
	granted  int64     // Invariant: used = granted - what the guest has left
	depth    uint32    // of calls, at most
	slices   uint32    // begun, but for the first
	spent    int64     // used when grant stopped the call, which FuelGlobal may not show; 0 at a trap, whose fuel must not depend on slices

	stop       events.OutcomeStatus // set before a host function ends the call
	stopDetail string

	background bool // on a thread of its own
	handling   bool // in caxton_handle: effects are allowed
	stackFull  bool // the node had no memory for the guest's stack
	migrating  bool // in caxton_migrate: of effects, only state, log and capabilities
	message    json.RawMessage
	record     events.HostRecord
	shift      int64         // nanoseconds by which the guest's clock is ahead of the record: it slept
	random     *rand.ChaCha8 // nil until used
	state      StateReader
	agent      AgentReader
	timers     timerChanges
	registered []string // capabilities, in order
	effects
}

// begin sets up a call. No fuel is granted yet: the guest asks for its first
// slice at its first check.
func (in *Instance) begin(ctx context.Context, c *Call, body []byte) {
	in.call = call{}
	in.call.ctx, in.call.budget, in.call.message = ctx, int64(min(c.Fuel, 1<<62)), body
	in.call.record, in.call.state = c.Host, c.State
	in.call.background = c.background
	in.call.agent, in.call.timers.before = c.Agent, c.Agent
	if in.call.depth = in.host.cfg.CallDepth; c.Deep {
		in.call.depth = meter.MaxDepth
	}
	if c.Message != nil {
		in.call.timers.fires, _ = c.Message.FromTimer()
	}
	if c.Timeout > 0 {
		in.call.deadline = time.Now().Add(c.Timeout)
	}
	in.call.shift = max(0, in.clock-in.call.nanos())
	in.fuel.Set(0)
	in.linear.denied, in.linear.exhausted, in.linear.pressed = false, false, false
}

// used returns the fuel that the call has used, at most its budget; over says
// that it was more.
func (in *Instance) used() (used events.Fuel, over bool) {
	n := max(in.call.granted-int64(in.fuel.Get()), in.call.spent)
	if n > in.call.budget {
		return events.Fuel(in.call.budget), true
	}
	return events.Fuel(n), false
}

// refill is the guest's request for the next slice: stack[0] is what it has
// left, which is negative. meter.Look is no request: it only looks whether to go on.
func refill(ctx context.Context, _ api.Module, stack []uint64) {
	in := ctx.(*guestContext).in
	if stack[0] == meter.Look {
		in.lookUp()
		return
	}
	stack[0] += uint64(in.grant(int64(stack[0])))
}

// grant gives the next slice to a guest that has left, or stops it. Fuel comes
// first: its end is the one reason that a replay has to repeat.
func (in *Instance) grant(left int64) (n int64) {
	c := &in.call
	used := c.granted - left
	stop := func(status events.OutcomeStatus, detail string) {
		c.spent = used
		in.stopWith(status, detail)
	}
	switch {
	case used > c.budget:
		stop(events.OutcomeOutOfFuel, in.fuelDetail())
	default:
		if c.granted > 0 {
			in.giveWay()
		}
		in.look(stop)
		in.weigh(stop)
	}
	n = min(c.budget-c.granted, int64(in.host.cfg.Slice)-left)
	c.granted += n
	in.fuel.Set(uint64(int64(in.fuel.Get()) + n))
	return n
}

// look stops a call that was killed, or whose context or time is over.
func (in *Instance) look(stop func(events.OutcomeStatus, string)) {
	c := &in.call
	switch {
	case in.killed.Load():
		stop(events.OutcomeKilled, "killed")
	case c.ctx.Err() != nil:
		stop(events.OutcomeKilled, "killed: "+c.ctx.Err().Error())
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		stop(events.OutcomeTimeout, "ran longer than its limit of time")
	}
}

// lookUp is look for a host function whose fuel is charged and whose work goes on.
func (in *Instance) lookUp() { in.look(in.stopWith) }

// stopWith ends the call from within a host function. The engine turns the
// panic into the error that the call returns.
func (in *Instance) stopWith(status events.OutcomeStatus, detail string) {
	in.call.stop, in.call.stopDetail = status, detail
	panic(errStopped)
}

// charge takes fuel for a host function's work.
func (in *Instance) charge(n int64) {
	left := int64(in.fuel.Get()) - n
	in.fuel.Set(uint64(left))
	if left < 0 {
		in.grant(left)
	}
}
