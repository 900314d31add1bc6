package agent

import (
	"bytes"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// The largest message that is let in fits the log however it ends: else it could
// neither be handled nor be failed.
func TestLargestMessageFitsAnAppend(t *testing.T) {
	for name, content := range map[string][]byte{
		"JSON":               []byte(`"` + strings.Repeat("x", events.MaxMessageContent-2) + `"`),
		"JSON of HTML":       []byte(`"` + strings.Repeat("<&>", (events.MaxMessageContent-2)/3) + `"`),
		"JSON of separators": []byte(`"` + strings.Repeat("\u2028", (events.MaxMessageContent-2)/3) + `"`),
		"bytes":              bytes.Repeat([]byte{0xff}, events.MaxMessageContent),
	} {
		for _, status := range []events.OutcomeStatus{events.OutcomeOK, events.OutcomeNoHandler, events.OutcomeTrap, events.OutcomeTimeout} {
			l := newLife(t)
			m := fromAgent(2, 1)
			m.SetContent(content)
			m.Ontology = strings.Repeat("\x01", events.MaxFieldLength)
			if err := m.Validate(); err != nil {
				t.Fatal(err)
			}
			r := l.run(m, status)
			r.Detail = strings.Repeat("<", 300)
			l.do(Finish{Run: r})
			l.do(Finish{Run: r})
			out := l.do(Finish{Run: r})
			size := 0
			for _, p := range out {
				ev, err := events.Encode(events.EventID{1}, p, events.Metadata{})
				if err != nil {
					t.Fatalf("%s, %s: %v", name, status, err)
				}
				size += ev.Size()
			}
			if size > events.MaxAppendBytes {
				t.Errorf("%s, %s: events of %d bytes", name, status, size)
			}
		}
	}
}

// A guest that is replayed gets the content that the live one got, byte for byte:
// the log keeps it in the form that reaches a guest.
func TestContentSurvivesTheLog(t *testing.T) {
	for _, content := range []string{`"<a href='x'>&amp;</a>"`, `"\u003c"`, "\"\u2028\"", `{"b":1,"a":2}`, "\"\xff\""} {
		l := newLife(t)
		m := outsider(1)
		m.SetContent([]byte(content))
		ev, err := events.Encode(events.EventID{1}, one[events.MessageHandled](t, l.do(Finish{Run: l.run(m, events.OutcomeOK)})), events.Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := events.Decode(ev)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.(events.MessageHandled).Message.Content; string(got) != content {
			t.Errorf("content %q reads back as %q", content, got)
		}
	}
}
