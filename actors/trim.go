package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/replay"
)

const (
	// trimMin is Config.TrimEvents of a server: it spares the log a HistoryTrimmed and
	// metadata for few events.
	trimMin = 256

	// trimLag is how long an agent waits for its projection, to carry over what that
	// says. It does nothing else meanwhile.
	trimLag = 5 * time.Second

	// trimPage is how many agents are listed at a time.
	trimPage = 1000
)

// Trimmed is what a pass over all histories gave up.
type Trimmed struct {
	Agents uint64 // whose history became shorter
	Events uint64 // hidden, for a scavenge to drop
	Kept   uint64 // agents whose history could not be given up, for a reason that is logged

	Settled events.Position // from here on everything stayed: something that is open may have begun there
}

// TrimHistories gives up events of agents that are older than retention and that
// nothing needs: two snapshots behind them are confirmed by a replay, what only they
// told is written into the agent's stream, and then they are hidden. A scavenge drops
// them. It takes one agent after the other, and pauses as long as it works.
//
// Ended anywhere, it has done so for some agents; of one whose event is there and whose
// history is not hidden yet, the next pass hides it.
//
// It does nothing while the projections are rebuilt.
//
// Errors: events.ErrEmergencyStop, events.ErrShuttingDown, those of the store, ctx's.
// What keeps one agent's history is logged and keeps no other's.
func (s *System) TrimHistories(ctx context.Context, retention time.Duration) (Trimmed, error) {
	if !s.isReady() {
		return Trimmed{}, ctx.Err() // half a log would look as if nothing was open
	}
	p := trimPass{
		sys: s, retention: retention, before: s.deps.Now().Add(-retention), least: events.Revision(s.cfg.TrimEvents),
		needed: make(map[events.AgentID]events.Revision),
	}
	// First how far everything is settled: what opens from now on lies beyond it.
	p.settled = min(s.deps.Talks.Settled(), s.deps.Storms.Settled())
	p.done.Settled = p.settled
	s.deps.InFlight.Oldest(p.needed)
	if !s.deps.Letters.Oldest(p.needed) {
		return Trimmed{}, errors.New("trim histories: it is not known any more which dead letters stand for others")
	}
	for cursor := ""; ; {
		page, err := s.deps.Agents.List(cursor, trimPage)
		if err != nil {
			return p.done, err
		}
		for _, v := range page.Agents {
			if err := p.paced(ctx, v); err != nil {
				return p.done, fmt.Errorf("trim histories: %w", err)
			}
		}
		if cursor = page.Next; cursor == "" {
			return p.done, nil
		}
	}
}

// trimPass is one pass over all agents.
type trimPass struct {
	sys       *System
	retention time.Duration
	before    time.Time                          // events recorded from then on stay
	settled   events.Position                    // events from there on stay
	least     events.Revision                    // events that are worth it
	needed    map[events.AgentID]events.Revision // first revision, by agent
	done      Trimmed
}

// paced deals with one agent and pauses as long as that took. An error ends the pass.
func (p *trimPass) paced(ctx context.Context, v projections.AgentView) error {
	began := time.Now()
	err := p.agent(ctx, v)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, events.ErrEmergencyStop), errors.Is(err, events.ErrShuttingDown), errors.Is(err, events.ErrClosed), errors.Is(err, events.ErrReadOnly):
		return err
	case err != nil:
		p.done.Kept++
		p.sys.log.Warn("history is kept", slog.String("agent", v.ID.String()), slog.Any("err", err))
	}
	select {
	case <-time.After(time.Since(began)):
	case <-ctx.Done():
	}
	return nil
}

