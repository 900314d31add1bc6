package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Histories are trimmed (events.retention): the oldest events of an agent go when
// nothing that is open needs them, and a HistoryTrimmed in its stream carries what
// only they told. A fold of what is left comes to the same as one of all there was:
//
//	Agents      takes the agent from the HistoryTrimmed: it has everything that is shown
//	InFlight    keeps what Oldest names; what had ended at the agent is in Seen
//	Inboxes     entries that had ended are below InboxNext or in InboxAhead
//	Timers      events from the oldest pending one on are kept (agent.State.SafeLine)
//	Letters     keeps what Oldest names
//	Conversations, Storms  nothing open began before Settled: they begin there
//	Messages    does not know messages of which no event is left
//	Requests    events of the last 24 hours' keys are kept (agent.State.SafeLine)
//
// Events that one agent's stream has lost may have ended what another's still tells
// of, so each line above is about both.

// settler is a fold that needs to know, before it is given the log, up to where that
// may have gaps.
type settler interface {
	// Settle says that events before from may be missing, that nothing which is open
	// at reached began before from, and that a fold was there once before, at that time.
	Settle(from, reached events.Position, at time.Time)
}

// settle reads what was trimmed before anything else: a conversation whose end is
// gone must not begin.
func (r *Runner) settle(ctx context.Context, head events.Position) error {
	var from, reached events.Position
	var at time.Time
	filter := events.Filter{Types: []events.Type{events.HistoryTrimmed{}.EventType()}}
	for rec, err := range r.store.ReadAll(ctx, events.ReadAllOptions{Filter: filter}) {
		if err != nil {
			return fmt.Errorf("projections: read what was trimmed: %w", err)
		}
		if rec.Position > head {
			break
		}
		if _, ok := rec.Stream.AgentID(); !ok || rec.Stream.Category() != events.CategoryAgent {
			continue // in a log that others write to as well
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			return fmt.Errorf("projections: position %d: %w", rec.Position, err)
		}
		from, reached, at = max(from, p.(events.HistoryTrimmed).Settled), rec.Position, rec.RecordedAt
	}
	for _, f := range r.folds {
		if s, ok := f.(settler); ok {
			s.Settle(from, reached, at)
		}
	}
	return nil
}

// Settle implements settler.
func (c *Conversations) Settle(from, _ events.Position, _ time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from = from
}

// Settled returns a position before which no conversation that is watched began.
func (c *Conversations) Settled() events.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.age.Front(); e != nil { // the first that began
		return e.Value.(*watched).from
	}
	return c.next
}

// Settle implements settler. A storm that was over by then was recorded, and may be
// found again in what is left of it as another one. A later one is there whole: it is
// found as it was, and recorded once, or for the first time after a crash.
func (s *Storms) Settle(_, reached events.Position, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.knownAt = reached, at
}

// old reports whether a storm that is found at an event was recorded before the log
// lost a part of it. Caller holds mu.
func (s *Storms) old(rec events.Recorded) bool {
	return rec.Position < s.known && s.knownAt.Sub(rec.RecordedAt) > stormOver
}

// stormOver is after how long without a failure, in recorded time, a storm is taken to
// be over for good. It is more than StormWindow, for clocks that are set back.
const stormOver = time.Hour

// pass notes how far the fold has come.
func (s *Storms) pass(rec events.Recorded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = rec.Position + 1
	if rec.RecordedAt.After(s.newest) {
		s.newest = rec.RecordedAt
	}
}

// Settled returns a position before which no failure counts any more; 0 while a storm
// is not recorded yet.
func (s *Storms) Settled() events.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken || len(s.found)+len(s.spread) > 0 {
		return 0
	}
	at := s.next
	for e := s.order.Front(); e != nil; e = e.Next() {
		g := e.Value.(*gathering)
		if s.newest.Sub(g.last()) <= stormOver {
			at = min(at, g.from)
		}
	}
	return at
}

// Oldest adds where each sender's oldest send in flight stands in its stream to a map
// of the first revision that is needed.
func (f *InFlight) Oldest(needed map[events.AgentID]events.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pair, list := range f.pairs {
		lower(needed, pair.From, list[0].Revision)
	}
}

// InFlight reports whether a send is neither handled nor given up.
func (f *InFlight) InFlight(m *events.Message) bool {
	from, ok := m.FromAgent()
	to, err := events.ParseAgentID(m.Receiver)
	if !ok || err != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	pair := Pair{from, to, m.Class()}
	i := f.above(pair, m.Sequence)
	return m.Sequence > 0 && i > 0 && f.pairs[pair][i-1].Sequence == m.Sequence
}

func lower(needed map[events.AgentID]events.Revision, id events.AgentID, rev events.Revision) {
	if at, ok := needed[id]; !ok || rev < at {
		needed[id] = rev
	}
}

