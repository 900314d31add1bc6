package wasmhost

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// oracle is field by the standard library.
func oracle(doc []byte, path string) (value string, ok bool) {
	if path == "" {
		return "", false
	}
	raw := json.RawMessage(doc)
	for _, name := range strings.Split(path, ".") {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil || object == nil {
			return "", false
		}
		if raw, ok = object[name]; !ok {
			return "", false
		}
	}
	var text string
	if raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return text, true
	}
	return string(raw), true
}

// FuzzField: on valid JSON the scanner finds what encoding/json finds; on other
// bytes it ends.
func FuzzField(f *testing.F) {
	for _, path := range []string{"a", "a.b", "a.b.c", "", ".", "a.", "x"} {
		for _, doc := range []string{
			`{"a":{"b":{"c":[1,{"d":2}]}}}`, `{"a":"x\n\"y","x":null}`, `{ "a" : { "b" : -1.5e3 } , "a" : { "b" : [ ] } }`,
			`{"\u0061":true,"":{"":1}}`, `[]`, `"a"`, `{}`, `{"a":"{\"b\":1}"}`, `{"a":"\\","x":"}"}`, `{"a`, `{"a":`, `{"a"}`, `{:}`, `{"a":1}}`, `{]{`,
		} {
			f.Add([]byte(doc), path)
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte, path string) {
		if len(path) > maxFieldName {
			return
		}
		if !json.Valid(doc) || !validText(doc) {
			_, _ = field(doc, path, func() {}) // anything but a panic or an endless loop
			return
		}
		got, ok := field(doc, path, func() {})
		want, wantOK := oracle(doc, path)
		if ok != wantOK || string(got) != want {
			t.Fatalf("%q of %q: %q, %v; want %q, %v", path, doc, got, ok, want, wantOK)
		}
	})
}

// TestFieldLooksUp: however the message is made and however long the path, no more
// than a few KiB are read between two looks at the clock.
func TestFieldLooksUp(t *testing.T) {
	const size = 256 << 10
	many := `{` + strings.Repeat(`"\n":0,`, size/7) + `"x":1}`
	nested, path := `{"a":`+many+`}`, "a.x"
	for range 100 {
		nested, path = `{"a":`+nested+`}`, "a."+path
	}
	for name, c := range map[string]struct {
		doc, path string
		reads     int // of the document
	}{
		"one name":   {many, "x", 2},
		"many names": {nested, path, 103},
		"a string":   {`{"a":"` + strings.Repeat("x", size) + `"}`, "a", 2},
		"an array":   {`{"a":[` + strings.Repeat("0,", size/2) + `0]}`, "a", 2},
	} {
		looks := 0
		if _, ok := field([]byte(c.doc), c.path, func() { looks++ }); !ok {
			t.Errorf("%s: not found", name)
		}
		if want := c.reads * size / lookEveryBytes * 3 / 4; looks < want {
			t.Errorf("%s: looked %d times, want %d", name, looks, want)
		}
	}
}

// TestFieldIsStopped: a guest whose time is over while it looks for a field ends.
func TestFieldIsStopped(t *testing.T) {
	p := newProbe(t, nil, `{"a":[`+strings.Repeat("0,", 100_000)+`0]}`)
	p.put(0, "content.a")
	p.in.Kill()
	defer func() {
		if recover() == nil || p.in.call.stop != events.OutcomeKilled {
			t.Errorf("it goes on; %q", p.in.call.stop)
		}
	}()
	field(p.in.call.message, "content.a", p.in.lookUp)
}
