package actors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// content is what a message tells a ledger; others tell it nothing.
func content(m *events.Message) say {
	var s say
	if json.Unmarshal(m.Content, &s) != nil {
		return say{}
	}
	return s
}

// check compares what the log has with what the model says of it: each message that was
// acknowledged, and each send, has come to one end, in its order, with its effects.
func (w *world) check(h *history) {
	for _, l := range h.agents {
		w.checkOrder(h, l)
		for id, what := range l.timers {
			if what == "pending" && !l.removed {
				h.fault("agent %s: timer %d never fired", l.id, id)
			}
		}
		if l.id == muteID() {
			h.checkMute(l)
		}
		if w.isLedger(l.id) {
			for _, e := range l.passed {
				w.checkEffects(h, e)
			}
		}
	}
	for _, s := range h.order {
		h.checkSend(s)
	}
	for id, ends := range h.ends {
		if len(ends) > 1 {
			h.fault("message %s ended %d times: %v", id, len(ends), ends)
		}
	}
	for _, r := range h.retried {
		if len(h.ends[r.RetryID]) == 0 {
			h.fault("dead letter %s was retried as %s, which is lost", r.MessageID, r.RetryID)
		}
	}
	h.checkOutside(w.sortedSends())
	h.checkHalts(w.halts)
	w.checkBulks(h)
	w.checkStorms(h)
	h.checkTalks()
}

// checkMute: what an agent without a handler was sent has ended by that.
func (h *history) checkMute(l *life) {
	for _, e := range l.passed {
		if want := events.OutcomeNoHandler; e.outcome != want && !e.expired {
			h.fault("message %s ended %s, want %s: %v", e.message.ID, e.outcome, want, e)
		}
	}
}

func (w *world) isLedger(id events.AgentID) bool {
	for i := range w.plan.ledgers {
		if ledgerID(i) == id {
			return true
		}
	}
	return false
}

// line is what keeps its order: messages of one sender to one agent, in one class.
type line struct {
	from  string
	class events.Priority
}

// checkOrder: an agent came to the messages of each agent in the order of their sequences.
func (w *world) checkOrder(h *history, l *life) {
	last := make(map[line]uint64)
	for _, e := range l.passed {
		m := &e.message
		if m.Sequence == 0 {
			continue
		}
		k := line{m.Sender, m.Class()}
		if m.Sequence <= last[k] {
			h.fault("agent %s: %s of %s (%s) came after %d", l.id, m.ID, m.Sender, m.Class(), last[k])
		}
		last[k] = m.Sequence
	}
}

// checkSend: a send was handled by its receiver, or given up for a reason that there is.
func (h *history) checkSend(s *sent) {
	m := &s.message
	ends := h.ends[m.ID]
	if len(ends) == 0 {
		h.fault("the send %s of %s to %s (%d) is lost", m.ID, s.from, m.Receiver, m.Sequence)
		return
	}
	e := &ends[0]
	to, err := events.ParseAgentID(m.Receiver)
	switch {
	case err != nil:
		h.fault("the send %s has no receiver: %v", m.ID, err)
	case e.reason == "":
		if e.agent != to || !bytes.Equal(e.message.Content, m.Content) {
			h.fault("the send %s to %s was handled by %s as %s", m.ID, m.Receiver, e.agent, e.message.Content)
		}
	case e.reason == events.DeadAgentNotFound && h.life(to).removed:
	case e.reason == events.DeadBreakerOpen && h.wasBarred(to):
	case e.reason == events.DeadDiscarded:
	case e.reason == events.DeadTimeout && m.ReplyBy != nil && !e.recorded.Before(*m.ReplyBy):
	default:
		h.fault("the send %s of %s to %s became a dead letter: %s", m.ID, s.from, m.Receiver, e.reason)
	}
}

// lostMoney is what accounts paid one another and dead letters hold.
func (h *history) lostMoney() (total int64) {
	for _, ends := range h.ends {
		var paid struct {
			Op string
			N  int64
		}
		e := &ends[0]
		if _, agent := e.message.FromAgent(); agent && e.reason != "" && json.Unmarshal(e.message.Content, &paid) == nil && paid.Op == "credit" {
			total += paid.N
		}
	}
	return total
}

func (h *history) wasBarred(id events.AgentID) bool {
	scopes := []events.BreakerScope{events.ScopeAll, events.AgentScope(id), "node-here"}
	for name := range h.life(id).skills {
		scopes = append(scopes, events.ScopeOf(events.BreakerCapability, name))
	}
	for _, scope := range scopes {
		if _, ok := h.barred[scope]; ok {
			return true
		}
	}
	return false
}

