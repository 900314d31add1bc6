package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// Instance is one live guest. It belongs to one goroutine at a time; only Kill
// and Usable may be called from others.
type Instance struct {
	host   *Host
	mod    *Module
	guest  api.Module
	mem    api.Memory // nil when the module has none
	linear *linearMemory
	base   *image // what snapshots build on; nil for a memory of zeros

	fuel, depth api.MutableGlobal
	state       []api.MutableGlobal // the module's own, in meter's order
	warm        *warmGuest
	running     api.Function // while a call is in the guest
	deep        atomic.Int64 // bytes of a running call's stack, if it is more than maxWarmStack
	profile     *profile     // nil unless the module is profiled

	// clock is the latest time that the guest may have seen, in nanoseconds since
	// the Unix epoch: it never sees an earlier one. Part of its state.
	clock int64

	registered []string // capabilities, while it was initialised

	ctx   *guestContext // what host functions get as their context
	call  call
	stack [4]uint64 // parameters and result of a call into the guest

	killed atomic.Bool
	broken atomic.Bool
	use    atomic.Int32 // one of useIdle and so on
}

// Who has an instance. Its memory is not the collector's, so that it must not go
// while anyone works on it, whatever mistakes owners make.
//
//	idle -> busy -> idle        a call
//	idle -> closed              Close
//	busy -> closing -> closed   Close within a call: the call's end frees it
const (
	useIdle int32 = iota
	useBusy
	useClosing
	useClosed
)

// claim takes the instance for work on its memory.
func (in *Instance) claim() bool { return in.use.CompareAndSwap(useIdle, useBusy) }

// unclaim is the end of what claim began.
func (in *Instance) unclaim() {
	if !in.use.CompareAndSwap(useBusy, useIdle) {
		in.use.Store(useClosed)
		in.free()
	}
}

// guestContext is the context that host functions are called with: it leads them to
// their instance without a table or an allocation. The engine asks contexts for
// keys of its own, and finds none.
type guestContext struct {
	context.Context
	in *Instance
}

// Value implements context.Context.
func (*guestContext) Value(any) any { return nil }

// InitError is a module that could not be brought to life under an agent's
// limits. With Timeout another try may succeed: it depends on the machine.
type InitError struct {
	Status events.OutcomeStatus
	Detail string
}

// Error implements error.
func (e *InitError) Error() string {
	return fmt.Sprintf("module does not start: %s: %s", e.Status, e.Detail)
}

// initMicros is the clock of all initialisations, 2020-01-01T00:00:00Z: fixed,
// so that a module's initial image depends on the module alone.
const initMicros = 1_577_836_800_000_000

