package actors_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// stormSay is a message for which every ledger of a list fails: each passes on what is for
// the rest, in a conversation of its own, and tells itself to fail, in another. The last
// one does not tell itself, but sets a timer.
func stormSay(ledgers []int) *say {
	trap := &say{Op: "trap"}
	if len(ledgers) == 1 {
		return &say{Us: 10_000, Later: trap}
	}
	return &say{
		To: ledgerID(ledgers[1]).String(), Then: stormSay(ledgers[1:]),
		Also: ledgerID(ledgers[0]).String(), Other: trap, Talk: fmt.Sprint("storm-", ledgers[1]),
	}
}

// origin is what a message came of, by what the log has as its sending.
type origin struct {
	event    events.EventID // that sent it; zero from outside
	ancestor events.MessageID
	since    time.Time
}

// comes notes that what a run of one message led to is another message.
func (h *history) comes(rec events.Recorded, from, id events.MessageID) {
	o, known := h.origins[from]
	if !known || rec.RecordedAt.Sub(o.since) > events.ChainAge {
		o = origin{ancestor: from, since: rec.RecordedAt}
	}
	o.event = rec.ID
	h.origins[id] = o
}

// origin is what a message came of; one from outside begins a chain.
func (h *history) origin(id events.MessageID) origin {
	if o, known := h.origins[id]; known {
		return o
	}
	return origin{ancestor: id}
}

// checkCause: the event about a message names what that came of.
func (h *history) checkCause(rec events.Recorded, id events.MessageID) {
	md, err := events.DecodeMetadata(rec.Metadata)
	if err != nil {
		h.fault("%d: %v", rec.Position, err)
		return
	}
	want, caused := h.origin(id), id.String()
	if want.event != (events.EventID{}) {
		caused = want.event.String()
	}
	if got := md.AncestorOf(id); got != want.ancestor || md.CausationID != caused {
		h.fault("message %s, at %d, came of %s and %s at first, want %s and %s", id, rec.Position, md.CausationID, got, caused, want.ancestor)
	}
}

// misfortune is one failure that counts towards a storm.
type misfortune struct {
	agent        events.AgentID
	conversation string
	at           time.Time
}

// misfortunes are those that came of one message lately.
type misfortunes struct {
	list []misfortune
	told bool // they were a storm, and it has not been quiet since
	in   map[events.AgentID]bool
}

// joining is an agent that failed in a storm that there was.
type joining struct {
	agent    events.AgentID
	position events.Position
	shut     bool // its breaker was not closed just then
}

// storm is one that was recorded.
type storm struct {
	position events.Position
	cause    string // id of the failure that made it one
	event    events.AgentStormDetected
}

// storming is a storm that there was.
type storming struct {
	ancestor events.MessageID
	talks    []string                     // conversations
	position events.Position              // of the failure that made it one
	shut     map[events.BreakerScope]bool // breakers that were not closed just then
}

// opening is a breaker that opened.
type opening struct {
	scope    events.BreakerScope
	position events.Position
}

// fails takes a failure of an agent, by the model's own count.
func (h *history) fails(l *life, rec events.Recorded, o events.OutcomeStatus, id events.MessageID) {
	h.checkCause(rec, id)
	md, err := events.DecodeMetadata(rec.Metadata)
	if _, failed := o.Counts(); !failed || err != nil {
		return
	}
	ancestor := h.origin(id).ancestor
	m := h.misfortunes[ancestor]
	if m == nil {
		m = new(misfortunes)
		h.misfortunes[ancestor] = m
	}
	for len(m.list) > 0 && rec.RecordedAt.Sub(m.list[0].at) > projections.StormWindow {
		m.list = m.list[1:]
	}
	m.told = m.told && len(m.list) > 0
	m.list = append(m.list, misfortune{l.id, md.CorrelationID, rec.RecordedAt})
	who := make(map[events.AgentID]bool)
	var talks []string
	for _, f := range m.list {
		if who[f.agent] = true; !slices.Contains(talks, f.conversation) {
			talks = append(talks, f.conversation)
		}
	}
	switch {
	case m.told && !m.in[l.id]:
		m.in[l.id] = true
		h.joined = append(h.joined, joining{l.id, rec.Position, h.shut[events.AgentScope(l.id)]})
	case !m.told && len(who) >= projections.StormAgents:
		m.told, m.in = true, who
		h.stormy[rec.ID.String()] = storming{ancestor, talks, rec.Position, maps.Clone(h.shut)}
	}
}

// checkStorms: there is a storm where many agents failed for one message, once, and nowhere
// else, and it opened their breakers.
func (w *world) checkStorms(h *history) {
	seen := make(map[string]bool)
	for _, s := range h.storms {
		began, known := h.stormy[s.cause]
		if !known || seen[s.cause] {
			h.fault("a storm at %d that there was not, or again: %+v", s.position, s.event)
		}
		seen[s.cause] = true
		if s.event.Ancestor != began.ancestor || !slices.Equal(s.event.Conversations, began.talks) {
			h.fault("the storm at %d is for message %s in %q, want %s in %q", s.position, s.event.Ancestor, s.event.Conversations, began.ancestor, began.talks)
		}
		if s.event.Count < projections.StormAgents || len(s.event.Agents) != s.event.Count {
			h.fault("a storm of %d agents names %d", s.event.Count, len(s.event.Agents))
		}
		for _, a := range s.event.Agents {
			h.checkOpened(began, s, a)
		}
	}
	for _, j := range h.joined {
		if !j.shut && !h.opens(j.agent, j.position, math.MaxInt64) {
			h.fault("agent %s joined a storm at %d, and its breaker never opened", j.agent, j.position)
		}
	}
	for cause, began := range h.stormy {
		if !seen[cause] {
			h.fault("there was a storm for message %s, at %d, and it is not recorded", began.ancestor, began.position)
		}
	}
}

// checkOpened: a storm has opened its agents' breakers before it is recorded, but for
// those that were not closed.
func (h *history) checkOpened(began storming, s storm, id events.AgentID) {
	if !h.opens(id, began.position, s.position) && !began.shut[events.AgentScope(id)] {
		h.fault("the storm at %d left the breaker of agent %s closed", s.position, id)
	}
}

// opens reports whether an agent's breaker opened between two positions.
func (h *history) opens(id events.AgentID, from, to events.Position) bool {
	return slices.ContainsFunc(h.openings, func(o opening) bool {
		return o.scope == events.AgentScope(id) && o.position > from && o.position < to
	})
}

// breaker takes a transition of a breaker.
func (h *history) breaker(rec events.Recorded, p events.Payload) {
	_, scope := scopeOf(rec.Stream)
	switch p.(type) {
	case events.BreakerClosed:
		delete(h.shut, scope)
		return
	case events.BreakerOpened, events.BreakerForced:
		h.openings = append(h.openings, opening{scope, rec.Position})
	}
	h.barred[scope], h.shut[scope] = struct{}{}, true
}
