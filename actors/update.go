package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/replay"
	"github.com/caxton-run/caxton/wasmhost"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// maxTrialTime bounds a trial: within the time that a request has.
const maxTrialTime = 20 * time.Second

// UpdateRequest asks for a change of what an agent runs and within which bounds.
// What is zero stays as it is, a limit on its own too.
type UpdateRequest struct {
	Command
	Wasm     []byte // nil: the module stays
	Limits   events.ResourceLimits
	Priority events.Priority
	Labels   *events.Labels // all of them from now on
}

// Update changes an agent and returns when that is durable. A new module begins with
// an empty memory and the agent's durable state, which its caxton_migrate may change
// before. What is so already is no change, so a request may be repeated.
//
// Errors: events.ErrAgentNotFound, *events.InvalidError (a memory limit below what
// the agent has among them), events.ErrInvalidWasm, *events.RefusedError,
// *events.MigrationError, events.ErrOverloaded, events.ErrEmergencyStop, events.ErrConflict
// when another command ended the guest that ran for it, those of the store, and
// events.ErrUnknownOutcome when ctx ended before the agent ended its turn.
func (g *Gateway) Update(ctx context.Context, r UpdateRequest) (events.Position, error) {
	cmd, release, err := g.sys.prepareUpdate(ctx, r)
	if err != nil {
		return 0, err
	}
	defer release()
	if cmd.Module != "" {
		if _, err := events.StoreModule(ctx, g.sys.deps.Store, r.Wasm); err != nil {
			return 0, err
		}
	}
	return g.hurry(ctx, r.Command, cmd)
}

// TryUpdate tells what an update would make of messages that the agent has handled,
// and changes nothing. Errors: as of Update, and of replay.Source.Trial.
func (g *Gateway) TryUpdate(ctx context.Context, r UpdateRequest) (replay.Trial, error) {
	cmd, release, err := g.sys.prepareUpdate(ctx, r)
	if err != nil {
		return replay.Trial{}, err
	}
	defer release()
	view, ok := g.sys.deps.Agents.Get(r.Agent)
	if !ok {
		return replay.Trial{}, fmt.Errorf("agent %s: %w", r.Agent, events.ErrAgentNotFound)
	}
	module := view.Module
	if cmd.Module != "" {
		module = cmd.Module
	}
	if module != view.Module {
		if err := g.sys.deadlyMigration(r.Agent, module); err != nil {
			return replay.Trial{}, err // what an update refuses, no trial recommends, or runs
		}
	}
	own, cancel := context.WithTimeout(ctx, maxTrialTime)
	defer cancel()
	var out replay.Trial
	err = g.sys.licensed(own, func(own context.Context) error {
		out, err = g.sys.source.Trial(own, r.Agent, module, cmd.LimitsOf(view.Limits))
		return err
	})
	return out, err
}

// prepareUpdate checks a request, and that its module compiles and starts. The
// module stays compiled until release is called.
func (s *System) prepareUpdate(ctx context.Context, r UpdateRequest) (cmd agent.Update, release func(), err error) {
	if err := s.checkUpdate(r); err != nil {
		return agent.Update{}, nil, err
	}
	view, ok := s.deps.Agents.Get(r.Agent)
	if !ok {
		return agent.Update{}, nil, fmt.Errorf("agent %s: %w", r.Agent, events.ErrAgentNotFound)
	}
	cmd = agent.Update{Limits: r.Limits, Priority: r.Priority, Labels: r.Labels, Reason: r.Reason}
	if r.Wasm == nil {
		return cmd, func() {}, nil
	}
	mod, err := s.admit(ctx, r.Wasm)
	if err != nil {
		return agent.Update{}, nil, fmt.Errorf("update agent %s: %w", r.Agent, err)
	}
	if cmd.Capabilities, err = s.tryStart(ctx, mod, cmd.LimitsOf(view.Limits)); err != nil {
		mod.Release()
		return agent.Update{}, nil, fmt.Errorf("update agent %s: %w", r.Agent, err)
	}
	cmd.Module, cmd.ModuleSize, cmd.Warnings = mod.Hash(), len(r.Wasm), mod.Info().Warnings
	return cmd, mod.Release, nil
}