// Instantiate makes an instance of m whose memory never exceeds maxMemory
// bytes, and runs its start function, _initialize and caxton_init. Close it.
//
// Errors: *InitError; one that wraps events.ErrOverloaded when all guests together
// have Config.GuestMemory; ctx's error (before or while the guest runs).
//
// The guest runs for the first instance of a module only: what it came to is
// kept, and later instances begin there.
func (h *Host) Instantiate(ctx context.Context, m *Module, maxMemory uint64) (*Instance, error) {
	in, err := h.blank(ctx, m, maxMemory)
	if err != nil {
		return nil, err
	}
	if g := m.image.Load(); g != nil && in.resize(g.size) {
		in.install(g)
		in.base = g
		return in, nil
	}
	filled := in.filled()
	err = in.initialize(ctx)
	switch {
	case in.linear.exhausted:
		err = in.linear.overloaded(0)
	case in.call.stackFull:
		err = in.short()
	case err == nil:
		in.keepImage(filled)
		in.TakeProfile() // of the initialisation, which is no call
		return in, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	in.Close()
	return nil, err
}

// blank makes an instance that has run nothing yet.
func (h *Host) blank(ctx context.Context, m *Module, maxMemory uint64) (*Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.info.MinMemoryBytes+m.charge > maxMemory {
		return nil, &InitError{events.OutcomeMemoryLimit, m.tooSmall(maxMemory)}
	}
	if err := h.use(m); err != nil {
		return nil, err
	}
	in := &Instance{host: h, mod: m, linear: &linearMemory{limit: m.memoryLimit(maxMemory), budget: &h.memory}, warm: &warmGuest{}}
	in.ctx = &guestContext{context.Background(), in}
	if m.profiled {
		in.profile = &profile{}
	}
	if m.report.HasMemory {
		if err := in.linear.begin(m.info.MinMemoryBytes); err != nil {
			m.Release()
			return nil, err
		}
	}
	ectx := experimental.WithMemoryAllocator(context.Background(), in.linear)
	guest, err := h.rt.InstantiateModule(ectx, m.code, h.bare)
	if err != nil {
		in.linear.Free()
		m.Release()
		return nil, &InitError{events.OutcomeTrap, firstLine(err.Error())}
	}
	in.guest = guest
	if m.native.Load() == 0 {
		m.native.Store(nativeBytes(guest))
	}
	h.live.Add(1)
	h.engine.Add(m.engineBytes())
	in.bind()
	return in, nil
}

// tooSmall says why a limit does not hold what the module begins with.
func (m *Module) tooSmall(limit uint64) string {
	beside := ""
	if m.charge > 0 {
		beside = fmt.Sprintf(", and %d for its globals, tables and segments", m.charge)
	}
	return fmt.Sprintf("the module needs %d bytes of memory at the start%s, the limit is %d", m.info.MinMemoryBytes, beside, limit)
}

// instanceConfig is what the engine asks of an instance's surroundings. Guests
// have none of these: the host's own functions serve them. They are given so that
// the engine makes none for each instance, whose source of randomness alone
// takes 5 KiB.
func instanceConfig() wazero.ModuleConfig {
	return wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithRandSource(nothing{}).
		WithWalltime(func() (int64, int32) { return 0, 0 }, 1).
		WithNanotime(func() int64 { return 0 }, 1)
}

// nothing is a source of no bytes.
type nothing struct{}

// Read implements io.Reader.
func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// bind looks up what the host uses of the guest.
func (in *Instance) bind() {
	if in.mod.report.HasMemory {
		in.mem = in.guest.Memory()
	}
	in.fuel = in.guest.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	in.depth = in.guest.ExportedGlobal(meter.DepthGlobal).(api.MutableGlobal)
	in.state = make([]api.MutableGlobal, in.mod.report.StateGlobals)
	for i := range in.state {
		in.state[i] = in.guest.ExportedGlobal(meter.StateGlobal(i)).(api.MutableGlobal)
	}
}

// initialize runs what a module runs before its first message.
func (in *Instance) initialize(ctx context.Context) error {
	in.begin(ctx, &Call{Fuel: in.host.cfg.InitFuel, Timeout: in.host.cfg.InitTimeout, Host: events.HostRecord{NowMicros: initMicros, Seed: in.mod.seed()}}, nil)
	for _, name := range []string{meter.StartExport, exportInitialize, exportInit} {
		f := in.guest.ExportedFunction(name)
		if f == nil || name != meter.StartExport && !in.initializer(f) {
			continue
		}
		in.stack[0] = 0
		err := in.enter(f)
		status := int32(in.stack[0])
		switch {
		case err == nil && name == exportInit && status != 0:
			err = fmt.Errorf("%s returned %d", name, status)
			return in.initFailed(&InitError{events.OutcomeRefused, err.Error()})
		case err != nil:
			status, detail := in.classify(err)
			return in.initFailed(&InitError{status, name + ": " + detail})
		}
	}
	if _, over := in.used(); over {
		return in.initFailed(&InitError{events.OutcomeOutOfFuel, in.fuelDetail()})
	}
	in.clock, in.registered = in.call.nanos(), in.call.registered
	in.call = call{}
	return nil
}

// initializer reports whether f has no parameters: others are not what their
// name says, and the module's warnings tell.
func (in *Instance) initializer(f api.Function) bool {
	return len(f.Definition().ParamTypes()) == 0 && len(f.Definition().ResultTypes()) <= 1
}

// initFailed adds the guest's last words: a runtime says on stderr why it ends.
func (in *Instance) initFailed(e *InitError) error {
	in.call.flushLines(in.host.cfg.MaxLogBytes)
	if n := len(in.call.logs); n > 0 {
		e.Detail += "; last line: " + firstLine(in.call.logs[n-1].Text)
	}
	return e
}

// Kill ends a running call, and refuses all later ones, with OutcomeKilled. It
// returns at once; the guest stops at the end of its slice.
func (in *Instance) Kill() { in.killed.Store(true) }

// Usable reports whether Handle may be called again. It is false after any
// outcome but OK and NoHandler: the guest's memory is then somewhere within a
// message. The owner closes the instance and restores another.
func (in *Instance) Usable() bool { return !in.broken.Load() && !in.killed.Load() }

// MemoryBytes is the size of the guest's linear memory.
func (in *Instance) MemoryBytes() uint64 { return uint64(len(in.linear.buf)) }

// Close frees the instance. It is safe twice. Closed within a call, which is an
// owner's mistake, it ends the call and is freed at its end.
func (in *Instance) Close() {
	in.broken.Store(true)
	switch {
	case in.use.CompareAndSwap(useIdle, useClosed):
		in.free()
	case in.use.CompareAndSwap(useBusy, useClosing):
		in.Kill()
	}
}

func (in *Instance) free() {
	in.warm.cool()
	_ = in.guest.Close(context.Background()) // frees memory only; it has no error to report
	in.linear.Free()
	in.host.live.Add(-1)
	in.host.engine.Add(-in.mod.engineBytes())
	in.mod.Release()
}

var errStopped = errors.New("stopped by the host")
