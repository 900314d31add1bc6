package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/caxton-run/caxton/events"
)

// keepBreakerEvents is how many events of a breaker are kept: the last says how it
// stands, those before it how it came to that.
const keepBreakerEvents = 1000

// recordWithin is how long the append of a breaker's event may take: the next one waits.
const recordWithin = 5 * time.Second

// What the supervisor is told about breakers.
type (
	breakerTrips struct { // outcomes of a breaker are such that it is to open
		scope  events.BreakerScope
		window window
	}
	breakerTried struct { // how the one message of a half-open breaker ended
		scope  events.BreakerScope
		failed bool
	}
	breakerGone struct { // the agent of a breaker was removed
		scope events.BreakerScope
	}
	breakerStorm struct { // these agents failed together
		storm events.AgentStormDetected
		done  chan<- struct{} // closed when it has been dealt with
	}
	breakerDue   struct{} // it may be time for a transition
	breakerOrder struct { // an operator's
		request BreakerRequest
		done    chan<- error // capacity 1
	}
)

// tellBreakers gives the supervisor a message about breakers, unless it is ending:
// nobody would read it, and breakers begin anew from the log.
func (s *System) tellBreakers(m any) {
	if !s.ending.Load() {
		s.engine.Root.Send(s.supervisor, m)
	}
}

// breakerActor moves breakers: a child of the supervisor, so that an append that takes
// long keeps no agent from being spawned.
type breakerActor struct {
	*breakers
	known map[events.BreakerScope]breaker // that are not closed
	timer *time.Timer                     // of the next transition by time; nil: none
}

// Receive implements actor.Actor.
func (a *breakerActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.arm()
	case *actor.Stopping, *actor.Restarting:
		a.disarm()
	case breakerDue:
		a.passTime(a.sys.deps.Now())
	case breakerTrips:
		br := a.known[m.scope]
		_ = a.move(m.scope, br.opens(&m.window, a.rules, a.sys.deps.Now()), Caller{}) // logged
	case breakerTried:
		br := a.known[m.scope]
		_ = a.move(m.scope, br.tried(m.failed, a.sys.deps.Now()), Caller{}) // logged
	case breakerGone:
		br := a.known[m.scope]
		_ = a.move(m.scope, br.gone(a.sys.deps.Now()), Caller{}) // logged
	case breakerStorm:
		a.storm(m)
	case breakerOrder:
		m.done <- a.order(m.request, a.sys.deps.Now())
	}
}

// storm opens the breakers of the agents in it.
func (a *breakerActor) storm(m breakerStorm) {
	defer close(m.done)
	for _, id := range m.storm.Agents {
		br := a.known[events.AgentScope(id)]
		_ = a.move(events.AgentScope(id), br.stormed(m.storm, a.sys.deps.Now()), Caller{}) // logged
	}
}

// passTime does the transitions that are due, and closes the breakers of agents that are
// no more, where their removal did not, as in a process that ended just then: nothing will
// try a half-open one, and no operator finds the agent of one that was forced. Before the projections are ready all agents
// seem to be no more: then it is left to awaitAgents.
func (a *breakerActor) passTime(now time.Time) {
	if !a.sys.isReady() {
		return
	}
	for _, scope := range slices.Sorted(maps.Keys(a.known)) {
		br := a.known[scope]
		p := br.passed(a.rules, now)
		if (p != nil || br.state == BreakerHalfOpen || br.forced) && a.orphan(scope) {
			p = br.gone(now)
		}
		_ = a.move(scope, p, Caller{}) // logged
	}
	a.arm()
}

// awaitAgents has the transitions done that came due while the node was down, once its
// agents are known, or returns when ctx ends.
func (b *breakers) awaitAgents(ctx context.Context) {
	if b.sys.awaitReady(ctx) {
		b.sys.tellBreakers(breakerDue{})
	}
}

// orphan reports whether a breaker's agent is no more.
func (a *breakerActor) orphan(scope events.BreakerScope) bool {
	kind, name := scope.Split()
	id, err := events.ParseAgentID(name)
	if kind != events.BreakerAgent || err != nil {
		return false
	}
	_, ok := a.sys.deps.Agents.Get(id)
	return !ok
}

// order does what an operator wants.
func (a *breakerActor) order(r BreakerRequest, now time.Time) error {
	if r.Activate {
		br := a.known[r.Scope]
		return a.move(r.Scope, br.force(r.Reason, now), r.Caller)
	}
	var errs []error
	for _, scope := range slices.Sorted(maps.Keys(a.known)) {
		if r.Scope == "" || r.Scope == scope {
			br := a.known[scope]
			errs = append(errs, a.move(scope, br.reset(r.Over, now), r.Caller))
		}
	}
	return errors.Join(errs...)
}

// move does a transition and records it, in this order: protection does not wait for
// the log. p is nil for none.
func (a *breakerActor) move(scope events.BreakerScope, p events.Payload, c Caller) error {
	if p == nil {
		return nil
	}
	br := a.known[scope]
	br.apply(p)
	if a.known[scope] = br; br.closed() {
		delete(a.known, scope)
	}
	a.forget(scope)
	a.publish(a.known)
	a.arm()
	a.log(scope, p)
	err := a.record(scope, p, c)
	if err != nil {
		a.sys.log.Error("breaker moved, which is not recorded", slog.String("breaker", string(scope)), slog.Any("err", err))
		err = fmt.Errorf("the circuit breaker %s has moved, and a restart will not know it: %w", scope, err)
	}
	return err
}

