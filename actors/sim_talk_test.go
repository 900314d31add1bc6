package actors_test

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/caxton-run/caxton/events"
)

// simTalk is how long a conversation may be silent while somebody waits in it.
const simTalk = time.Minute

// contractors are how many agents bid, for the work of one manager.
const contractors = 2

func managerID() events.AgentID { return simID("manager-0") }

func contractorID(i int) events.AgentID { return simID("contractor-" + string(rune('0'+i))) }

// callContent calls for proposals, up to a price, within a time.
func callContent(limit int, within time.Duration) any {
	var names []string
	for i := range contractors {
		names = append(names, contractorID(i).String())
	}
	return map[string]any{"op": "call", "contractors": names, "limit": limit, "us": within.Microseconds()}
}

// pair is two agents who talk in a conversation, and the first asks.
type pair struct {
	conversation string
	from, to     events.AgentID
}

// question is what one of them asked.
type question struct {
	message events.MessageID
	query   bool // which no ledger answers
	said    bool // the other said something afterwards that may be the answer
}

// says takes what one agent says to another. What names a question is no answer to others.
func (h *history) says(from events.AgentID, m *events.Message) {
	to, err := events.ParseAgentID(m.Receiver)
	if err != nil {
		return
	}
	for _, q := range h.questions[pair{m.ConversationID, to, from}] {
		q.said = q.said || m.InReplyTo == "" || m.InReplyTo == q.message.String()
	}
	if m.Performative == events.Request || m.Performative == events.QueryIf {
		p := pair{m.ConversationID, from, to}
		h.questions[p] = append(h.questions[p], &question{message: m.ID, query: m.Performative == events.QueryIf})
	}
}

// timesOut takes the end of a conversation's patience.
func (h *history) timesOut(rec events.Recorded, e events.ConversationTimedOut) {
	h.timeouts[e.ConversationID]++
	if silent := rec.RecordedAt.Sub(e.LastActivity); silent < simTalk {
		h.fault("conversation %s timed out after %s", e.ConversationID, silent)
	}
	if key := e.ConversationID + e.LastActivity.String(); h.silences[key] {
		h.fault("conversation %s timed out twice for one silence", e.ConversationID)
	} else {
		h.silences[key] = true
	}
}

// checkTalks: whoever asked what nobody answered was not left to wait.
func (h *history) checkTalks() {
	for p, list := range h.questions {
		if len(list) > simAsked {
			list = list[len(list)-simAsked:] // older ones may be forgotten
		}
		for _, q := range list {
			h.checkTalk(p, q)
		}
	}
}

// simAsked is how many open questions of one agent to another are certain to be watched.
const simAsked = 8

func (h *history) checkTalk(p pair, q *question) {
	ends := h.ends[q.message]
	if !q.query || q.said || p.from == p.to || len(ends) != 1 || ends[0].outcome != events.OutcomeOK || ends[0].reason != "" {
		return
	}
	if h.timeouts[p.conversation] == 0 {
		h.fault("conversation %s never timed out: %s waits for %s, which handled %s", p.conversation, p.from, p.to, q.message)
	}
}

// task is one call for proposals, as the log has it.
type task struct {
	bids   map[string]int
	winner string
	done   bool // as the manager has heard
}

// tasks follows the manager: whoever it accepts bid, and nobody who bid asked less.
func (h *history) tasks() map[string]*task {
	all := make(map[string]*task)
	at := func(tag string) *task {
		if all[tag] == nil {
			all[tag] = &task{bids: make(map[string]int)}
		}
		return all[tag]
	}
	for _, e := range h.life(managerID()).passed {
		done, ok := e.payload.(events.MessageHandled)
		if !ok {
			continue
		}
		m := &e.message
		var bid struct{ Price int }
		if t := at(m.InReplyTo); m.Performative == events.Propose && t.winner == "" && json.Unmarshal(m.Content, &bid) == nil {
			t.bids[m.Sender] = bid.Price
		} else if m.Performative == events.Inform && m.Sender == t.winner {
			t.done = true
		}
		for i := range done.Sends {
			if s := &done.Sends[i]; s.Performative == events.AcceptProposal {
				h.accepts(at(s.ReplyWith), s)
			}
		}
	}
	delete(all, "")
	return all
}

func (h *history) accepts(t *task, m *events.Message) {
	price, bid := t.bids[m.Receiver]
	if t.winner != "" || !bid {
		h.fault("the manager accepted %s, which bid=%v, and had accepted %q", m.Receiver, bid, t.winner)
	}
	for who, other := range t.bids {
		if other < price || other == price && who < m.Receiver {
			h.fault("the manager accepted %s for %d, and %s asked %d", m.Receiver, price, who, other)
		}
	}
	t.winner = m.Receiver
}

// askTraders compares what manager and contractors say with the log.
func (w *world) askTraders(n *node, h *history) {
	if !w.plan.traders {
		return
	}
	for tag, t := range h.tasks() {
		if t.winner == "" {
			continue
		}
		var got struct{ State, Winner string }
		w.ask(n, managerID(), `{"op":"result","task":"`+tag+`"}`, &got)
		if want := map[bool]string{true: "done", false: "accepted"}[t.done]; got.Winner != t.winner || got.State != want {
			h.fault("task %s is %+v, its log says %s by %s", tag, got, want, t.winner)
		}
	}
	for i := range contractors {
		id := contractorID(i)
		jobs := len(slices.DeleteFunc(slices.Clone(h.life(id).passed), func(e *ending) bool {
			return e.message.Performative != events.AcceptProposal || e.outcome != events.OutcomeOK
		}))
		var got struct{ Jobs int }
		if w.ask(n, id, `{"op":"jobs"}`, &got); got.Jobs != jobs {
			h.fault("contractor %d did %d jobs, its log says %d", i, got.Jobs, jobs)
		}
	}
}
