package events

import (
	"encoding/json"
	"strings"
	"time"
)

// Performative says what a message does: a subset of FIPA ACL (FIPA SC00037J).
type Performative string

// The performatives that caxton knows.
const (
	Request        Performative = "request"
	Inform         Performative = "inform"
	Query          Performative = "query"
	QueryIf        Performative = "query_if"
	QueryRef       Performative = "query_ref"
	CFP            Performative = "cfp"
	Propose        Performative = "propose"
	AcceptProposal Performative = "accept_proposal"
	RejectProposal Performative = "reject_proposal"
	Agree          Performative = "agree"
	Refuse         Performative = "refuse"
	Failure        Performative = "failure"
	NotUnderstood  Performative = "not_understood"
	Cancel         Performative = "cancel"
)

var performatives = []Performative{
	Request, Inform, Query, QueryIf, QueryRef, CFP, Propose, AcceptProposal,
	RejectProposal, Agree, Refuse, Failure, NotUnderstood, Cancel,
}

// ParsePerformative accepts the names above in any case, with "-" for "_".
// The empty string is Request. Errors are *InvalidError for "performative".
func ParsePerformative(s string) (Performative, error) {
	if s == "" {
		return Request, nil
	}
	p := Performative(strings.ReplaceAll(strings.ToLower(s), "-", "_"))
	if !contains(performatives, p) {
		return "", Invalidf("performative", "unknown %.40q; one of %s", s, joinNames(performatives))
	}
	return p, nil
}

// Priority orders agents and messages when not all can be served.
type Priority string

// The four priorities; Normal is the default.
const (
	Low      Priority = "low"
	Normal   Priority = "normal"
	High     Priority = "high"
	Critical Priority = "critical"
)

// ParsePriority accepts the four names; the empty string is Normal. Errors are
// *InvalidError for field "priority".
func ParsePriority(s string) (Priority, error) {
	switch p := Priority(s); p {
	case "":
		return Normal, nil
	case Low, Normal, High, Critical:
		return p, nil
	}
	return "", Invalidf("priority", "must be one of low, normal, high, critical, got %.40q", s)
}

// Message is what one party says to another. Content is JSON, or bytes in
// ContentBase64, never both. It reaches a guest in this very JSON form.
type Message struct {
	ID             MessageID       `json:"id"`
	Performative   Performative    `json:"performative"`
	Sender         string          `json:"sender"`   // an agent's id, or a principal such as "user:anonymous"
	Receiver       string          `json:"receiver"` // an agent's id once resolved; id or name before
	Content        json.RawMessage `json:"content,omitempty"`
	ContentBase64  []byte          `json:"content_base64,omitempty"`
	ConversationID string          `json:"conversation_id"`
	ReplyWith      string          `json:"reply_with,omitempty"`
	InReplyTo      string          `json:"in_reply_to,omitempty"`
	ReplyBy        *time.Time      `json:"reply_by,omitempty"`
	Protocol       string          `json:"protocol,omitempty"`
	Language       string          `json:"language,omitempty"`
	Ontology       string          `json:"ontology,omitempty"`
	Priority       Priority        `json:"priority,omitempty"`       // empty means Normal
	Hops           int             `json:"hops,omitempty"`           // how many agents forwarded the cause of this one
	Sequence       uint64          `json:"sequence,omitempty"`       // from 1, per (sender, receiver, priority); 0 for outsiders
	SequenceClass  Priority        `json:"sequence_class,omitempty"` // whose priority's sequence it is, if not its own's: normal, of sends before version 2 of their events
	Blob           *BlobRef        `json:"blob,omitempty"`           // where the content is, if it is too large to stand here
}

// Class is the priority within which a message keeps its place: messages of one
// sender to one receiver are handled in order within each.
func (m *Message) Class() Priority {
	switch {
	case m.SequenceClass != "":
		return m.SequenceClass
	case m.Priority == "":
		return Normal
	}
	return m.Priority
}

// FromAgent returns the sending agent; ok is false for an outsider.
func (m *Message) FromAgent() (id AgentID, ok bool) {
	id, err := ParseAgentID(m.Sender)
	return id, err == nil
}

// ContentSize is the length of the content in bytes, whichever form it has.
func (m *Message) ContentSize() int { return len(m.Content) + len(m.ContentBase64) }

// SetContent stores content bytes: as JSON when they parse as JSON of at most
// MaxContentDepth, else as base64.
func (m *Message) SetContent(b []byte) {
	m.Content, m.ContentBase64 = nil, nil
	if json.Valid(b) && !nestsBeyond(b, MaxContentDepth) {
		m.Content = json.RawMessage(b)
		return
	}
	m.ContentBase64 = b
}

// Validate checks the fields an outsider or a guest may set and reports all
// faults as one *InvalidError. ErrContentTooLarge comes alone, because it has
// its own status.
func (m *Message) Validate() error { return m.ValidateWithin(MaxMessageContent) }

// ValidateWithin is Validate with another bound of the content, in bytes.
func (m *Message) ValidateWithin(limit int) error {
	if m.ContentSize() > limit {
		return ErrContentTooLarge
	}
	var f Faults
	if len(m.Content) > 0 && len(m.ContentBase64) > 0 {
		f.Add("content", "must not stand beside content_base64")
	}
	switch {
	case len(m.Content) == 0:
	case !json.Valid(m.Content):
		f.Add("content", "must be JSON")
	case nestsBeyond(m.Content, MaxContentDepth): // an event with it would not be read
		f.Add("content", "must nest at most %d deep", MaxContentDepth)
	}
	if _, err := ParsePerformative(string(m.Performative)); err != nil {
		f.Merge("performative", err)
	}
	if _, err := ParsePriority(string(m.Priority)); err != nil {
		f.Merge("priority", err)
	}
	for _, s := range []struct{ name, value string }{
		{"conversation_id", m.ConversationID}, {"reply_with", m.ReplyWith},
		{"in_reply_to", m.InReplyTo}, {"protocol", m.Protocol},
		{"language", m.Language}, {"ontology", m.Ontology}, {"receiver", m.Receiver},
	} {
		if len(s.value) > MaxFieldLength {
			f.Add(s.name, "must be at most %d bytes, got %d", MaxFieldLength, len(s.value))
		}
	}
	if m.ReplyBy != nil {
		// What cannot be written down would be found out in the agent's turn.
		if _, err := m.ReplyBy.MarshalJSON(); err != nil {
			f.Add("reply_by", "must be an RFC 3339 time of the years 0 to 9999 with an offset below 24 hours")
		}
	}
	if m.Hops < 0 || m.Hops > MaxHops {
		f.Add("hops", "must be 0 to %d", MaxHops)
	}
	return f.Err()
}

// nestsBeyond reports whether JSON has arrays and objects more than so deep within each
// other. What is not JSON it may take for anything.
func nestsBeyond(b []byte, most int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\':
			i++ // stands in strings only, before what may be a quote
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > most {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

func joinNames[T ~string](list []T) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = string(v)
	}
	return strings.Join(parts, ", ")
}