func (a *breakerActor) log(scope events.BreakerScope, p events.Payload) {
	level := slog.LevelInfo
	switch p.(type) {
	case events.BreakerOpened, events.BreakerForced:
		level = slog.LevelWarn
	}
	a.sys.log.Log(context.Background(), level, "circuit breaker moved", slog.String("breaker", string(scope)), slog.String("event", string(p.EventType())))
}

func (a *breakerActor) record(scope events.BreakerScope, p events.Payload, c Caller) error {
	ctx, cancel := context.WithTimeout(a.sys.life, recordWithin)
	defer cancel()
	stream := events.BreakerStream(scope)
	res, err := a.sys.recordControl(ctx, stream, p, c)
	if err != nil || res.First > 0 {
		return err
	}
	_, err = a.sys.deps.Store.SetStreamMetadata(ctx, stream, events.NoStream(), events.StreamMetadata{MaxCount: keepBreakerEvents})
	if wrong := (*events.WrongRevisionError)(nil); errors.As(err, &wrong) {
		return nil // set before
	}
	return err
}

// arm sets the timer to the next transition by time, or look at whether an agent is still there.
func (a *breakerActor) arm() {
	a.disarm()
	var next time.Time
	now := a.sys.deps.Now()
	for scope, br := range a.known {
		due, ok := br.due(a.rules)
		if kind, _ := scope.Split(); kind == events.BreakerAgent {
			due, ok = br.look(a.rules, now), true
		}
		if ok && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	if !next.IsZero() {
		sys := a.sys
		a.timer = time.AfterFunc(max(0, next.Sub(now)), func() { sys.tellBreakers(breakerDue{}) })
	}
}

func (a *breakerActor) disarm() {
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}

// restoreBreakers reads how the breakers stand, and why: the last events of each of their
// streams say it.
func (s *System) restoreBreakers(ctx context.Context) (map[events.BreakerScope]breaker, error) {
	known := make(map[events.BreakerScope]breaker)
	opts := events.ReadAllOptions{Filter: events.Filter{Categories: []events.Category{events.CategoryBreaker}}}
	for rec, err := range s.deps.Store.ReadAll(ctx, opts) {
		if err != nil {
			return nil, fmt.Errorf("actors: read breakers: %w", err)
		}
		scope := events.BreakerScope(string(rec.Stream)[len(events.CategoryBreaker)+1:])
		p, err := events.Decode(rec.Event)
		if errors.Is(err, events.ErrUnknownType) || scope.Validate() != nil {
			continue // nothing that this caxton wrote
		}
		if err != nil {
			return nil, fmt.Errorf("actors: read breakers: %w", err)
		}
		br := known[scope]
		br.apply(p)
		if known[scope] = br; br.closed() {
			delete(known, scope)
		}
	}
	return known, nil
}

// BreakerRequest is what an operator wants of circuit breakers.
type BreakerRequest struct {
	Caller
	Scope    events.BreakerScope // empty, to reset: every one that is not closed
	Activate bool                // open it until it is reset; else reset it
	Reason   string              // at most MaxReason bytes; to activate
	Over     time.Duration       // of a reset: 0 at once, or MinReset to MaxReset gradually
}

// OrderBreaker opens or resets circuit breakers, by a message to the supervisor, and
// returns how they stand. Opening one that is forced open, and resetting one that is
// closed, changes nothing.
//
// Errors: *events.InvalidError, events.ErrAgentNotFound (to open the breaker of an agent
// that is not), events.ErrShuttingDown, events.ErrUnknownOutcome when ctx ends first;
// those of the store: the breakers have moved, and may not stand so after a restart.
func (g *Gateway) OrderBreaker(ctx context.Context, r BreakerRequest) ([]BreakerView, error) {
	s := g.sys
	if err := s.checkOrder(r); err != nil {
		return nil, err
	}
	if s.ending.Load() {
		return nil, events.ErrShuttingDown
	}
	done := make(chan error, 1)
	s.tellBreakers(breakerOrder{r, done})
	select {
	case err := <-done:
		return s.Breakers(), err
	case <-s.life.Done():
		return nil, events.ErrShuttingDown
	case <-ctx.Done():
		return nil, fmt.Errorf("circuit breaker: %w: %w", events.ErrUnknownOutcome, context.Cause(ctx))
	}
}

func (s *System) checkOrder(r BreakerRequest) error {
	var f events.Faults
	if r.Scope != "" || r.Activate {
		f.Merge("scope", r.Scope.Validate())
	}
	if len(r.Reason) > MaxReason {
		f.Add("reason", "must be at most %d bytes, got %d", MaxReason, len(r.Reason))
	}
	if r.Over != 0 && (r.Activate || r.Over < MinReset || r.Over > MaxReset) {
		f.Add("duration", "must be %s to %s, of a reset", MinReset, MaxReset)
	}
	if err := f.Err(); err != nil {
		return err
	}
	kind, name := r.Scope.Split()
	if id, err := events.ParseAgentID(name); r.Activate && kind == events.BreakerAgent && err == nil {
		if _, ok := s.deps.Agents.Get(id); !ok {
			return fmt.Errorf("agent %s: %w", id, events.ErrAgentNotFound)
		}
	}
	return nil
}
