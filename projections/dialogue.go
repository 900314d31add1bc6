package projections

import (
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

// Exchange is what two parties have to say to each other in a conversation: the
// newest one, if there was more than one.
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

// maxExchanges bounds what is kept of one conversation: a call for proposals to a
// thousand contractors. What is beyond is not followed.
const maxExchanges = 1024

// parties names an exchange: who began it, and whom with.
type parties struct{ from, to string }

// dialogue follows the exchanges of one conversation. Its zero value is empty.
type dialogue struct {
	exchanges map[parties]*Exchange
	begun     map[parties]events.MessageID // by which message
	order     []*Exchange                  // by their beginning
	open      int
}

// says takes a message into account; when it was recorded.
func (d *dialogue) says(m *events.Message, at time.Time) {
	if protocol, state, ok := opening(m.Performative); ok {
		d.begin(m, protocol, state, at)
		return
	}
	if x := d.exchanges[parties{m.Receiver, m.Sender}]; x != nil {
		if next, ok := x.answered(m.Performative); ok {
			d.move(x, next, at)
			return
		}
	}
	if x := d.exchanges[parties{m.Sender, m.Receiver}]; x != nil {
		if next, ok := x.followed(m.Performative); ok {
			d.move(x, next, at)
		}
	}
}

func (d *dialogue) begin(m *events.Message, p Protocol, state ExchangeState, at time.Time) {
	key := parties{m.Sender, m.Receiver}
	x := d.exchanges[key]
	if x == nil {
		if len(d.exchanges) >= maxExchanges {
			return
		}
		if d.exchanges == nil {
			d.exchanges, d.begun = make(map[parties]*Exchange, 1), make(map[parties]events.MessageID, 1)
		}
		x = &Exchange{From: m.Sender, To: m.Receiver}
		d.exchanges[key] = x
		d.order = append(d.order, x)
	}
	x.Protocol, d.begun[key] = p, m.ID
	d.move(x, state, at)
}

func (d *dialogue) move(x *Exchange, next ExchangeState, at time.Time) {
	if x.State.Open() {
		d.open--
	}
	if x.State, x.Since = next, at; next.Open() {
		d.open++
	}
}

// end closes the exchange that a message began, if nothing has been said in it
// since, and if it is the newest of the two: whoever asks again waits for that.
func (d *dialogue) end(m *events.Message, state ExchangeState, at time.Time) {
	_, first, ok := opening(m.Performative)
	key := parties{m.Sender, m.Receiver}
	if x := d.exchanges[key]; ok && x != nil && d.begun[key] == m.ID && x.State == first {
		d.move(x, state, at)
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
func (d *dialogue) waits() (from, to events.AgentID, x *Exchange) {
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