// agent trims one history if there is enough to give up. Only a running agent's is:
// one that is held has no new events either.
func (p *trimPass) agent(ctx context.Context, v projections.AgentView) error {
	if v.Status != string(agent.Running) || !v.Snapshotable {
		return nil
	}
	trim, _, err := events.Trimmed(ctx, p.sys.deps.Store, v.ID)
	if err != nil {
		return err
	}
	if v.HistoryFrom > trim.Before { // the event is there, and the pass ended before it was followed
		return p.hide(ctx, v)
	}
	from, limit := trim.Before, v.Revision
	if at, ok := p.needed[v.ID]; ok {
		limit = min(limit, at)
	}
	if limit < from+p.least {
		return nil
	}
	if end, err := p.scan(ctx, v.ID, from, from+p.least, nil); err != nil || end < from+p.least {
		return err
	}
	st, err := p.sys.source.State(ctx, v.ID)
	if err != nil {
		return err
	}
	if limit = min(limit, st.SafeLine()); limit < from+p.least { // it only rises; the actor looks again
		return nil
	}
	// Asked before a replay and a base are made for it.
	if err := st.Trimmable(limit); errors.Is(err, events.ErrIllegalLifecycle) {
		return nil // it was stopped or removed meanwhile
	} else if err != nil {
		return err
	}
	confirmed, ok, err := p.confirm(ctx, v.ID, from+p.least-1)
	if err != nil || !ok {
		return err
	}
	return p.give(ctx, v, from, min(limit, confirmed.Older+1), confirmed)
}

// confirm has two snapshots confirmed by a replay, the older of the revision least or
// above.
func (p *trimPass) confirm(ctx context.Context, id events.AgentID, least events.Revision) (c replay.Confirmed, ok bool, err error) {
	if known := p.sys.unconfirmed.begin(id); known != nil {
		return replay.Confirmed{}, false, known
	}
	err = p.sys.licensed(ctx, func(ctx context.Context) error {
		c, ok, err = p.sys.source.Confirm(ctx, id, least)
		return err
	})
	p.sys.unconfirmed.end(id, err)
	return c, ok, err
}

// scan reads events of an agent from one revision up to another, and returns the first
// that has to stay: because of its age or because something open may have begun there.
func (p *trimPass) scan(ctx context.Context, id events.AgentID, from, to events.Revision, count func(events.Recorded)) (events.Revision, error) {
	if from >= to {
		return from, nil
	}
	for rec, err := range p.sys.deps.Store.ReadStream(ctx, events.AgentStream(id), events.ReadStreamOptions{From: from, Max: int(to - from)}) {
		if err != nil {
			return from, err
		}
		if rec.Revision != from || rec.Position >= p.settled || !rec.RecordedAt.Before(p.before) {
			return from, nil
		}
		if from++; count != nil {
			count(rec)
		}
	}
	return from, nil
}

// give writes what the events up to a line told, and hides them.
func (p *trimPass) give(ctx context.Context, v projections.AgentView, from, to events.Revision, c replay.Confirmed) error {
	e := events.HistoryTrimmed{
		RetentionMS: p.retention.Milliseconds(), Settled: p.settled,
		Snapshots: []events.Revision{c.Older, c.Newer},
	}
	var err error
	e.Before, err = p.scan(ctx, v.ID, from, to, func(rec events.Recorded) {
		e.Events, e.Bytes = e.Events+1, e.Bytes+uint64(rec.Size())
		if rec.RecordedAt.After(e.Until) {
			e.Until = rec.RecordedAt
		}
	})
	if err != nil || e.Before < from+p.least {
		return err
	}
	first, err := p.sys.firstEvent(ctx, v.ID)
	if err != nil {
		return err
	}
	if first.Deployed.AgentID != v.ID {
		return fmt.Errorf("trim the history of agent %s: it begins at revision %d without saying how the agent was deployed", v.ID, uint64(from))
	}
	e.Deployed, e.DeployedAt, e.Position = first.Deployed, first.DeployedAt, first.Position
	if _, ok := p.sys.deps.Agents.Get(v.ID); !ok {
		return nil // removed while it was replayed: a base would be of nobody
	}
	if err := p.saveBase(ctx, v.ID, c.Data); err != nil {
		return err
	}
	env := newEnvelope()
	env.command = agent.Trim{Event: e}
	ans, err := p.sys.ask(ctx, v.ID, env)
	if errors.Is(err, events.ErrConflict) || errors.Is(err, events.ErrIllegalLifecycle) || errors.Is(err, events.ErrAgentNotFound) {
		return nil // it went on meanwhile, or was stopped or removed: the next pass looks again
	}
	if err != nil {
		return err
	}
	if err := p.sys.deps.Runner.WaitFor(ctx, ans.position); err != nil {
		return err
	}
	v, ok := p.sys.deps.Agents.Get(v.ID)
	if !ok || v.HistoryFrom != e.Before {
		return nil // removed meanwhile
	}
	p.done.Agents, p.done.Events = p.done.Agents+1, p.done.Events+e.Events
	return p.hide(ctx, v)
}