// checkUpdate reports all faults of a request at once.
func (s *System) checkUpdate(r UpdateRequest) error {
	var f events.Faults
	f.Merge("resource_limits", agent.Update{Limits: r.Limits}.LimitsOf(s.cfg.Ceiling).Validate(s.cfg.Ceiling))
	if _, err := events.ParsePriority(string(r.Priority)); err != nil {
		f.Merge("priority", err)
	}
	if r.Labels != nil {
		f.Merge("labels", r.Labels.Validate())
	}
	return f.Err()
}

// update carries out an Update: the guest first, then the event, so that a
// migration that fails leaves none.
func (a *agentActor) update(ctx context.Context, t *turn, e *envelope, c agent.Update) (verdict, error) {
	next, err := a.prepare(ctx, &c)
	if err != nil {
		t.tell(e, answer{err: err})
		return goOn, nil
	}
	defer func() {
		if next != nil {
			next.Release()
		}
	}()
	payloads, err := agent.Decide(a.state(), c)
	if err != nil {
		t.tell(e, answer{err: err})
		return goOn, nil
	}
	err = a.emitCommand(ctx, t, e, byCaller(e), payloads)
	if errors.Is(err, events.ErrTooLarge) { // nothing was applied
		t.tell(e, answer{err: fmt.Errorf("update agent %s: %w", a.id, &events.MigrationError{Outcome: events.OutcomeEffectsTooLarge, Detail: err.Error()})})
		return goOn, nil
	}
	if err != nil || len(payloads) == 0 {
		return goOn, err
	}
	if next != nil {
		next = a.take(next)
	} else if a.live.Guest != nil {
		a.live.Guest.SetMaxMemory(a.state().Limits.MaxMemoryBytes)
	}
	return goOn, nil
}

// prepare runs guests, under the licence, as an update needs it, and returns the instance
// of a new module; nil without one. An update for which no guest runs is one that an
// operator may need while all are stopped.
func (a *agentActor) prepare(ctx context.Context, c *agent.Update) (next *replay.Agent, err error) {
	st := a.state()
	if !st.Exists() || st.Status == agent.Removed || !a.takesGuest(c) {
		return nil, nil // if it may not be, Decide says so
	}
	err = a.sys.licensed(ctx, func(ctx context.Context) error {
		if !c.NewModule(st) {
			return a.fits(ctx, *c)
		}
		return a.interruptible(ctx, guestWork{status: st.Status, ofCommand: true}, func(ctx context.Context) (err error) {
			next, err = a.migrate(ctx, c)
			return err
		})
	})
	if errors.Is(err, errInterrupted) {
		err = fmt.Errorf("update agent %s: %w", a.id, err)
	}
	return next, err
}

// takesGuest reports whether an update runs a guest, for as long as that takes.
func (a *agentActor) takesGuest(c *agent.Update) bool {
	return c.NewModule(a.state()) || a.shrinks(c)
}

// shrinks reports whether an update takes memory away.
func (a *agentActor) shrinks(c *agent.Update) bool {
	return c.Limits.MaxMemoryBytes != 0 && c.Limits.MaxMemoryBytes < a.state().Limits.MaxMemoryBytes
}

// migrate makes an instance of the new module and has it migrate the agent's state.
func (a *agentActor) migrate(ctx context.Context, c *agent.Update) (*replay.Agent, error) {
	st := a.state()
	limits := c.LimitsOf(st.Limits)
	if err := a.sys.deadlyMigration(a.id, c.Module); err != nil {
		return nil, err
	}
	what := migrationRun(a.id, c.Module)
	src := a.sys.source
	src.Starting = func() { a.runs(what) }
	defer a.noneRuns()
	mod, guest, err := src.Begin(ctx, c.Module, limits.MaxMemoryBytes)
	if err != nil {
		return nil, fmt.Errorf("update agent %s: %w", a.id, err)
	}
	next := &replay.Agent{Module: mod, Guest: guest}
	if guest == nil || !mod.Info().Migrates {
		a.sys.deps.Running.clears(what)
		return next, nil
	}
	host := events.HostRecord{NowMicros: st.Now(a.sys.deps.Now().UnixMicro()), Machine: mod.Machine()}
	seeded := host
	seeded.Seed = rand.Uint64()
	out := guest.Migrate(ctx, wasmhost.Call{
		Host: seeded, Fuel: limits.MaxFuel, State: st, Agent: st,
		Timeout: time.Duration(limits.MaxExecutionTimeMS) * time.Millisecond,
	}, wasmhost.Change{From: st.Module, To: c.Module})
	if out.Status != events.OutcomeKilled {
		a.sys.deps.Running.clears(what)
	}
	if out.Short != nil {
		next.Release()
		return nil, fmt.Errorf("update agent %s: %w", a.id, out.Short)
	}
	if out.Status != events.OutcomeOK {
		next.Release()
		return nil, fmt.Errorf("update agent %s: %w", a.id, &events.MigrationError{Outcome: out.Status, Detail: out.Detail})
	}
	if out.SeedUsed {
		host.Seed = seeded.Seed
	}
	for _, name := range out.Capabilities {
		if !slices.Contains(c.Capabilities, name) {
			c.Capabilities = append(c.Capabilities[:len(c.Capabilities):len(c.Capabilities)], name) // the list is the module's
		}
	}
	c.Migration = &events.Migration{Host: host, State: out.State, Logs: out.Logs, Fuel: out.Fuel, MeterVersion: meter.Version}
	return next, nil
}

