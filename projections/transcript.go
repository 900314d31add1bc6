package projections

import (
	"maps"
	"slices"
	"time"

	"github.com/caxton-run/caxton/events"
)

// MessageStatus is what has become of a message.
type MessageStatus string

// What becomes of a message.
const (
	MessageQueued       MessageStatus = "queued"        // in the receiver's inbox
	MessageInFlight     MessageStatus = "in_flight"     // sent by an agent, and not yet dealt with
	MessageHandled      MessageStatus = "handled"       // its run ended well
	MessageFailed       MessageStatus = "failed"        // its run ended in a way that would recur
	MessageQuarantined  MessageStatus = "quarantined"   // set aside after crashing the receiver again and again
	MessageDeadLettered MessageStatus = "dead_lettered" // nobody will handle it
	MessageAnswered     MessageStatus = "answered"      // a reply to somebody outside, who waited or did not
	MessageEnded        MessageStatus = "ended"         // handled, failed or set aside: what said which was removed (events.retention)
)

// MessageView is a message and what has become of it.
type MessageView struct {
	events.Message
	Status MessageStatus `json:"status"`
	// How its run ended, or why there was none. Absent before that.
	Outcome events.OutcomeStatus    `json:"outcome,omitempty"`
	Reason  events.DeadLetterReason `json:"reason,omitempty"` // with dead_lettered
	Detail  string                  `json:"detail,omitempty"`
	Fuel    events.Fuel             `json:"fuel,omitempty"`
	Reply   *events.Message         `json:"reply,omitempty"` // to somebody outside
	// Of the event that says so.
	Position events.Position `json:"position"`
	At       time.Time       `json:"at"`

	Inbox *InboxEntry `json:"-"` // with queued, where it waits
}

// InboxEntry is a place in an agent's inbox.
type InboxEntry struct {
	Agent    events.AgentID
	Revision events.Revision
}

// messages calls with every message of an event and what the event says about it.
func messages(rec events.Recorded, p events.Payload, with func(MessageView)) {
	view := func(m *events.Message, s MessageStatus) MessageView {
		return MessageView{Message: *m, Status: s, Position: rec.Position, At: rec.RecordedAt}
	}
	sent := func(sends []events.Message, reply *events.Message) {
		for i := range sends {
			with(view(&sends[i], MessageInFlight))
		}
		if reply != nil {
			with(view(reply, MessageAnswered))
		}
	}
	switch e := p.(type) {
	case events.MessageReceived:
		v := view(&e.Message, MessageQueued)
		if id, ok := rec.Stream.AgentID(); ok {
			v.Inbox = &InboxEntry{id, rec.Revision}
		}
		with(v)
	case events.MessageHandled:
		v := view(&e.Message, MessageHandled)
		v.Outcome, v.Fuel, v.Reply = e.Outcome, e.Fuel, e.Reply
		with(v)
		sent(e.Sends, e.Reply)
	case events.MessageFailed:
		v := view(&e.Message, MessageFailed)
		v.Outcome, v.Fuel, v.Detail, v.Reply = e.Outcome, e.Fuel, e.Detail, e.Reply
		with(v)
		sent(e.Sends, e.Reply)
	case events.AgentQuarantined:
		v := view(&e.Message, MessageQuarantined)
		v.Outcome, v.Detail, v.Reply = e.Outcome, e.Detail, e.Reply
		with(v)
		sent(e.Sends, e.Reply)
	case events.MessageDeadLettered:
		v := view(&e.Message, MessageDeadLettered)
		v.Reason, v.Detail = e.Reason, e.Detail
		with(v)
	}
}

// MessagesOf returns what an event says about messages, that which it ended first.
func MessagesOf(rec events.Recorded, p events.Payload) []MessageView {
	var list []MessageView
	messages(rec, p, func(v MessageView) { list = append(list, v) })
	return list
}

// FindMessage returns what an event says about a message; ok is false when it says
// nothing.
func FindMessage(rec events.Recorded, p events.Payload, id events.MessageID) (found MessageView, ok bool) {
	messages(rec, p, func(v MessageView) {
		if v.ID == id && !ok {
			found, ok = v, true
		}
	})
	return found, ok
}

