package projections

import (
	"slices"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Protocol is which of the FIPA interaction protocols an exchange follows.
type Protocol string

// The protocols that are followed: the parts of FIPA SC00026H, SC00027H and
// SC00029H that the performatives of package events can express.
const (
	RequestProtocol     Protocol = "request"
	QueryProtocol       Protocol = "query"
	ContractNetProtocol Protocol = "contract-net"
)

// ExchangeState is where an exchange of two parties stands:
//
//	request       requested ──agree──▶ agreed ──inform──▶ done
//	query         asked     ──agree──▶ agreed ──inform──▶ done
//	contract-net  called ──propose──▶ proposed ──accept_proposal──▶ accepted ──inform──▶ done
//	                                     └──reject_proposal──▶ rejected
//
// Out of every open state lead refuse, failure and not_understood of the second
// party, cancel of the first, and the timeout. inform may come without agree.
type ExchangeState string

// Open states, and closed ones.
const (
	StateRequested ExchangeState = "requested"
	StateAsked     ExchangeState = "asked"
	StateAgreed    ExchangeState = "agreed"
	StateCalled    ExchangeState = "called"
	StateProposed  ExchangeState = "proposed"
	StateAccepted  ExchangeState = "accepted"

	StateDone          ExchangeState = "done"
	StateRefused       ExchangeState = "refused"
	StateRejected      ExchangeState = "rejected"
	StateFailed        ExchangeState = "failed"
	StateNotUnderstood ExchangeState = "not_understood"
	StateCancelled     ExchangeState = "cancelled"
	StateUnanswered    ExchangeState = "unanswered"  // somebody outside asked, and the run that could answer did not
	StateUndelivered   ExchangeState = "undelivered" // what began it became a dead letter
	StateTimedOut      ExchangeState = "timed_out"
)

// Open reports whether somebody has yet to say something.
func (s ExchangeState) Open() bool {
	switch s {
	case StateRequested, StateAsked, StateAgreed, StateCalled, StateProposed, StateAccepted:
		return true
	}
	return false
}

// Exchange is what two parties have to say to each other in a conversation, from a question
// to its answer.
type Exchange struct {
	From     string        `json:"from"` // who began it: an agent's id or a principal
	To       string        `json:"to"`
	Protocol Protocol      `json:"protocol"`
	State    ExchangeState `json:"state"`
	Since    time.Time     `json:"since"` // recorded time of the last step
}

// opening returns what a performative begins; ok is false for those that begin
// nothing.
func opening(p events.Performative) (Protocol, ExchangeState, bool) {
	switch p {
	case events.Request:
		return RequestProtocol, StateRequested, true
	case events.Query, events.QueryIf, events.QueryRef:
		return QueryProtocol, StateAsked, true
	case events.CFP:
		return ContractNetProtocol, StateCalled, true
	}
	return "", "", false
}

// answered is the state after the second party has said p; ok is false when that
// is no step of the protocol.
func (x *Exchange) answered(p events.Performative) (next ExchangeState, ok bool) {
	if !x.State.Open() {
		return "", false
	}
	switch p {
	case events.Refuse:
		return StateRefused, true
	case events.Failure:
		return StateFailed, true
	case events.NotUnderstood:
		return StateNotUnderstood, true
	case events.Agree:
		return StateAgreed, x.State == StateRequested || x.State == StateAsked
	case events.Propose:
		return StateProposed, x.State == StateCalled || x.State == StateProposed
	case events.Inform:
		return StateDone, x.Protocol != ContractNetProtocol || x.State == StateAccepted
	}
	return "", false
}

// followed is the state after the first party has said p.
func (x *Exchange) followed(p events.Performative) (next ExchangeState, ok bool) {
	if !x.State.Open() {
		return "", false
	}
	switch p {
	case events.AcceptProposal:
		return StateAccepted, x.State == StateProposed
	case events.RejectProposal:
		return StateRejected, x.State == StateProposed
	case events.Cancel:
		return StateCancelled, true
	}
	return "", false
}

// Bounds of what is kept of one conversation.
const (
	maxExchanges = 1024 // a call for proposals to a thousand contractors; what is beyond is not followed
	maxAsked     = 8    // of one party with another, one after the other; the oldest gives way to the next
)

// parties are who began an exchange, and whom with.
type parties struct{ from, to string }

// thread is an exchange and what its messages go by.
type thread struct {
	Exchange
	names [2]name // of the message that began it, and of the last step
}

// name is what in_reply_to says of a message: its reply_with, or its id.
type name struct {
	id  events.MessageID
	tag string
}

func nameOf(m *events.Message) name { return name{m.ID, m.ReplyWith} }

func (n name) is(said string) bool { return n.tag == said || n.id.String() == said }

// dialogue follows the exchanges of one conversation: between two parties those that
// are open, and those that ended last. Its zero value is empty.
type dialogue struct {
	threads map[parties][]*thread // by their beginning; never empty
	order   []*thread             // by the beginning of what first stood in their place
	open    int
}

// says takes a message into account; when it was recorded.
func (d *dialogue) says(m *events.Message, at time.Time) {
	if protocol, state, ok := opening(m.Performative); ok {
		d.begin(m, protocol, state, at)
		return
	}
	if d.step(parties{m.Receiver, m.Sender}, m, (*Exchange).answered, at) {
		return
	}
	d.step(parties{m.Sender, m.Receiver}, m, (*Exchange).followed, at)
}

// step moves the exchange of two parties that a message is meant for, and reports
// whether there is one: the newest that it names, or, when it names none, the newest for
// which it is a step of the protocol. One that names another moves nothing: what it
// answers has ended, or is not followed.
func (d *dialogue) step(p parties, m *events.Message, next func(*Exchange, events.Performative) (ExchangeState, bool), at time.Time) bool {
	list := d.threads[p]
	for i := len(list) - 1; i >= 0; i-- {
		x := list[i]
		if said := m.InReplyTo; said != "" && !x.names[0].is(said) && !x.names[1].is(said) {
			continue
		}
		if state, ok := next(&x.Exchange, m.Performative); ok {
			x.names[1] = nameOf(m)
			d.move(x, state, at)
			return true
		}
	}
	return false
}

func (d *dialogue) begin(m *events.Message, p Protocol, state ExchangeState, at time.Time) {
	x := d.place(parties{m.Sender, m.Receiver})
	if x == nil {
		return
	}
	x.Protocol, x.names = p, [2]name{nameOf(m), nameOf(m)}
	d.move(x, state, at)
}

// place is where the next exchange of two parties goes: where the first of them stood that
// has ended, or, when there are too many, the oldest of all. nil: nowhere.
func (d *dialogue) place(key parties) *thread {
	list := d.threads[key]
	i := slices.IndexFunc(list, func(x *thread) bool { return !x.State.Open() })
	if i < 0 && len(list) == maxAsked {
		i = 0
	}
	if i >= 0 {
		x := list[i]
		copy(list[i:], list[i+1:])
		list[len(list)-1] = x
		return x
	}
	if len(d.order) >= maxExchanges {
		return nil
	}
	if d.threads == nil {
		d.threads = make(map[parties][]*thread, 1)
	}
	x := &thread{Exchange: Exchange{From: key.from, To: key.to}}
	d.threads[key], d.order = append(list, x), append(d.order, x)
	return x
}

func (d *dialogue) move(x *thread, next ExchangeState, at time.Time) {
	if x.State.Open() {
		d.open--
	}
	if x.State, x.Since = next, at; next.Open() {
		d.open++
	}
}

// end closes the exchange that a message began, if nothing has been said in it since.
func (d *dialogue) end(m *events.Message, state ExchangeState, at time.Time) {
	_, first, ok := opening(m.Performative)
	for _, x := range d.threads[parties{m.Sender, m.Receiver}] {
		if ok && x.names[0].id == m.ID && x.State == first {
			d.move(x, state, at)
		}
	}
}

// timeOut closes all that is open.
func (d *dialogue) timeOut(at time.Time) {
	for _, x := range d.order {
		if x.State.Open() {
			d.move(x, StateTimedOut, at)
		}
	}
}

// waits returns the oldest open exchange that an agent began and another is to
// answer: what a timeout is about.
func (d *dialogue) waits() (from, to events.AgentID, x *thread) {
	for _, x := range d.order {
		if !x.State.Open() {
			continue
		}
		from, errFrom := events.ParseAgentID(x.From)
		to, errTo := events.ParseAgentID(x.To)
		if errFrom == nil && errTo == nil {
			return from, to, x
		}
	}
	return events.AgentID{}, events.AgentID{}, nil
}

// spoken calls with each message that an event adds to conversations: sends and
// replies where they are sent, what comes from outside where it is received.
func spoken(p events.Payload, with func(m *events.Message)) {
	outside := func(m *events.Message) {
		if _, agent := m.FromAgent(); !agent && !isTimer(m) {
			with(m)
		}
	}
	all := func(sends []events.Message, reply *events.Message) {
		for i := range sends {
			with(&sends[i])
		}
		if reply != nil {
			with(reply)
		}
	}
	switch e := p.(type) {
	case events.MessageReceived:
		outside(&e.Message)
	case events.MessageHandled:
		if e.Inbox == nil {
			outside(&e.Message)
		}
		all(e.Sends, e.Reply)
	case events.MessageFailed:
		if e.Inbox == nil {
			outside(&e.Message)
		}
		all(e.Sends, e.Reply)
	case events.AgentQuarantined:
		if e.Inbox == nil {
			outside(&e.Message)
		}
		all(e.Sends, e.Reply)
	case events.MessageDeadLettered:
		if e.Message.Sequence == 0 { // it led nowhere, so no event has it as a send
			with(&e.Message)
		}
	}
}

func isTimer(m *events.Message) bool { _, ok := m.FromTimer(); return ok }

// closes returns the message whose exchange an event ends without an answer, and
// how.
func closes(p events.Payload) (m *events.Message, state ExchangeState) {
	switch e := p.(type) {
	case events.MessageHandled:
		// An agent may answer later, by a send; nobody can send to who is outside.
		if _, agent := e.Message.FromAgent(); !agent {
			return &e.Message, StateUnanswered
		}
	case events.MessageDeadLettered:
		return &e.Message, StateUndelivered
	}
	return nil, ""
}
