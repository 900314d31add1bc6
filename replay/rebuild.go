package replay

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// Modules hands out compiled modules by hash. The caller releases them.
type Modules interface {
	Module(ctx context.Context, h events.ModuleHash) (*wasmhost.Module, error)
}

// Source is what a rebuild reads and runs with.
type Source struct {
	Store   events.Store
	Host    *wasmhost.Host
	Modules Modules

	// MaxRerun bounds the time that one agent's guest takes for its messages since
	// it began, or since its newest snapshot; 0 is no bound, as for tools that compare.
	MaxRerun time.Duration

	Room *Room // for the snapshots that are read at a time

	// Starting is told when a module is there, before a guest of it is made; nil: nobody is.
	Starting func()
}

func (s Source) starting() {
	if s.Starting != nil {
		s.Starting()
	}
}

// Agent is an agent as the log has it. Guest and Module are nil when only the
// state was asked for, when the agent does not exist, or when its module handles
// no messages. Whoever got it calls Release.
type Agent struct {
	State    *agent.State
	Module   *wasmhost.Module
	Guest    *wasmhost.Instance
	Snapshot events.Revision // of the agent's stream, where the rebuild began; 0 without one
	Replayed int             // messages run again
	Elapsed  time.Duration
	Rerun    time.Duration // of Elapsed, in guests that ran messages again
}

// Release closes the guest and gives the module back. A second call does
// nothing.
func (a *Agent) Release() {
	if a.Guest != nil {
		a.Guest.Close()
		a.Guest = nil
	}
	if a.Module != nil {
		a.Module.Release()
		a.Module = nil
	}
}

// DivergedError is a run that went otherwise than the log says it did: a guest
// that is not deterministic, another module, or a fault of the host.
type DivergedError struct {
	Agent    events.AgentID
	Revision events.Revision
	What     string
}

// Error implements error.
func (e *DivergedError) Error() string {
	return fmt.Sprintf("replay of agent %s diverged at revision %d: %s", e.Agent, e.Revision, e.What)
}

// State folds an agent's events since its newest snapshot without running its
// guest. An agent without events is a state that does not exist, not an error.
func (s Source) State(ctx context.Context, id events.AgentID) (*agent.State, error) {
	r := rebuild{src: s, out: Agent{State: &agent.State{ID: id}}}
	if err := r.restore(ctx, id); err != nil {
		return nil, err
	}
	if err := r.fold(ctx, id); err != nil {
		return nil, err
	}
	return r.out.State, nil
}

// Agent folds an agent's events and runs its guest on every message that was
// handled, with the clock and the randomness recorded. A run that diverged counts no
// more once a restart has the guest begin anew.
//
// Errors: *DivergedError, *RerunTooLongError, *MachineError, *agent.StateError, *wasmhost.InitError,
// *events.HistoryRemovedError (no snapshot that stands for what is gone can be used),
// and those of the store and the module.
func (s Source) Agent(ctx context.Context, id events.AgentID) (*Agent, error) {
	start := time.Now()
	r := rebuild{src: s, guest: true, out: Agent{State: &agent.State{ID: id}}}
	if err := r.restore(ctx, id); err != nil {
		r.out.Release()
		return nil, err
	}
	if err := r.fold(ctx, id); err != nil {
		r.out.Release()
		return nil, err
	}
	r.out.Elapsed = time.Since(start)
	return &r.out, nil
}

// RerunTooLongError is a guest that cannot be made again in time: one that has no
// snapshots, and many messages since it began. It is events.ErrIllegalLifecycle.
type RerunTooLongError struct {
	Agent    events.AgentID
	Messages int // that were run again within Limit
	Limit    time.Duration
}

// Error implements error.
func (e *RerunTooLongError) Error() string {
	return fmt.Sprintf("agent %s is rebuilt by running its messages again, which takes more than %s (%d within it): a restart has it begin anew, without their traces in its memory",
		e.Agent, e.Limit, e.Messages)
}

// Unwrap makes errors.Is(err, events.ErrIllegalLifecycle) true.
func (e *RerunTooLongError) Unwrap() error { return events.ErrIllegalLifecycle }

// MachineError is a run that cannot be run again here: its module computes with
// floats, and it ran on a processor whose NaN has other bits. The agent wakes from a
// snapshot that comes after it. It is events.ErrIllegalLifecycle.
type MachineError struct {
	Agent    events.AgentID
	Revision events.Revision
	Ran      string // architecture, as Go calls it
}

// Error implements error.
func (e *MachineError) Error() string {
	return fmt.Sprintf("agent %s, revision %d: ran on %s, and a module that computes with floats may come to other bits on this machine, %s",
		e.Agent, e.Revision, e.Ran, runtime.GOARCH)
}

