package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	for _, c := range []struct {
		name, metadata string
		want           int
		scanned        bool // without the parser
	}{
		{"none", "", 1, true},
		{"an empty object", "{}", 1, true},
		{"as it is written", string(Metadata{CorrelationID: "a", CausationID: "b", SchemaVersion: 3, Actor: "c", Member: "d", TraceParent: "e"}.Encode()), 3, true},
		{"alone", `{"schemaVersion":12}`, 12, true},
		{"the largest that is scanned", `{"schemaVersion":9999}`, 9999, true},
		{"larger", `{"schemaVersion":10000}`, 10000, false},
		{"unnamed", `{"actor":"a"}`, 1, true},
		{"zero", `{"schemaVersion":0}`, 1, false},
		{"null", `{"schemaVersion":null}`, 1, false},
		{"white space", ` { "schemaVersion" : 2 } `, 2, false},
		{"an escape in a value", `{"$correlationId":"\",\"schemaVersion\":9,\"","schemaVersion":2}`, 2, false},
		{"a value like a member", `{"$correlationId":"schemaVersion:9","schemaVersion":2}`, 2, true},
		{"an escape in the key", `{"schema\u0056ersion":2}`, 2, false},
		{"other letters", `{"SCHEMAVERSION":2}`, 2, false},
		{"twice", `{"schemaVersion":1,"schemaVersion":2}`, 2, false},
		{"twice in other letters", `{"schemaVersion":1,"schemaversion":2}`, 2, false},
		{"another's keys", `{"$maxAge":7,"own":{"schemaVersion":9},"schemaVersion":2}`, 2, false},
	} {
		got, err := versionOf([]byte(c.metadata))
		if err != nil || got != c.want {
			t.Errorf("%s: %d, %v, want %d", c.name, got, err, c.want)
		}
		if _, scanned := scanVersion([]byte(c.metadata)); scanned != c.scanned {
			t.Errorf("%s: scanned is %v", c.name, scanned)
		}
	}
}

// Who appends with a client of the log may write any metadata: an event whose
// version cannot be known is not guessed at.
func TestDecodeRefusesMetadataWithoutAnswer(t *testing.T) {
	for _, metadata := range []string{"{", "[]", `"x"`, `{"schemaVersion":"1"}`, `{"schemaVersion":1.5}`, `{"schemaVersion":-1}`, `{"schemaVersion":1}}`, `{"schemaVersion":1,}`} {
		_, err := Decode(Event{ID: EventID{9}, Type: "AgentResumed", Data: []byte("{}"), Metadata: []byte(metadata)})
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), EventID{9}.String()) {
			t.Errorf("%s: %v, want a CorruptError that names the event", metadata, err)
		}
	}
}

// FuzzVersionOf: the scanner says what the parser says, for all that parses.
func FuzzVersionOf(f *testing.F) {
	f.Add(Metadata{CorrelationID: "a", SchemaVersion: 2, Actor: "b"}.Encode())
	for _, s := range []string{
		"", "{}", `{"schemaVersion":0}`, `{"schemaVersion":01}`, `{"actor":"\\"}`, `{"schemaVersion":1,"SchemaVersion":2}`,
		`{"actor":"a","actor":{}}`, "{\"\u017fchemaVersion\":3}", `{"schemaVersion":1,"schemaVersion":0}`, `{"actor":"}"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := versionOf(b)
		if md, bad := DecodeMetadata(b); bad == nil && md.SchemaVersion >= 0 {
			if err != nil || got != max(md.SchemaVersion, 1) {
				t.Fatalf("%q: version %d, %v; the parser says %d", b, got, err, md.SchemaVersion)
			}
		} else if got > 9999 { // only what was scanned is not parsed
			t.Fatalf("%q: version %d of metadata that do not parse", b, got)
		}
	})
}

func TestNewerSchemaIsNamed(t *testing.T) {
	for _, p := range samples() {
		known := SchemaVersion(p.EventType())
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Decode(Event{ID: EventID{9}, Type: p.EventType(), Data: data, Metadata: Metadata{SchemaVersion: known + 1}.Encode()})
		var newer *NewerSchemaError
		if !errors.As(err, &newer) || *newer != (NewerSchemaError{EventID{9}, p.EventType(), known + 1, known}) {
			t.Fatalf("%s: %v", p.EventType(), err)
		}
		for _, part := range []string{EventID{9}.String(), string(p.EventType()), fmt.Sprint("version ", known+1), fmt.Sprint("up to ", known)} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not name %q", err, part)
			}
		}
		// A reader that passes over types it does not know must not pass over this.
		if !errors.Is(err, ErrNewerSchema) || errors.Is(err, ErrUnknownType) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%v is another error too", err)
		}
	}
	for typ, want := range map[Type]int{"": 0, "Unknown": 0, TypeModuleChunk: 1, TypeSnapshotTaken: 1, "AgentFailed": 2, "AgentDeployed": 1} {
		if got := SchemaVersion(typ); got != want {
			t.Errorf("%q is written with version %d, want %d", typ, got, want)
		}
	}
}
