package wasmhost

import (
	"encoding/json"
	"strings"
	"testing"
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
			_, _ = field(doc, path) // anything but a panic or an endless loop
			return
		}
		got, ok := field(doc, path)
		want, wantOK := oracle(doc, path)
		if ok != wantOK || string(got) != want {
			t.Fatalf("%q of %q: %q, %v; want %q, %v", path, doc, got, ok, want, wantOK)
		}
	})
}
