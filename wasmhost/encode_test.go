package wasmhost

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/events"
)

// sameEncoding wants what encodeMessage gives to be what encoding/json gives.
func sameEncoding(t interface {
	Helper()
	Fatalf(string, ...any)
}, m *events.Message) {
	t.Helper()
	got, gotErr := encodeMessage(nil, m)
	want, wantErr := encodeByReflection(m)
	if !bytes.Equal(got, want) || (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("%q, %v\nwant %q, %v", got, gotErr, want, wantErr)
	}
}

// TestEncodeMessage: each field alone and all together, of plain and of other
// text; a field that events.Message gets and this does not know fails it.
func TestEncodeMessage(t *testing.T) {
	texts := []string{"", "plain", "a \"quote\"", `back\slash`, "new\nline", "<html> & more", "žluťoučký", "\u2028", "\xff", "\x7f"}
	typ := reflect.TypeFor[events.Message]()
	for i := range typ.NumField() {
		for j, text := range texts {
			var m events.Message
			f := reflect.ValueOf(&m).Elem().Field(i)
			switch typ.Field(i).Type {
			case reflect.TypeFor[json.RawMessage]():
				f.SetBytes([]byte(` { "a" : [ 1 , "` + text + `" ] } `))
			case reflect.TypeFor[[]byte]():
				f.SetBytes([]byte(text))
			case reflect.TypeFor[*time.Time]():
				when := time.Unix(int64(j)*1e9, int64(j))
				f.Set(reflect.ValueOf(&when))
			case reflect.TypeFor[*events.BlobRef]():
				f.Set(reflect.ValueOf(&events.BlobRef{Hash: "00", Size: j}))
			case reflect.TypeFor[events.MessageID]():
				f.Set(reflect.ValueOf(events.NewMessageID()))
			default:
				switch f.Kind() {
				case reflect.String:
					f.SetString(text)
				case reflect.Int:
					f.SetInt(int64(j - 2))
				case reflect.Uint64:
					f.SetUint(uint64(j) << 60)
				default:
					t.Fatalf("%s has a type that this test does not know", typ.Field(i).Name)
				}
			}
			sameEncoding(t, &m)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching("[ -~]*"), rapid.SampledFrom(texts))
		m := events.Message{
			ID: events.NewMessageID(), Performative: events.Performative(text.Draw(t, "performative")),
			Sender: text.Draw(t, "sender"), Receiver: text.Draw(t, "receiver"),
			ContentBase64: rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"), ConversationID: text.Draw(t, "conversation"),
			ReplyWith: text.Draw(t, "reply with"), InReplyTo: text.Draw(t, "in reply to"), Protocol: text.Draw(t, "protocol"),
			Language: text.Draw(t, "language"), Ontology: text.Draw(t, "ontology"), Priority: events.Priority(text.Draw(t, "priority")),
			Hops: rapid.Int().Draw(t, "hops"), Sequence: rapid.Uint64().Draw(t, "sequence"),
		}
		sameEncoding(t, &m)
	})
	if _, err := encodeMessage(nil, nil); err == nil {
		t.Error("no message is encoded")
	}
}

// FuzzEncodeMessage: content of any bytes, and a name of any.
func FuzzEncodeMessage(f *testing.F) {
	for _, s := range []string{``, `1`, ` [ 1 ] `, `"\u2028"`, `{"a":"<b>"}`, `{`, "\"\u2028\"", `[1] x`, "\"\xff\""} {
		f.Add([]byte(s), s)
	}
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		sameEncoding(t, &events.Message{Content: content, Sender: name})
		sameEncoding(t, &events.Message{Content: content, ContentBase64: content, Ontology: name})
	})
}

// TestPlainText: every byte at every place of a word and beside one.
func TestPlainText(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				text := bytes.Repeat([]byte{'~'}, size)
				text[at] = byte(c)
				want := c >= ' ' && c <= '~' && c != '"' && c != '\\'
				if got := isPlainText(string(text)); got != want {
					t.Fatalf("%q: %v", text, got)
				}
			}
		}
	}
}
