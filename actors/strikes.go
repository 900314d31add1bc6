package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/replay"
)

// How many unclean ends in a row a run may see before it is not begun again.
const (
	maxStrikes     = 2 // of a message, which is quarantined, or of a migration, which is refused
	maxWakeStrikes = 3 // of a wake: the agent fails, which is more, and a start that is ended early finds many at it
)

// runs writes down what the guest is made to do, for the next process to know should
// this one not outlive it.
func (a *agentActor) runs(r guestRun) {
	if a.slot == 0 {
		a.slot = a.sys.deps.Running.take()
	}
	a.sys.deps.Running.name(a.slot, r)
}

// noneRuns says that the guest has returned.
func (a *agentActor) noneRuns() {
	a.sys.deps.Running.give(a.slot)
	a.slot = 0
}

// wake makes the guest again from a snapshot and the messages since. It is named from
// when the module is there: what compiles it is another process, and takes long.
//
// It may run for as long as a run of messages, and an interruption ends it as it ends
// one: errInterrupted then, and it counts as if it had not been.
func (a *agentActor) wake(ctx context.Context, work guestWork) (live *replay.Agent, err error) {
	err = a.interruptible(ctx, work, func(ctx context.Context) error {
		live, err = a.remake(ctx)
		return err
	})
	if errors.Is(err, errInterrupted) && !work.ofCommand {
		a.box.cut()
		a.sys.log.Info("wake interrupted: a command goes first", slog.String("agent", a.id.String()))
	}
	return live, err
}

// interruptible does what takes a guest outside a message's run, with a context that ends
// with an interruption too. Errors: do's, errInterrupted, and events.ErrEmergencyStop,
// which goes before that.
func (a *agentActor) interruptible(ctx context.Context, work guestWork, do func(context.Context) error) error {
	run := a.box.runContext(a.sys.licence.Load().ctx, work)
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(run, cancel)()
	err := do(own)
	var failed *events.MigrationError
	switch {
	case err == nil, run.Err() == nil, ctx.Err() != nil, errors.Is(err, events.ErrEmergencyStop):
		return err
	case errors.As(err, &failed) && failed.Outcome != events.OutcomeKilled:
		return err // it came to its end
	}
	return errInterrupted
}

// remake is wake, until ctx ends.
//
// What has a strike against it wakes while no other such does. Whoever ends the process
// stood there among many, and the others are cleared one by one.
func (a *agentActor) remake(ctx context.Context) (*replay.Agent, error) {
	what := wakeRun(a.id)
	if a.sys.deps.Running.strikes(what) > 0 {
		if err := a.sys.suspects.begin(ctx); err != nil {
			return nil, err
		}
		defer a.sys.suspects.end()
	}
	defer a.noneRuns()
	src := a.sys.source
	src.Starting = func() { a.runs(what) }
	var live *replay.Agent
	err := a.sys.licensed(ctx, func(ctx context.Context) (err error) {
		live, err = src.Agent(ctx, a.id)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.sys.deps.Running.clears(what)
	return live, nil
}

// isDeadly reports whether the agent is not to be woken any more, and how often its
// wake ended the process.
func (a *agentActor) isDeadly() (times int, is bool) {
	times = a.sys.deps.Running.strikes(wakeRun(a.id))
	return times, times >= maxWakeStrikes
}

// giveUp fails an agent that runs and is not to be woken, before the turn's messages:
// they then meet an agent that has failed.
func (a *agentActor) giveUp(ctx context.Context, t *turn) error {
	times, is := a.isDeadly()
	if !is || a.guest || a.sys.halted() || !a.state().Status.Runs() {
		return nil
	}
	payloads, err := agent.Decide(a.state(), agent.GiveUp{Times: times})
	if err != nil {
		return err
	}
	_, err = a.emit(ctx, t, payloads, events.Metadata{Member: a.sys.deps.Member})
	t.gaveUp = err == nil
	return err
}

// gaveUp says that an agent has failed, durably, by its wakes. From now on it is its
// status that keeps it from being woken, and who lets it run again means it.
func (a *agentActor) gaveUp() {
	a.sys.deps.Running.clears(wakeRun(a.id))
}

// deadlyMigration refuses a migration that ended the process, and a trial of it. It stays
// refused on this node: the module is to be mended, and is another then.
func (s *System) deadlyMigration(id events.AgentID, to events.ModuleHash) error {
	n := s.deps.Running.strikes(migrationRun(id, to))
	if n < maxStrikes {
		return nil
	}
	return fmt.Errorf("update agent %s: %w", id, &events.MigrationError{
		Outcome: events.OutcomeNodeCrash,
		Detail:  fmt.Sprintf("the node's process ended %d times in a row while it ran; this build of the module stays refused here, another is not", n),
	})
}

// errDeadly is the error of a wake that would end the process once more.
func errDeadly(id events.AgentID, times int) error {
	return errors.Join(events.ErrAgentFailed, fmt.Errorf("agent %s: the node's process ended %d times in a row while it was woken", id, times))
}