// ConversationView is a conversation as its readers see it.
type ConversationView struct {
	ID        string        `json:"id"`
	State     string        `json:"state"`              // open, completed, timed_out, or informal when nothing was asked
	Protocol  Protocol      `json:"protocol,omitempty"` // of the exchange that began first
	StartedAt time.Time     `json:"started_at"`
	UpdatedAt time.Time     `json:"updated_at"`
	Parties   []string      `json:"participants"` // agents' ids and principals, sorted
	Exchanges []Exchange    `json:"exchanges"`    // by their beginning
	Messages  []MessageView `json:"messages"`     // by the event that first told of them
	Truncated bool          `json:"truncated"`    // there is more than is shown

	// RemovedUntil is set while parts of histories are gone (events.retention): what was
	// recorded up to then may be missing here.
	RemovedUntil *time.Time `json:"history_removed_until,omitempty"`
}

// Transcript folds the events of one conversation, in log order, into its view.
type Transcript struct {
	view    ConversationView
	talk    dialogue
	at      map[events.MessageID]int // index into view.Messages
	parties map[string]struct{}
	events  int
	ended   bool
}

// NewTranscript returns the transcript of a conversation without events.
func NewTranscript(id string) *Transcript {
	return &Transcript{
		view: ConversationView{ID: id}, at: make(map[events.MessageID]int), parties: make(map[string]struct{}),
	}
}

// Apply takes an event of the conversation into account. A send that belongs to it
// but was sent out of another one is known from the event that deals with it.
func (t *Transcript) Apply(rec events.Recorded, p events.Payload) {
	if t.events++; t.events == 1 {
		t.view.StartedAt = rec.RecordedAt
	}
	t.view.UpdatedAt = rec.RecordedAt
	if _, ok := p.(events.ConversationTimedOut); ok {
		t.talk.timeOut(rec.RecordedAt)
		t.ended = true
		return
	}
	messages(rec, p, func(v MessageView) {
		if v.ConversationID == t.view.ID {
			t.add(v)
		}
	})
	if m, state := closes(p); m != nil && m.ConversationID == t.view.ID {
		t.talk.end(m, state, rec.RecordedAt)
	}
}

func (t *Transcript) add(v MessageView) {
	if i, ok := t.at[v.ID]; ok {
		if v.Status != MessageQueued { // an entry of the inbox that comes late says nothing new
			t.view.Messages[i] = v
		}
		return
	}
	t.at[v.ID] = len(t.view.Messages)
	t.view.Messages = append(t.view.Messages, v)
	if isTimer(&v.Message) {
		t.parties[v.Receiver] = struct{}{}
		return
	}
	t.parties[v.Sender], t.parties[v.Receiver] = struct{}{}, struct{}{}
	if t.talk.says(&v.Message, v.At); t.talk.open > 0 {
		t.ended = false // it has gone on
	}
}

// Truncate notes that there are events which were not applied.
func (t *Transcript) Truncate() { t.view.Truncated = true }

// Events is the number of events applied.
func (t *Transcript) Events() int { return t.events }

// View returns the conversation as it stands.
func (t *Transcript) View() ConversationView {
	v := t.view
	v.Parties = slices.Sorted(maps.Keys(t.parties))
	v.Exchanges = make([]Exchange, 0, len(t.talk.order))
	for _, x := range t.talk.order {
		v.Exchanges = append(v.Exchanges, x.Exchange)
	}
	v.State = "informal"
	switch {
	case t.talk.open > 0:
		v.State = "open"
	case t.ended:
		v.State = "timed_out"
	case len(v.Exchanges) > 0:
		v.State = "completed"
	}
	if len(v.Exchanges) > 0 {
		v.Protocol = v.Exchanges[0].Protocol
	}
	if v.Messages == nil {
		v.Messages = []MessageView{}
	}
	if v.Parties == nil {
		v.Parties = []string{}
	}
	return v
}
