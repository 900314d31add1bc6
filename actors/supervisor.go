package actors

import (
	"log/slog"
	"math/bits"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// spawnAgent asks the supervisor for the actor of an agent that has just got a
// mailbox.
type spawnAgent struct {
	id  events.AgentID
	box *Mailbox
}

// supervisor is the parent of all agents' actors of this node.
type supervisor struct{ sys *System }

// Receive implements actor.Actor.
func (s *supervisor) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(spawnAgent); ok {
		ctx.Spawn(actor.PropsFromProducer(
			func() actor.Actor { return newAgentActor(s.sys, m.id, m.box) },
			actor.WithMailbox(func() actor.Mailbox { return m.box }),
		))
	}
}

// restarts is the supervision of agents' actors: one that panics is restarted
// alone, after a backoff that doubles. A guest cannot make an actor panic, so
// this is for faults of caxton itself; the mailbox keeps what the turn had taken.
type restarts struct{ sys *System }

// HandleFailure implements actor.SupervisorStrategy.
func (r restarts) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID,
	stats *actor.RestartStatistics, reason, _ any) {
	if stats.NumberOfFailures(agent.CrashWindow) == 0 {
		stats.Reset()
	}
	stats.Fail()
	wait := restartBackoff(stats.FailureCount())
	r.sys.deps.Observer.Crashed()
	r.sys.log.Error("agent actor panicked; restarting it",
		slog.String("actor", child.Id), slog.Any("err", reason), slog.Duration("backoff", wait))
	time.AfterFunc(wait, func() { sup.RestartChildren(child) })
}

// restartBackoff doubles from agent.FirstBackoff up to agent.MaxBackoff.
func restartBackoff(failures int) time.Duration {
	shift := min(max(failures-1, 0), bits.Len64(uint64(agent.MaxBackoff/agent.FirstBackoff)))
	return min(agent.FirstBackoff<<shift, agent.MaxBackoff)
}
