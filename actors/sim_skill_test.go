package actors_test

import (
	"slices"
	"strings"
	"time"

	"github.com/caxton-run/caxton/events"
)

// simKnown is how long after an agent registered a capability, or its status changed,
// every node must know of it: a turn waits for the projection a second, and not for ever.
const simKnown = time.Minute

// skill is when an agent registered a capability.
type skill struct {
	position events.Position
	recorded time.Time
}

// learns takes an agent's registration, which it does once.
func (h *history) learns(l *life, name string, rec events.Recorded) {
	if _, twice := l.skills[name]; twice {
		h.fault("agent %s registered %q twice", l.id, name)
	}
	l.skills[name] = skill{rec.Position, rec.RecordedAt}
}

// unsent takes a send that nobody was there for: nobody, as every node must know by
// then.
func (h *history) unsent(cause, end *ending) {
	cause.unsent++
	if h.gone(end.message.Receiver) {
		h.says(end.agent, &end.message) // though in vain
		return
	}
	name, ok := strings.CutPrefix(end.message.Receiver, events.CapabilityPrefix)
	if !ok || end.reason != events.DeadAgentNotFound {
		h.fault("the send %s to %s led nowhere: %s", end.message.ID, end.message.Receiver, end.reason)
		return
	}
	for _, l := range h.agents {
		s, can := l.skills[name]
		if can && end.recorded.Sub(s.recorded) > simKnown && l.stands(end.recorded.Add(-simKnown)) {
			h.fault("the send %s to %s led nowhere, and agent %s was there", end.message.ID, end.message.Receiver, l.id)
		}
	}
}

// gone reports whether a receiver is an agent that was removed.
func (h *history) gone(receiver string) bool {
	id, err := events.ParseAgentID(receiver)
	return err == nil && h.life(id).removed
}

// stands reports whether an agent has been one that a capability may mean since then.
func (l *life) stands(since time.Time) bool {
	last := l.changed[len(l.changed)-1]
	return (last.status == "" || last.status == "suspended") && last.recorded.Before(since)
}

// effect is one send, as asked for or as it went out.
type effect struct{ to, content string }

// fits compares the sends of a run with those that were asked for. One to a capability
// goes to an agent that has it, or nowhere; one to an agent that is removed, nowhere too.
func (h *history) fits(e *ending, got, wants []effect) bool {
	return h.fitsBut(e, got, wants, e.unsent)
}

// fitsBut is fits where so many of wants went nowhere. Two sends may say the same, one to
// an agent and one to what it can: either may be the one that was made.
func (h *history) fitsBut(e *ending, got, wants []effect, nowhere int) bool {
	if len(wants) == 0 {
		return len(got) == 0 && nowhere == 0
	}
	want := wants[0]
	name, by := strings.CutPrefix(want.to, events.CapabilityPrefix)
	made := len(got) > 0 && got[0].content == want.content && (got[0].to == want.to || by && h.could(got[0].to, name, e.position))
	return made && h.fitsBut(e, got[1:], wants[1:], nowhere) ||
		(by || h.gone(want.to)) && nowhere > 0 && h.fitsBut(e, got, wants[1:], nowhere-1)
}

// could reports whether an agent had registered a capability by then.
func (h *history) could(id, name string, at events.Position) bool {
	to, err := events.ParseAgentID(id)
	s, ok := h.life(to).skills[name]
	return err == nil && ok && s.position < at
}

// skilled counts the sends that went to whoever has a capability.
func skilled(e *ending) int {
	s := content(&e.message)
	return len(slices.DeleteFunc([]string{s.To, s.Also}, func(to string) bool { return !strings.HasPrefix(to, events.CapabilityPrefix) }))
}