// checkEffects: what a ledger did is what the message told it to.
func (w *world) checkEffects(h *history, e *ending) {
	s := content(&e.message)
	want := events.OutcomeOK
	switch {
	case e.outcome == events.OutcomeNodeCrash && w.plan.running && w.cuts > 1:
		return // it may be what ended the node, twice
	case e.expired:
		want = events.OutcomeExpired
	case s.Op == "trap":
		want = events.OutcomeTrap
	case s.Op == "refuse":
		want = events.OutcomeRefused
	}
	if e.outcome != want {
		h.fault("message %s ended %s, want %s: %v", e.message.ID, e.outcome, want, e)
		return
	}
	done, ok := e.payload.(events.MessageHandled)
	if !ok || s.Op == "get" {
		return
	}
	h.checkOwn(e, &s)
	var wants, got []effect
	for _, x := range []struct {
		to   string
		then *say
	}{{s.To, s.Then}, {s.Also, s.Other}} {
		if x.to != "" {
			text, _ := json.Marshal(x.then.fat(s.Fat))
			wants = append(wants, effect{x.to, string(text)})
		}
	}
	for i := range done.Sends {
		full := &h.sent[done.Sends[i].ID].message
		got = append(got, effect{full.Receiver, string(full.Content)})
	}
	if from, agent := e.message.FromAgent(); agent && e.message.Performative == events.Request && len(got) > 0 {
		if last := got[len(got)-1]; last.to == from.String() { // the reply
			got = got[:len(got)-1]
		}
	}
	if !h.fits(e, got, wants) {
		h.fault("message %s made %.400v, want %.400v", e.message.ID, got, wants)
	}
}

// checkOwn: a ledger set the timer that it was told to set, and has the capability.
func (h *history) checkOwn(e *ending, s *say) {
	l, timers := h.life(e.agent), 0
	if s.Us > 0 {
		timers = 1
	}
	if l.set[e.message.ID] != timers {
		h.fault("message %s set %d timers, want %d", e.message.ID, l.set[e.message.ID], timers)
	}
	// What it registers stands behind the message, before the next one.
	if at, ok := l.skills[s.Can]; s.Can != "" && (!ok || at.position > e.position && slices.ContainsFunc(l.passed, func(o *ending) bool {
		return o.position > e.position && o.position < at.position
	})) {
		h.fault("message %s registered no %q", e.message.ID, s.Can)
	}
}

// checkOutside: what clients were told is what came of their messages, and of those
// of one client to one agent, each that was acknowledged came before the next.
func (h *history) checkOutside(list []*sending) {
	type route struct {
		client int
		to     events.AgentID
		class  events.Priority
	}
	last := make(map[route]*sending)
	at := make(map[route]events.Position)
	for _, x := range list {
		h.checkTold(x)
		ends := h.ends[x.message.ID]
		if x.unknown || x.err != nil || len(ends) != 1 || ends[0].reason != "" {
			continue
		}
		k := route{x.client, x.to, x.message.Class()}
		if ends[0].position < at[k] {
			h.fault("%s came before %s, which was acknowledged before it was sent", x, last[k])
		}
		last[k], at[k] = x, ends[0].position
	}
}

// checkTold compares what a client was told of one message with what came of it.
func (h *history) checkTold(x *sending) {
	ends := h.ends[x.message.ID]
	if x.unknown {
		return // none or one: more are counted elsewhere
	}
	if x.err != nil {
		gone := errors.Is(x.err, events.ErrAgentNotFound) && len(ends) == 1 && ends[0].reason == events.DeadAgentNotFound
		if len(ends) > 0 && !gone {
			h.fault("%s came to an end: %v", x, ends[0])
		}
		return
	}
	if len(ends) == 0 {
		h.fault("%s is lost", x)
		return
	}
	e := &ends[len(ends)-1]
	switch x.sent.Status {
	case actors.Handled:
		h.want(x, e, e.outcome == events.OutcomeOK || e.outcome == events.OutcomeNoHandler && x.to == muteID())
	case actors.Failed:
		_, failed := e.payload.(events.MessageFailed)
		h.want(x, e, failed)
	case actors.Quarantined:
		_, quarantined := e.payload.(events.AgentQuarantined)
		h.want(x, e, quarantined)
	case actors.Discarded: // by who drained the queue, or removed the agent
		h.want(x, e, e.reason == events.DeadDiscarded || e.reason == events.DeadAgentNotFound && h.life(x.to).removed)
	case actors.Queued, actors.Held:
		if _, ok := h.inbox[x.message.ID]; !ok {
			h.fault("%s stands in no inbox", x)
		}
		h.want(x, e, e.reason == "" || e.reason == events.DeadDiscarded || e.reason == events.DeadAgentNotFound && h.life(x.to).removed)
	default:
		h.fault("%s: what is that", x)
	}
	if r := x.sent.Reply; r != nil && (e.reply == nil || !bytes.Equal(r.Content, e.reply.Content)) {
		h.fault("%s was answered %s, the log says %v", x, r.Content, e)
	}
}

func (h *history) want(x *sending, e *ending, ok bool) {
	if !ok {
		h.fault("%s ended otherwise: %v", x, *e)
	}
}

// checkHalts: nothing was handled between the return of an emergency stop and its end.
func (h *history) checkHalts(halts []events.Position) {
	for _, from := range halts {
		i := slices.IndexFunc(h.lifted, func(p events.Position) bool { return p > from })
		if i < 0 {
			continue
		}
		for _, at := range h.runs {
			if at > from && at < h.lifted[i] {
				h.fault("a message was handled at %d, within the emergency stop from %d to %d", at, from, h.lifted[i])
			}
		}
	}
}
