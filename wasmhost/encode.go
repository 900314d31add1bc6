package wasmhost

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/caxton-run/caxton/events"
)

// encodeMessage returns the JSON in which a message reaches its guest. The form
// is part of what a replay repeats: fields in order of events.Message, no
// escaping beyond what JSON demands.
//
// It is what encoding/json gives, which takes three times as long as the rest of
// a call: common messages are written directly. TestEncodeMessage and
// FuzzEncodeMessage hold the two to each other.
func encodeMessage(m *events.Message) ([]byte, error) {
	if m == nil {
		return nil, fmt.Errorf("encode message: no message")
	}
	if b, ok := appendMessage(m); ok {
		return b, nil
	}
	return encodeByReflection(m)
}

func encodeByReflection(m *events.Message) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	plain := *m
	plain.SequenceClass, plain.Blob = "", nil // the log's own
	if err := enc.Encode(plain); err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

// messageRoom is what a message takes beside its content, commonly.
const messageRoom = 384

// appendMessage encodes a message of plain text; ok is false for others.
func appendMessage(m *events.Message) (b []byte, ok bool) {
	if m.ReplyBy != nil {
		return nil, false
	}
	e := plainEncoder{b: make([]byte, 0, messageRoom+len(m.Content)+base64.StdEncoding.EncodedLen(len(m.ContentBase64)))}
	e.b = append(e.b, `{"id":"`...)
	e.b = append(appendID(e.b, m.ID), '"')
	e.text("performative", string(m.Performative))
	e.text("sender", m.Sender)
	e.text("receiver", m.Receiver)
	if len(m.Content) > 0 {
		e.name("content")
		if isPlain(m.Content) {
			e.b = append(e.b, m.Content...)
		} else {
			buf := bytes.NewBuffer(e.b)
			if json.Compact(buf, m.Content) != nil {
				return nil, false
			}
			e.b = buf.Bytes()
		}
	}
	if len(m.ContentBase64) > 0 {
		e.name("content_base64")
		e.b = append(base64.StdEncoding.AppendEncode(append(e.b, '"'), m.ContentBase64), '"')
	}
	e.text("conversation_id", m.ConversationID)
	for _, f := range []struct{ name, value string }{
		{"reply_with", m.ReplyWith}, {"in_reply_to", m.InReplyTo}, {"protocol", m.Protocol},
		{"language", m.Language}, {"ontology", m.Ontology}, {"priority", string(m.Priority)},
	} {
		if f.value != "" {
			e.text(f.name, f.value)
		}
	}
	if m.Hops != 0 {
		e.name("hops")
		e.b = strconv.AppendInt(e.b, int64(m.Hops), 10)
	}
	if m.Sequence != 0 {
		e.name("sequence")
		e.b = strconv.AppendUint(e.b, m.Sequence, 10)
	}
	return append(e.b, '}'), !e.other
}

// appendID appends an id as its MarshalText gives it.
func appendID(b []byte, id events.MessageID) []byte {
	b = append(hex.AppendEncode(b, id[:4]), '-')
	b = append(hex.AppendEncode(b, id[4:6]), '-')
	b = append(hex.AppendEncode(b, id[6:8]), '-')
	b = append(hex.AppendEncode(b, id[8:10]), '-')
	return hex.AppendEncode(b, id[10:])
}

// plainEncoder writes the fields of an object.
type plainEncoder struct {
	b     []byte
	other bool // a string needs more than quotes
}

func (e *plainEncoder) name(s string) {
	e.b = append(e.b, ',', '"')
	e.b = append(e.b, s...)
	e.b = append(e.b, '"', ':')
}

func (e *plainEncoder) text(name, value string) {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			e.other = true
			return
		}
	}
	e.name(name)
	e.b = append(append(append(e.b, '"'), value...), '"')
}