// Unwrap makes errors.Is(err, events.ErrIllegalLifecycle) true.
func (e *MachineError) Unwrap() error { return events.ErrIllegalLifecycle }

type rebuild struct {
	src   Source
	guest bool
	out   Agent
	lost  error         // why there is no guest, until one begins anew
	spent time.Duration // of out.Rerun, since the guest began
	cause error         // why the newest snapshot was of no use, if it read

	lacks   events.ModuleHash           // the module that a snapshot needs and nobody has compiled
	fetched map[events.ModuleHash]error // what was lacked before, and why it cannot be had
}

func (r *rebuild) fold(ctx context.Context, id events.AgentID) error {
	var opts events.ReadStreamOptions
	if r.out.State.Exists() {
		opts.From = r.out.State.Revision + 1
	}
	first := true
	for rec, err := range r.src.Store.ReadStream(ctx, events.AgentStream(id), opts) {
		if errors.Is(err, events.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("rebuild agent %s: %w", id, err)
		}
		if first && rec.Revision != opts.From {
			if err := r.removed(ctx, id, opts.From); err != nil {
				return err
			}
		}
		first = false
		p, err := events.Decode(rec.Event)
		if err != nil {
			return fmt.Errorf("rebuild agent %s, revision %d: %w", id, rec.Revision, err)
		}
		if err := r.step(ctx, rec.Revision, p); err != nil {
			return err
		}
	}
	return r.lost
}

// removed says why a rebuild cannot begin at a revision that is gone. A snapshot that
// another moment could use is the reason itself.
func (r *rebuild) removed(ctx context.Context, id events.AgentID, from events.Revision) error {
	err := events.Removed(ctx, r.src.Store, id, from)
	var gone *events.HistoryRemovedError
	if r.cause != nil && errors.As(err, &gone) {
		if errors.Is(r.cause, events.ErrOverloaded) || ctx.Err() != nil {
			return fmt.Errorf("rebuild agent %s from its snapshot: %w", id, r.cause)
		}
		gone.Cause = r.cause
	}
	return err
}

func (r *rebuild) step(ctx context.Context, rev events.Revision, p events.Payload) error {
	if h, ok := p.(events.MessageHandled); ok && r.guest && r.lost == nil && h.Outcome == events.OutcomeOK {
		r.lost = r.rerun(ctx, rev, &h)
	}
	if u, ok := p.(events.AgentUpdated); ok && r.guest {
		if err := r.update(ctx, rev, &u); err != nil {
			return err
		}
	}
	if err := r.out.State.Apply(rev, p); err != nil {
		return err
	}
	if !r.guest {
		return nil
	}
	switch p.(type) {
	case events.AgentDeployed, events.AgentRestarted:
		st := r.out.State
		return r.begin(ctx, st.Module, st.Limits.MaxMemoryBytes)
	}
	return nil
}

// begin makes the guest as it is when it begins, in place of one that was.
func (r *rebuild) begin(ctx context.Context, module events.ModuleHash, maxMemory uint64) (err error) {
	r.out.Release()
	r.lost, r.spent = nil, 0
	if r.out.Module, r.out.Guest, err = r.src.Begin(ctx, module, maxMemory); err != nil {
		return fmt.Errorf("agent %s: %w", r.out.State.ID, err)
	}
	return nil
}

// Begin makes a new instance of a module; it is nil for one that handles no
// messages. The caller closes it and releases the module. Errors: those of Modules
// and of wasmhost.Host.Instantiate.
func (s Source) Begin(ctx context.Context, module events.ModuleHash, maxMemory uint64) (*wasmhost.Module, *wasmhost.Instance, error) {
	m, err := s.Modules.Module(ctx, module)
	if err != nil {
		return nil, nil, err
	}
	s.starting()
	if !m.Info().HandlesMessages {
		return m, nil, nil
	}
	g, err := s.Host.Instantiate(ctx, m, maxMemory)
	if err != nil {
		m.Release()
		return nil, nil, fmt.Errorf("instantiate module %s: %w", module, err)
	}
	return m, g, nil
}

// update does to the guest what an update did, before the state is changed by it.
func (r *rebuild) update(ctx context.Context, rev events.Revision, u *events.AgentUpdated) error {
	limits := r.out.State.Limits
	if u.Limits != nil {
		limits = *u.Limits
	}
	if u.Module == "" {
		if r.out.Guest != nil {
			r.out.Guest.SetMaxMemory(limits.MaxMemoryBytes)
		}
		return nil
	}
	if err := r.begin(ctx, u.Module, limits.MaxMemoryBytes); err != nil {
		return err
	}
	if m := u.Migration; m != nil {
		r.lost = r.migrate(ctx, rev, u, limits.MaxFuel)
	}
	return nil
}