// cover is a letter that took the place of another agent's of the same message. Were
// only the newer one's end removed, the older one would be a letter again.
type cover struct {
	agent    events.AgentID // of the newer one
	revision events.Revision
	older    events.AgentID
	at       events.Revision // of the older one
}

// cover notes that x takes the place of old. Caller holds mu.
func (l *Letters) cover(old, x *Letter) {
	switch {
	case old == nil || old.Agent == x.Agent:
	case len(l.over) >= maxLetters: // it takes a race for each
		l.lost = true
	default:
		l.over = append(l.over, cover{x.Agent, x.Revision, old.Agent, old.Revision})
	}
}

// trimmed forgets the letters of an agent that its history has given up. None of them
// can be retried, or Oldest had kept it; but what said so may stand in another agent's
// history, and be dropped before the letter is.
func (l *Letters) trimmed(agent events.AgentID, before events.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, x := range l.byID { // taken out one by one: the order does not matter
		if l.each[agent] == 0 {
			break // most agents have none
		}
		if x.Agent == agent && x.Revision < before {
			l.take(id)
		}
	}
	l.uncover(agent, before)
}

// uncover forgets those whose older letter is gone. Caller holds mu.
func (l *Letters) uncover(older events.AgentID, before events.Revision) {
	kept := l.over[:0]
	for _, c := range l.over {
		if c.older != older || c.at >= before {
			kept = append(kept, c)
		}
	}
	l.over = kept
}

// Oldest adds where each agent's oldest letter that can be retried stands in its
// stream to a map of the first revision that is needed. It is false when that is not
// known any more.
func (l *Letters) Oldest(needed map[events.AgentID]events.Revision) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, x := range l.byID {
		lower(needed, x.Agent, x.Revision)
	}
	for _, c := range l.over {
		lower(needed, c.agent, c.revision)
	}
	return !l.lost
}

// trimmed takes an agent from what a HistoryTrimmed carries. One that is known is what
// it says already, for it is of the moment at which it was written. Caller holds mu.
func (a *Agents) trimmed(rec events.Recorded, h events.HistoryTrimmed) {
	if h.Until.After(a.removed) {
		a.removed = h.Until
	}
	e := a.byID[h.Deployed.AgentID]
	if e == nil {
		e = carried(a.node, h)
		a.insert(e)
		for _, name := range h.Totals.Capabilities {
			a.register(e, name)
		}
	}
	e.view.Revision, e.view.HistoryEvent = rec.Revision, rec.Revision
	e.view.HistoryFrom, e.view.HistoryRemovedAt = h.Before, &rec.RecordedAt
}

// carried is an agent of which no other event may be left.
func carried(node events.MemberID, h events.HistoryTrimmed) *entry {
	t := h.Totals
	labels := t.Labels
	if labels == nil {
		labels = events.Labels{}
	}
	return &entry{created: h.Position, view: AgentView{
		ID: h.Deployed.AgentID, Name: h.Deployed.Name, Status: "running", Node: node,
		Module: t.Module, ModuleSize: t.ModuleSize, Limits: t.Limits, Priority: t.Priority,
		Labels: labels, Warnings: t.Warnings, Capabilities: []string{}, Timers: t.Timers,
		FuelUsed: t.FuelUsed, MessagesHandled: t.MessagesHandled, MessagesFailed: t.MessagesFailed, LastError: t.LastError,
		CreatedAt: h.DeployedAt, UpdatedAt: t.UpdatedAt,
	}}
}

// Totals returns what a HistoryTrimmed carries of an agent as it stands, and at which
// revision that is; ok is false when there is none.
func (a *Agents) Totals(id events.AgentID) (t events.AgentTotals, at events.Revision, ok bool) {
	v, ok := a.Get(id)
	if !ok {
		return t, 0, false
	}
	return events.AgentTotals{
		Module: v.Module, ModuleSize: v.ModuleSize, Warnings: v.Warnings, Limits: v.Limits, Priority: v.Priority,
		Labels: v.Labels, Capabilities: v.Capabilities, Timers: v.Timers, FuelUsed: v.FuelUsed,
		MessagesHandled: v.MessagesHandled, MessagesFailed: v.MessagesFailed, LastError: v.LastError, UpdatedAt: v.UpdatedAt,
	}, v.Revision, true
}

// RemovedUntil is the newest recorded time of an event that was removed of any agent;
// zero when none was.
func (a *Agents) RemovedUntil() time.Time {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.removed
}

// RemovedEvents is the number of events that histories of living agents have lost.
func (a *Agents) RemovedEvents() (n uint64) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, e := range a.order {
		n += uint64(e.view.HistoryFrom)
	}
	return n
}