// saveBase copies the older confirmed snapshot to where no newer one takes its place:
// with the events that are left it is the agent, whatever becomes of later ones.
func (p *trimPass) saveBase(ctx context.Context, id events.AgentID, data [][]byte) error {
	expected := events.Any()
	for _, part := range data {
		r, err := p.sys.append(ctx, events.BaseStream(id), expected, replay.PartEvent(part))
		if err != nil {
			return err
		}
		expected = events.Exact(r.Last)
	}
	return p.dropBases(ctx, id)
}

// dropBases hides all but the newest base. It is read first, and what is left of the
// history leads on from it: it lies beyond the one before.
func (p *trimPass) dropBases(ctx context.Context, id events.AgentID) error {
	newest, err := p.sys.source.NewestBase(ctx, id)
	if err != nil {
		return err
	}
	return p.sys.changeMetadata(ctx, events.BaseStream(id), func(md *events.StreamMetadata) bool {
		if md.TruncateBefore >= newest {
			return false
		}
		md.TruncateBefore = newest
		return true
	})
}

// hide has reads of an agent's stream begin where its newest HistoryTrimmed says.
func (p *trimPass) hide(ctx context.Context, v projections.AgentView) error {
	trim := events.Trim{Before: v.HistoryFrom, Event: v.HistoryEvent, At: *v.HistoryRemovedAt}
	return p.sys.changeMetadata(ctx, events.AgentStream(v.ID), func(md *events.StreamMetadata) bool {
		*md = trim.In(*md)
		return true
	})
}

// trim records that the oldest events are given up, with what readers see of the agent
// at that moment: the projection has to have come as far as the state.
func (a *agentActor) trim(ctx context.Context, t *turn, e *envelope, c agent.Trim) (verdict, error) {
	if err := a.flushOn(ctx, t); err != nil {
		return goOn, err
	}
	if a.state().Status == agent.Running {
		if err := a.carry(ctx, &c.Event); err != nil {
			t.tell(e, answer{err: err})
			return goOn, nil
		}
	}
	payloads, err := agent.Decide(a.state(), c)
	if err != nil {
		t.tell(e, answer{err: err})
		return goOn, nil
	}
	err = a.emitCommand(ctx, t, e, byCaller(e), payloads)
	if errors.Is(err, events.ErrTooLarge) { // nothing was applied
		t.tell(e, answer{err: fmt.Errorf("trim the history of agent %s: %w", a.id, err)})
		return goOn, nil
	}
	return endTurn, err
}

// carry notes what the projection says of the agent as it stands.
func (a *agentActor) carry(ctx context.Context, e *events.HistoryTrimmed) error {
	ctx, cancel := context.WithTimeout(ctx, trimLag)
	defer cancel()
	if err := a.sys.deps.Runner.WaitFor(ctx, a.head(ctx)); err != nil {
		return fmt.Errorf("trim the history of agent %s: %w", a.id, err)
	}
	totals, at, ok := a.sys.deps.Agents.Totals(a.id)
	if !ok || at != a.state().Revision {
		return fmt.Errorf("trim the history of agent %s: its view is of revision %d, its state of %d: %w",
			a.id, uint64(at), uint64(a.state().Revision), events.ErrConflict)
	}
	e.Totals = totals
	return nil
}