// otherMeterFuel is what a message may use that ran under another version of the
// meter: what was enough then may not be now, and it did succeed. The bound ends a
// run that goes another way and never stops; no version charges so much more than
// another for the same run.
const otherMeterFuel = 16

// within bounds the run of a recorded success as it was bounded then: its fuel by limit,
// and its depth. What frames weigh is another version's too.
func within(c wasmhost.Call, version int, limit events.Fuel) wasmhost.Call {
	c.Fuel = limit
	if version != meter.Version {
		c.Fuel, c.Deep = otherMeterFuel*events.LimitCeilings().MaxFuel, true
	}
	return c
}

func (r *rebuild) migrate(ctx context.Context, rev events.Revision, u *events.AgentUpdated, fuel events.Fuel) error {
	if r.out.Guest == nil {
		return r.diverged(rev, "the module handles no messages, and had a migration")
	}
	m := u.Migration
	if err := r.repeatable(rev, m.Host); err != nil {
		return err
	}
	out := r.out.Guest.Migrate(ctx, within(wasmhost.Call{Host: m.Host, State: r.out.State, Agent: r.out.State}, m.MeterVersion, fuel), wasmhost.Change{From: u.From, To: u.Module})
	switch err := r.unfinished(ctx, rev, &out); {
	case err != nil:
		return err
	case out.Status != events.OutcomeOK:
		return r.diverged(rev, "migration recorded OK, now %s: %s", out.Status, out.Detail)
	case m.MeterVersion == meter.Version && out.Fuel != m.Fuel:
		return r.diverged(rev, "migration recorded %d fuel, now %d", m.Fuel, out.Fuel)
	}
	return nil
}

func (r *rebuild) diverged(rev events.Revision, format string, args ...any) error {
	return &DivergedError{Agent: r.out.State.ID, Revision: rev, What: fmt.Sprintf(format, args...)}
}

// rerun runs one message again. A recorded success had time enough, so no
// deadline applies but that of the whole; fuel is bounded and compared as then only
// by the same meter.
func (r *rebuild) rerun(ctx context.Context, rev events.Revision, h *events.MessageHandled) error {
	st := r.out.State
	if r.out.Guest == nil {
		return r.diverged(rev, "the module handles no messages")
	}
	if err := r.repeatable(rev, h.Host); err != nil {
		return err
	}
	left := r.src.MaxRerun - r.spent
	if r.src.MaxRerun == 0 {
		left = 0
	} else if left <= 0 {
		return r.tooLong()
	}
	began := time.Now()
	m, err := events.WithContent(ctx, r.src.Store, h.Message)
	if err != nil {
		return fmt.Errorf("replay agent %s, revision %d: %w", st.ID, rev, err)
	}
	call := wasmhost.Call{Message: &m, Host: h.Host, Timeout: left, State: st, Agent: st}
	out := r.out.Guest.Handle(ctx, within(call, h.MeterVersion, st.Limits.MaxFuel))
	r.out.Replayed++
	took := time.Since(began)
	r.spent, r.out.Rerun = r.spent+took, r.out.Rerun+took
	switch err := r.unfinished(ctx, rev, &out); {
	case out.Status == events.OutcomeTimeout:
		return r.tooLong()
	case err != nil:
		return err
	case out.Status != events.OutcomeOK:
		return r.diverged(rev, "recorded OK, now %s: %s", out.Status, out.Detail)
	case h.MeterVersion == meter.Version && out.Fuel != h.Fuel:
		return r.diverged(rev, "recorded %d fuel, now %d", h.Fuel, out.Fuel)
	}
	return nil
}

// unfinished is why a run came to nothing that says anything of the guest: the node had
// no memory for it, or ctx ended.
func (r *rebuild) unfinished(ctx context.Context, rev events.Revision, out *wasmhost.Outcome) error {
	err := out.Short
	if err == nil && out.Status == events.OutcomeKilled {
		err = ctx.Err()
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("replay agent %s, revision %d: %w", r.out.State.ID, rev, err)
}

// repeatable reports whether what ran on some machine comes to the same on this one.
func (r *rebuild) repeatable(rev events.Revision, host events.HostRecord) error {
	if host.Machine == "" || host.Machine == runtime.GOARCH {
		return nil
	}
	return &MachineError{Agent: r.out.State.ID, Revision: rev, Ran: host.Machine}
}

func (r *rebuild) tooLong() error {
	return &RerunTooLongError{Agent: r.out.State.ID, Messages: r.out.Replayed, Limit: r.src.MaxRerun}
}
