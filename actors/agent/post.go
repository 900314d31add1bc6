package agent

import (
	"fmt"

	"github.com/caxton-run/caxton/events"
	"github.com/google/uuid"
)

// post addresses what one run sends. Ids come from the handled message, so a
// turn decided twice names its sends alike.
type post struct {
	state   *State
	run     *Run
	count   int
	next    map[channel]uint64 // sequences used by this run
	agents  []events.Message
	outside *events.Message
	dead    []events.Payload // MessageDeadLettered each
}

func (s *State) newPost(r *Run) *post {
	return &post{state: s, run: r, next: make(map[channel]uint64, len(r.Sends))}
}

// address fills in what the guest may not choose or left empty.
func (p *post) address(m events.Message, receiver string) events.Message {
	p.count++
	cause := &p.run.Message
	m.ID = events.MessageID(uuid.NewSHA1(uuid.UUID(cause.ID), fmt.Appendf(nil, "%s/%d", p.state.ID, p.count)))
	m.Sender, m.Receiver = p.state.ID.String(), receiver
	m.Hops = min(cause.Hops+1, events.MaxHops)
	if m.ConversationID == "" {
		m.ConversationID = cause.ConversationID
	}
	if m.Performative == "" {
		m.Performative = events.Inform
	}
	m.Sequence, m.SequenceClass = 0, ""
	return m
}

func (p *post) send(m events.Message, to events.AgentID) {
	m = p.address(m, to.String())
	ch := channel{to, m.Class()}
	if _, ok := p.next[ch]; !ok {
		p.next[ch] = p.state.sent[ch]
	}
	p.next[ch]++
	m.Sequence = p.next[ch]
	p.agents = append(p.agents, m)
}

// reply answers the handled message: by a send when an agent sent it, else to
// whoever waits outside.
func (p *post) reply(m events.Message) {
	cause := &p.run.Message
	m.ConversationID, m.Protocol, m.Priority = cause.ConversationID, cause.Protocol, cause.Priority
	if m.InReplyTo = cause.ReplyWith; m.InReplyTo == "" {
		m.InReplyTo = cause.ID.String()
	}
	if to, ok := cause.FromAgent(); ok {
		if reason, detail := hopLimit(cause); reason != "" {
			p.giveUp(p.address(m, to.String()), reason, detail)
			return
		}
		p.send(m, to)
		return
	}
	m = p.address(m, cause.Sender)
	p.outside = &m
}

func (p *post) giveUp(m events.Message, reason events.DeadLetterReason, detail string) {
	p.dead = append(p.dead, events.MessageDeadLettered{Message: m, Reason: reason, Detail: detail})
}
