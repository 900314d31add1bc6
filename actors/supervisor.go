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

// supervisor is the parent of all agents' actors of this node, and of the one that
// moves its circuit breakers.
type supervisor struct {
	sys      *System
	open     map[events.BreakerScope]breaker // as the log had them at the start
	breakers *actor.PID
}

// Receive implements actor.Actor.
func (s *supervisor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		moves := &breakerActor{breakers: s.sys.breakers, known: s.open} // one for ever: what it knows survives its restarts
		s.breakers = ctx.Spawn(actor.PropsFromProducer(func() actor.Actor { return moves }))
	case breakerTrips, breakerTried, breakerGone, breakerStorm, breakerDue, breakerOrder:
		ctx.Send(s.breakers, m)
	case spawnAgent:
		ctx.Spawn(actor.PropsFromProducer(
			func() actor.Actor { return newAgentActor(s.sys, m.id, m.box) },
			actor.WithMailbox(func() actor.Mailbox { return m.box }),
		))
	}
}

// restarts is the supervision of agents' actors: one that panics is restarted
// alone and at once, and then holds its messages back for a while that doubles. A
// guest cannot make an actor panic, so this is for faults of caxton itself; the
// mailbox keeps what the turn had taken.
type restarts struct{ sys *System }

// HandleFailure implements actor.SupervisorStrategy.
func (r restarts) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID,
	_ *actor.RestartStatistics, reason, _ any) {
	r.sys.deps.Observer.Crashed()
	r.sys.log.Error("agent actor panicked; restarting it", slog.String("actor", child.Id), slog.Any("err", reason))
	sup.RestartChildren(child)
}

// restartBackoff is how long messages are held back after so many panics in a
// row: from agent.FirstBackoff, doubling up to agent.MaxBackoff.
func restartBackoff(panics int) time.Duration {
	shift := min(max(panics-1, 0), bits.Len64(uint64(agent.MaxBackoff/agent.FirstBackoff)))
	return min(agent.FirstBackoff<<shift, agent.MaxBackoff)
}