// fits refuses a memory limit below what the guest has: a snapshot of it could not be
// restored. Which takes a guest to be known.
func (a *agentActor) fits(ctx context.Context, c agent.Update) error {
	if a.live.Guest == nil {
		if times, is := a.isDeadly(); is {
			return errDeadly(a.id, times)
		}
		live, err := a.wake(ctx, guestWork{status: a.state().Status, ofCommand: true})
		if err != nil {
			return err
		}
		defer live.Release()
		return fitsIn(live, c.Limits.MaxMemoryBytes)
	}
	return fitsIn(a.live, c.Limits.MaxMemoryBytes)
}

func fitsIn(live *replay.Agent, limit uint64) error {
	if live.Guest == nil || live.Guest.NeededMemory() <= limit {
		return nil
	}
	return events.Invalidf("resource_limits.max_memory_bytes", "must be at least %d, which the agent's memory has grown to; a restart empties it", live.Guest.NeededMemory())
}

// take makes another instance the agent's guest, in place of the one it had, which
// it returns. It is written down as a snapshot after the turn: no wake need run what
// led to the old one again.
func (a *agentActor) take(next *replay.Agent) (old *replay.Agent) {
	old = &replay.Agent{Module: a.live.Module, Guest: a.live.Guest}
	a.live.Module, a.live.Guest = next.Module, next.Guest
	a.guest = true
	a.sys.deps.Running.clears(wakeRun(a.id))
	a.debt.events, a.snapshotTook = a.sys.cfg.SnapshotEvery, 0
	return old
}

// restart carries out a Restart.
func (a *agentActor) restart(ctx context.Context, t *turn, e *envelope, c agent.Restart) (verdict, error) {
	payloads, err := agent.Decide(a.state(), c)
	if err != nil {
		t.tell(e, answer{err: err})
		return goOn, nil
	}
	if len(payloads) == 0 {
		t.tell(e, a.restartBefore(ctx, c))
		return goOn, nil
	}
	st, next := a.state(), new(replay.Agent)
	err = a.sys.licensed(ctx, func(ctx context.Context) error {
		work := guestWork{status: agent.Running, ofCommand: true} // whatever it was, which it calls off
		return a.interruptible(ctx, work, func(ctx context.Context) (err error) {
			next.Module, next.Guest, err = a.sys.source.Begin(ctx, st.Module, st.Limits.MaxMemoryBytes)
			return err
		})
	})
	if err != nil {
		t.tell(e, answer{err: fmt.Errorf("restart agent %s: %w", a.id, err)})
		return goOn, nil
	}
	defer func() { next.Release() }()
	if err := a.emitCommand(ctx, t, e, byCaller(e), payloads); err != nil {
		return goOn, err
	}
	next = a.take(next)
	a.rereadInbox()
	return endTurn, nil // what was held goes before what follows
}

// restartBefore is the answer to a Restart that is done. What was recorded so long ago
// that it is removed was before all that is there.
func (a *agentActor) restartBefore(ctx context.Context, c agent.Restart) answer {
	use, _ := a.state().Key(c.Key)
	rec, err := events.EventAt(ctx, a.sys.deps.Store, a.id, use.Revision)
	if errors.Is(err, events.ErrHistoryRemoved) {
		return answer{position: a.head(ctx)}
	}
	return answer{position: rec.Position, err: err}
}
