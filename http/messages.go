package http

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// MessageReceipt is the answer to a message: what has become of it, and the
// reply if there was one in time.
type MessageReceipt struct {
	MessageID      events.MessageID `json:"message_id"`
	ConversationID string           `json:"conversation_id"`
	Status         actors.Delivery  `json:"status"`
	Reply          *events.Message  `json:"reply,omitempty"`
}

// sendMessage gives a message to the agent of the path.
func (s *Server) sendMessage(r *request) error {
	msg, err := decodeMessage(r.body, false, s.cfg.MaxContent)
	if err != nil {
		return err
	}
	ref, err := r.ref()
	if err != nil {
		return err
	}
	to, err := s.deps.Agents.Resolve(ref)
	return s.send(r, receiver{ref, to, err}, msg)
}

// postMessage gives a message to the receiver that it names: an agent, or one of
// those with a capability. Which of these depends on the conversation; for a new
// one on the Idempotency-Key, and without one on chance.
func (s *Server) postMessage(r *request) error {
	msg, err := decodeMessage(r.body, true, s.cfg.MaxContent)
	if err != nil {
		return err
	}
	conversation := msg.ConversationID
	switch {
	case conversation != "":
	case r.caller.IdempotencyKey != "":
		conversation = r.caller.Principal + " " + r.caller.IdempotencyKey
	default:
		msg.ID = events.NewMessageID()
		msg.ConversationID = msg.ID.String()
		conversation = msg.ConversationID
	}
	to, err := s.resolve(r, msg.Receiver, conversation)
	return s.send(r, receiver{msg.Receiver, to, err}, msg)
}

// receiver is whom a message is for: as the caller wrote it, and the agent that this
// means now, or why it means none.
type receiver struct {
	ref string
	to  events.AgentID
	err error
}

// resolve finds whom a message is for. Nobody is told to be missing before reads reflect
// what was durable by then: an agent whose message was just answered may have registered
// the capability in it.
func (s *Server) resolve(r *request, ref, conversation string) (events.AgentID, error) {
	to, err := s.deps.Agents.ResolveFor(ref, conversation)
	if !errors.Is(err, events.ErrAgentNotFound) {
		return to, err
	}
	if last, ok, _ := projections.LastFollowed(r.ctx, s.deps.History); ok && r.awaitPosition(last) {
		return s.deps.Agents.ResolveFor(ref, conversation)
	}
	return to, err
}

// send answers when a message is durable: 202, or 200 when the caller waits and it
// was dealt with in time. Under an Idempotency-Key an agent may have the request though
// the receiver means another by now, or none.
func (s *Server) send(r *request, to receiver, msg events.Message) error {
	keyed := r.caller.IdempotencyKey != ""
	if missing := errors.Is(to.err, events.ErrAgentNotFound); to.err != nil && !(keyed && missing) {
		return to.err
	}
	wait, err := r.waitOf()
	if err != nil {
		return err
	}
	msg.Sender, msg.Receiver = r.caller.Principal, to.to.String()
	req := actors.SendRequest{Caller: r.caller, To: to.to, Message: msg, Wait: wait}
	if keyed {
		req.Ref, req.Unfound = to.ref, to.err
	}
	sent, err := s.deps.Commands.Send(r.ctx, req)
	if err != nil {
		return err
	}
	r.position(sent.Position)
	receipt := MessageReceipt{MessageID: sent.MessageID, ConversationID: sent.ConversationID, Status: sent.Status}
	if wait == 0 || !settled(sent.Status) {
		return r.json(http.StatusAccepted, receipt)
	}
	receipt.Reply = sent.Reply
	return r.json(http.StatusOK, receipt)
}

// settled reports whether nothing more will come of a message.
func settled(d actors.Delivery) bool {
	return d == actors.Handled || d == actors.Failed || d == actors.Quarantined
}

// decodeMessage reads what an outsider may say: not who it is, nor what caxton
// counts by itself, nor to whom it speaks where the path says so.
func decodeMessage(body []byte, addressed bool, maxContent int) (events.Message, error) {
	var (
		f   events.Faults
		msg events.Message
		err error
	)
	o := readObject(body, &f)
	if addressed {
		raw, given := o.take("receiver")
		if msg.Receiver = o.text("receiver"); msg.Receiver == "" && (!given || string(raw) == `""`) {
			f.Add("receiver", "must not be empty: an agent's id, a unique prefix of one, a name, or capability:NAME")
		}
	}
	msg.Performative, err = events.ParsePerformative(o.text("performative"))
	f.Merge("performative", err)
	if raw, ok := o.take("content"); ok {
		msg.Content = json.RawMessage(raw)
	}
	msg.ContentBase64 = o.base64("content_base64")
	msg.ConversationID = o.text("conversation_id")
	msg.ReplyWith = o.text("reply_with")
	msg.InReplyTo = o.text("in_reply_to")
	msg.ReplyBy = o.time("reply_by")
	msg.Protocol = o.text("protocol")
	msg.Language = o.text("language")
	msg.Ontology = o.text("ontology")
	msg.Priority, err = events.ParsePriority(o.text("priority"))
	f.Merge("priority", err)
	o.finish()
	err = msg.ValidateWithin(maxContent)
	if errors.Is(err, events.ErrContentTooLarge) {
		return events.Message{}, refuse(CodeTooLarge, "content must be at most %d bytes, got %d", maxContent, msg.ContentSize())
	}
	f.Merge("message", err)
	return msg, f.Err()
}
