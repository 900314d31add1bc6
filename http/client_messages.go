package http

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// Outgoing is a message for an agent. Empty fields take the server's defaults.
type Outgoing struct {
	Receiver       string              `json:"receiver"` // set by Send
	Performative   events.Performative `json:"performative,omitempty"`
	Content        json.RawMessage     `json:"content,omitempty"`
	ContentBase64  []byte              `json:"content_base64,omitempty"`
	ConversationID string              `json:"conversation_id,omitempty"`
	ReplyWith      string              `json:"reply_with,omitempty"`
	InReplyTo      string              `json:"in_reply_to,omitempty"`
	ReplyBy        *time.Time          `json:"reply_by,omitempty"`
	Protocol       string              `json:"protocol,omitempty"`
	Language       string              `json:"language,omitempty"`
	Ontology       string              `json:"ontology,omitempty"`
	Priority       events.Priority     `json:"priority,omitempty"`

	Wait           time.Duration `json:"-"` // for the reply, 0 to MaxWait; 0 does not wait
	IdempotencyKey string        `json:"-"` // empty: none
}

// Send gives a message to an agent (an id, a unique prefix of one, a name) or to
// one with a capability ("capability:NAME"), and returns when it is durable, or when
// it was dealt with, if the message waits and the time suffices.
func (c *Client) Send(ctx context.Context, receiver string, m Outgoing) (MessageReceipt, error) {
	m.Receiver = receiver
	body, err := json.Marshal(m)
	if err != nil {
		return MessageReceipt{}, events.Invalidf("content", "must be JSON: %s", clip(err.Error()))
	}
	in := call{method: http.MethodPost, path: "/messages", media: typeJSON, body: body, key: m.IdempotencyKey, wait: m.Wait}
	if m.Wait > 0 {
		in.query = url.Values{"wait": {m.Wait.String()}}
	}
	var receipt MessageReceipt
	_, err = c.do(ctx, in, &receipt)
	return receipt, err
}

// Message returns a message and what has become of it, by its id.
func (c *Client) Message(ctx context.Context, id string) (projections.MessageView, error) {
	var v projections.MessageView
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/messages/" + url.PathEscape(id)}, &v)
	return v, err
}

// AgentMessages returns a page of what was said to an agent and by it, as it stands,
// and the query of the next page when there is one.
func (c *Client) AgentMessages(ctx context.Context, ref string, in EventQuery) ([]projections.MessageView, *EventQuery, error) {
	return page[projections.MessageView](ctx, c, agentPath(ref, "/messages"), in, in.values())
}

// WaitingMessages returns a page of what waits in an agent's inbox, the oldest first,
// and the query of the next page when there is one.
func (c *Client) WaitingMessages(ctx context.Context, ref string, in EventQuery) ([]projections.MessageView, *EventQuery, error) {
	q := in.values()
	q.Set("waiting", "true")
	return page[projections.MessageView](ctx, c, agentPath(ref, "/messages"), in, q)
}

// Conversation returns all that was said in a conversation.
func (c *Client) Conversation(ctx context.Context, id string) (projections.ConversationView, error) {
	var v projections.ConversationView
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/conversations/" + url.PathEscape(id)}, &v)
	return v, err
}
