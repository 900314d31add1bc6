package wasmhost

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/caxton-run/caxton/events"
)

// encodeMessage returns the JSON in which a message reaches its guest, in room if
// it fits there. The form is part of what a replay repeats: fields in order of
// events.Message, no escaping beyond what JSON demands.
//
// It is what encoding/json gives, which takes ten times as long as the rest of
// a call: common messages are written directly. TestEncodeMessage and
// FuzzEncodeMessage hold the two to each other.
func encodeMessage(room []byte, m *events.Message) ([]byte, error) {
	if m == nil {
		return nil, fmt.Errorf("encode message: no message")
	}
	if b, ok := appendMessage(room[:0], m); ok {
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
func appendMessage(room []byte, m *events.Message) (b []byte, ok bool) {
	if m.ReplyBy != nil {
		return nil, false
	}
	if n := messageRoom + len(m.Content) + base64.StdEncoding.EncodedLen(len(m.ContentBase64)); n > cap(room) {
		room = make([]byte, 0, n)
	}
	e := plainEncoder{b: append(room, `{"id":"`...)}
	e.b = append(appendID(e.b, m.ID), '"')
	e.text(`,"performative":"`, string(m.Performative))
	e.text(`,"sender":"`, m.Sender)
	e.text(`,"receiver":"`, m.Receiver)
	if len(m.Content) > 0 && !e.content(m.Content) {
		return nil, false
	}
	if len(m.ContentBase64) > 0 {
		e.b = append(e.b, `,"content_base64":"`...)
		e.b = append(base64.StdEncoding.AppendEncode(e.b, m.ContentBase64), '"')
	}
	e.text(`,"conversation_id":"`, m.ConversationID)
	e.optional(`,"reply_with":"`, m.ReplyWith)
	e.optional(`,"in_reply_to":"`, m.InReplyTo)
	e.optional(`,"protocol":"`, m.Protocol)
	e.optional(`,"language":"`, m.Language)
	e.optional(`,"ontology":"`, m.Ontology)
	e.optional(`,"priority":"`, string(m.Priority))
	if m.Hops != 0 {
		e.b = strconv.AppendInt(append(e.b, `,"hops":`...), int64(m.Hops), 10)
	}
	if m.Sequence != 0 {
		e.b = strconv.AppendUint(append(e.b, `,"sequence":`...), m.Sequence, 10)
	}
	return append(e.b, '}'), !e.other
}

// appendID appends an id as its MarshalText gives it.
func appendID(b []byte, id events.MessageID) []byte {
	const digits = "0123456789abcdef"
	for i, c := range id {
		switch i {
		case 4, 6, 8, 10:
			b = append(b, '-')
		}
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

// plainEncoder writes the fields of an object.
type plainEncoder struct {
	b     []byte
	other bool // a string needs more than quotes
}

// text writes a field; name is all that stands before the value.
func (e *plainEncoder) text(name, value string) {
	e.other = e.other || !isPlainText(value)
	e.b = append(append(append(e.b, name...), value...), '"')
}

func (e *plainEncoder) optional(name, value string) {
	if value != "" {
		e.text(name, value)
	}
}

func (e *plainEncoder) content(value []byte) (ok bool) {
	e.b = append(e.b, `,"content":`...)
	if isPlain(value) {
		e.b = append(e.b, value...)
		return true
	}
	buf := bytes.NewBuffer(e.b)
	err := json.Compact(buf, value)
	e.b = buf.Bytes()
	return err == nil
}

// isPlainText reports whether s is ASCII without control characters, quotes and
// backslashes. It looks at eight bytes at a time, with the tests for a byte in a
// word of https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord.
func isPlainText(s string) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		quote, slash, del := w^each*'"', w^each*'\\', w^each*0x7f
		odd := (w-each*' ')&^w | (quote-each)&^quote | (slash-each)&^slash | (del-each)&^del
		if (w|odd)&high != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
