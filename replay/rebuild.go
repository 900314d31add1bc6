package replay

import (
	"context"
	"errors"
	"fmt"
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
// Errors: *DivergedError, *agent.StateError, *wasmhost.InitError, and those of
// the store and the module.
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

type rebuild struct {
	src   Source
	guest bool
	out   Agent
	lost  error // why there is no guest, until one begins anew
}

func (r *rebuild) fold(ctx context.Context, id events.AgentID) error {
	var opts events.ReadStreamOptions
	if r.out.State.Exists() {
		opts.From = r.out.State.Revision + 1
	}
	for rec, err := range r.src.Store.ReadStream(ctx, events.AgentStream(id), opts) {
		if errors.Is(err, events.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("rebuild agent %s: %w", id, err)
		}
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

func (r *rebuild) step(ctx context.Context, rev events.Revision, p events.Payload) error {
	if h, ok := p.(events.MessageHandled); ok && r.guest && r.lost == nil && h.Outcome == events.OutcomeOK {
		r.lost = r.rerun(ctx, rev, &h)
	}
	if err := r.out.State.Apply(rev, p); err != nil {
		return err
	}
	if !r.guest {
		return nil
	}
	switch p.(type) {
	case events.AgentDeployed, events.AgentRestarted:
		return r.instantiate(ctx)
	}
	return nil
}

// instantiate makes the guest as it is when it begins, in place of one that was.
func (r *rebuild) instantiate(ctx context.Context) error {
	r.out.Release()
	r.lost = nil
	if err := r.load(ctx); err != nil {
		return err
	}
	if !r.out.Module.Info().HandlesMessages {
		return nil
	}
	st := r.out.State
	g, err := r.src.Host.Instantiate(ctx, r.out.Module, st.Limits.MaxMemoryBytes)
	if err != nil {
		return fmt.Errorf("instantiate agent %s: %w", st.ID, err)
	}
	r.out.Guest = g
	return nil
}

func (r *rebuild) load(ctx context.Context) error {
	m, err := r.src.Modules.Module(ctx, r.out.State.Module)
	if err != nil {
		return fmt.Errorf("agent %s: %w", r.out.State.ID, err)
	}
	r.out.Module = m
	return nil
}

// otherMeterFuel is what a message may use that ran under another version of the
// meter: what was enough then may not be now, and it did succeed. The bound ends a
// run that goes another way and never stops; no version charges so much more than
// another for the same run.
const otherMeterFuel = 16

// fuelFor returns the fuel with which a recorded success is run again.
func fuelFor(h *events.MessageHandled, limit events.Fuel) events.Fuel {
	if h.MeterVersion == meter.Version {
		return limit
	}
	return otherMeterFuel * events.LimitCeilings().MaxFuel
}

// rerun runs one message again. A recorded success had time enough, so no
// deadline applies; fuel is bounded and compared as then only by the same meter.
func (r *rebuild) rerun(ctx context.Context, rev events.Revision, h *events.MessageHandled) error {
	st := r.out.State
	diverged := func(format string, args ...any) error {
		return &DivergedError{Agent: st.ID, Revision: rev, What: fmt.Sprintf(format, args...)}
	}
	if r.out.Guest == nil {
		return diverged("the module handles no messages")
	}
	began := time.Now()
	out := r.out.Guest.Handle(ctx, wasmhost.Call{Message: &h.Message, Host: h.Host, Fuel: fuelFor(h, st.Limits.MaxFuel), State: st, Agent: st})
	r.out.Replayed++
	r.out.Rerun += time.Since(began)
	switch {
	case out.Status != events.OutcomeOK:
		return diverged("recorded OK, now %s: %s", out.Status, out.Detail)
	case h.MeterVersion == meter.Version && out.Fuel != h.Fuel:
		return diverged("recorded %d fuel, now %d", h.Fuel, out.Fuel)
	}
	return nil
}
