package actors_test

import (
	"maps"
	"slices"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// stormSay makes one conversation in which every ledger of a list fails: each passes on
// what is for the rest, and tells itself to fail.
func stormSay(ledgers []int) *say {
	trap := &say{Op: "trap"}
	if len(ledgers) == 1 {
		return trap
	}
	return &say{
		To: ledgerID(ledgers[1]).String(), Then: stormSay(ledgers[1:]),
		Also: ledgerID(ledgers[0]).String(), Other: trap,
	}
}

// misfortune is one failure that counts towards a storm.
type misfortune struct {
	agent events.AgentID
	at    time.Time
}

// storm is one that was recorded.
type storm struct {
	position events.Position
	event    events.AgentStormDetected
}

// storming is when a conversation had a storm first.
type storming struct {
	position events.Position              // of the failure that made it one
	shut     map[events.BreakerScope]bool // breakers that were not closed just then
}

// opening is a breaker that opened.
type opening struct {
	scope    events.BreakerScope
	position events.Position
}

// fails takes a failure of an agent in a conversation, by the model's own count.
func (h *history) fails(l *life, rec events.Recorded, o events.OutcomeStatus) {
	md, err := events.DecodeMetadata(rec.Metadata)
	if _, failed := o.Counts(); !failed || err != nil || md.CorrelationID == "" {
		return
	}
	list := append(h.misfortunes[md.CorrelationID], misfortune{l.id, rec.RecordedAt})
	for rec.RecordedAt.Sub(list[0].at) > projections.StormWindow {
		list = list[1:]
	}
	h.misfortunes[md.CorrelationID] = list
	who := make(map[events.AgentID]bool)
	for _, m := range list {
		who[m.agent] = true
	}
	if _, known := h.stormy[md.CorrelationID]; !known && len(who) >= projections.StormAgents {
		h.stormy[md.CorrelationID] = storming{rec.Position, maps.Clone(h.shut)}
	}
}

// checkStorms: there is a storm where many agents failed in one conversation, and nowhere
// else, and it opened their breakers.
func (w *world) checkStorms(h *history) {
	seen := make(map[string]bool)
	for _, s := range h.storms {
		id := s.event.ConversationID
		began, known := h.stormy[id]
		if seen[id] = true; !known {
			h.fault("a storm in conversation %s, which had none: %+v", id, s.event)
		}
		if s.event.Count < projections.StormAgents || len(s.event.Agents) != s.event.Count {
			h.fault("a storm of %d agents names %d", s.event.Count, len(s.event.Agents))
		}
		for _, a := range s.event.Agents {
			h.checkOpened(began, s, a)
		}
	}
	for id := range h.stormy {
		if !seen[id] {
			h.fault("there was a storm in conversation %s, and none is recorded", id)
		}
	}
}

// checkOpened: a storm has opened its agents' breakers before it is recorded, but for
// those that were not closed.
func (h *history) checkOpened(began storming, s storm, id events.AgentID) {
	scope := events.AgentScope(id)
	opened := slices.ContainsFunc(h.openings, func(o opening) bool {
		return o.scope == scope && o.position > began.position && o.position < s.position
	})
	if !opened && !began.shut[scope] {
		h.fault("the storm at %d left breaker %s closed", s.position, scope)
	}
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
