package events

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParsePerformativeAndPriority(t *testing.T) {
	for s, want := range map[string]Performative{
		"": Request, "request": Request, "REQUEST": Request, "query-if": QueryIf, "Accept_Proposal": AcceptProposal, "cfp": CFP,
	} {
		if got, err := ParsePerformative(s); err != nil || got != want {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for _, p := range performatives {
		if got, err := ParsePerformative(string(p)); err != nil || got != p {
			t.Errorf("%q: %q, %v", p, got, err)
		}
	}
	for _, s := range []string{" request", "shout", strings.Repeat("x", 100)} {
		if _, err := ParsePerformative(s); field(t, err) != "performative" || len(err.Error()) > 300 {
			t.Errorf("%q: %v", s, err)
		}
	}
	for s, want := range map[string]Priority{"": Normal, "low": Low, "normal": Normal, "high": High, "critical": Critical} {
		if got, err := ParsePriority(s); err != nil || got != want {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"LOW", "urgent", " "} {
		if _, err := ParsePriority(s); field(t, err) != "priority" {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestMessageValidate(t *testing.T) {
	long := strings.Repeat("x", MaxFieldLength+1)
	quoted := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n-2) + `"`) }
	cases := []struct {
		name string
		m    Message
		want string // faulty fields
	}{
		{"the zero value", Message{}, ""},
		{"the most content", Message{Content: quoted(MaxMessageContent)}, ""},
		{"the most hops", Message{Hops: MaxHops}, ""},
		{"the longest field", Message{Protocol: long[1:]}, ""},
		{"both contents", Message{Content: json.RawMessage(`1`), ContentBase64: []byte{1}}, "content"},
		{"content that is not JSON", Message{Content: json.RawMessage(`{`)}, "content"},
		{"all at once", Message{
			Content: json.RawMessage(`{`), Performative: "shout", Priority: "urgent", ConversationID: long, ReplyWith: long,
			InReplyTo: long, Protocol: long, Language: long, Ontology: long, Receiver: long, Hops: MaxHops + 1,
		}, "content performative priority conversation_id reply_with in_reply_to protocol language ontology receiver hops"},
		{"negative hops", Message{Hops: -1}, "hops"},
	}
	for _, c := range cases {
		err := c.m.Validate()
		if c.want == "" && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.want != "" && field(t, err) != c.want {
			t.Errorf("%s: %v, want faults of %s", c.name, err, c.want)
		}
	}
	tooLarge := Message{ContentBase64: make([]byte, MaxMessageContent+1), Hops: -1}
	if err := tooLarge.Validate(); !errors.Is(err, ErrContentTooLarge) {
		t.Errorf("got %v, want ErrContentTooLarge alone", err)
	}
}

func TestMessageContent(t *testing.T) {
	var m Message
	for content, isJSON := range map[string]bool{`{"a":1}`: true, `null`: true, "": false, "{": false, "\xff": false} {
		m.SetContent([]byte(content))
		if (len(m.Content) > 0) != isJSON || m.ContentSize() != len(content) || string(m.Content)+string(m.ContentBase64) != content {
			t.Errorf("%q: JSON %q, bytes %q", content, m.Content, m.ContentBase64)
		}
		if err := m.Validate(); err != nil {
			t.Errorf("%q: %v", content, err)
		}
	}
	m.Sender = canonical
	if id, ok := m.FromAgent(); !ok || id.String() != canonical {
		t.Errorf("sender %s, %v", id, ok)
	}
	m.Sender = "user:ada"
	if _, ok := m.FromAgent(); ok {
		t.Error("a user counted as an agent")
	}
}

func TestCleanName(t *testing.T) {
	for raw, want := range map[string]string{
		"a": "a", " greeter\n": "greeter", "zwei Wörter": "zwei Wörter", "capability": "capability", strings.Repeat("ü", MaxNameLength): strings.Repeat("ü", MaxNameLength),
	} {
		if got, err := CleanName(raw); err != nil || got != want {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
	for _, raw := range []string{"", "  ", "a/b", "a\x00b", "a\nb", "a\x7f", "\xff", "capability:x", " capability:", strings.Repeat("x", MaxNameLength+1)} {
		if _, err := CleanName(raw); field(t, err) != "name" {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"", " a ", "a/b", "\u00a0x\u2003"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		name, err := CleanName(raw)
		if err != nil {
			return
		}
		if again, err := CleanName(name); err != nil || again != name {
			t.Errorf("%q cleans to %q, and that to %q, %v", raw, name, again, err)
		}
		if n := utf8.RuneCountInString(name); n < 1 || n > MaxNameLength || !utf8.ValidString(name) {
			t.Errorf("%q is a name", name)
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"content":{"a":1},"performative":"cfp","priority":"high"}`))
	f.Add([]byte(`{"content_base64":"AP8=","reply_by":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message
		if json.Unmarshal(b, &m) != nil || m.Validate() != nil {
			return
		}
		if _, err := json.Marshal(m); err != nil {
			t.Errorf("a valid message cannot be written: %v", err)
		}
		ev, err := Encode(NewEventID(), MessageHandled{Message: m, Sends: []Message{m}}, Metadata{})
		if errors.Is(err, ErrTooLarge) {
			return
		}
		if err == nil {
			_, err = Decode(ev)
		}
		if err != nil {
			t.Errorf("a valid message does not come out of its event: %v", err)
		}
	})
}

// nested is JSON of so many arrays and objects within each other.
func nested(depth int) []byte {
	s := strings.Repeat(`[{"\"[\\":`, depth/2) + strings.Repeat("[", depth%2) + "0" + strings.Repeat("]", depth%2) + strings.Repeat("}]", depth/2)
	return []byte(s)
}

// TestContentDepth: content that is accepted is read wherever it stands in an event, and
// what nests deeper is refused, or kept as bytes.
func TestContentDepth(t *testing.T) {
	for depth, fits := range map[int]bool{0: true, 1: true, MaxContentDepth - 1: true, MaxContentDepth: true, MaxContentDepth + 1: false, 9999: false} {
		m := Message{Performative: Request, Content: nested(depth)}
		if err := m.Validate(); (err == nil) != fits || !fits && field(t, err) != "content" {
			t.Errorf("content of depth %d: %v", depth, err)
		}
		m.SetContent(nested(depth))
		if (len(m.Content) > 0) != fits || m.ContentSize() != len(nested(depth)) {
			t.Errorf("content of depth %d is JSON: %v", depth, len(m.Content) > 0)
		}
		for _, p := range []Payload{MessageReceived{Message: m}, MessageHandled{Message: m, Reply: &m, Sends: []Message{m}}, MessageDeadLettered{Message: m}} {
			ev, err := Encode(NewEventID(), p, Metadata{})
			if err == nil {
				_, err = Decode(ev)
			}
			if err != nil {
				t.Errorf("content of depth %d in %s: %v", depth, p.EventType(), err)
			}
		}
	}
}

func TestLabelsAndLimits(t *testing.T) {
	many := Labels{}
	for i := range MaxLabels + 1 {
		many[strings.Repeat("k", i+1)] = ""
	}
	long := strings.Repeat("x", MaxLabelLength+1)
	for _, l := range []Labels{many, {"": "v"}, {long: "v"}, {"k": long}} {
		if field(t, l.Validate()) != "labels" {
			t.Errorf("%v", l.Validate())
		}
	}
	if err := (Labels{"k": "", long[1:]: long[1:]}).Validate(); err != nil {
		t.Error(err)
	}
	if err := DefaultLimits().Validate(LimitCeilings()); err != nil {
		t.Error(err)
	}
	if err := LimitCeilings().Validate(LimitCeilings()); err != nil {
		t.Error(err)
	}
	const all = "resource_limits.max_memory_bytes resource_limits.max_fuel resource_limits.max_execution_time_ms"
	over := LimitCeilings()
	over.MaxMemoryBytes++
	over.MaxFuel++
	over.MaxExecutionTimeMS++
	for _, l := range []ResourceLimits{{}, over} {
		if got := field(t, l.Validate(LimitCeilings())); got != all {
			t.Errorf("faults of %+v: %s", l, got)
		}
	}
}
