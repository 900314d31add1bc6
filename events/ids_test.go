package events

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
)

const canonical = "0b5f0a5e-8f5a-4c6e-9d1e-2f3a4b5c6d7e"

func field(t *testing.T, err error) string {
	t.Helper()
	var inv *InvalidError
	if !errors.As(err, &inv) {
		t.Fatalf("%v is no InvalidError", err)
	}
	names := make([]string, len(inv.Fields))
	for i, f := range inv.Fields {
		names[i] = f.Field
	}
	return strings.Join(names, " ")
}

func TestParseIDs(t *testing.T) {
	good := map[string]string{canonical: canonical, strings.ToUpper(canonical): canonical}
	for s, want := range good {
		a, err := ParseAgentID(s)
		if err != nil || a.String() != want {
			t.Errorf("agent %q: %s, %v", s, a, err)
		}
		m, err := ParseMessageID(s)
		if err != nil || m.String() != want {
			t.Errorf("message %q: %s, %v", s, m, err)
		}
	}
	for _, s := range []string{
		"", "x", canonical[:35], canonical + "0", "{" + canonical + "}", "urn:uuid:" + canonical,
		strings.ReplaceAll(canonical, "-", ""), strings.Replace(canonical, "0", "g", 1), strings.Replace(canonical, "-", "_", 1),
		"{" + canonical[:34] + "}",
	} {
		if _, err := ParseAgentID(s); field(t, err) != "id" {
			t.Errorf("agent %q: %v", s, err)
		}
		if _, err := ParseMessageID(s); field(t, err) != "id" {
			t.Errorf("message %q: %v", s, err)
		}
		var e EventID
		if err := e.UnmarshalText([]byte(s)); field(t, err) != "event_id" {
			t.Errorf("event %q: %v", s, err)
		}
	}
}

func TestIDsInJSON(t *testing.T) {
	type all struct {
		A AgentID
		M MessageID
		E EventID
	}
	want := all{NewAgentID(), NewMessageID(), NewEventID()}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got all
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("%s reads as %+v, %v", b, got, err)
	}
	if !strings.Contains(string(b), want.A.String()) || want.A.IsZero() || want.M.IsZero() || !(AgentID{}).IsZero() || !(MessageID{}).IsZero() {
		t.Errorf("%s", b)
	}
	for _, bad := range []string{`{"A":"x"}`, `{"M":"x"}`, `{"E":"x"}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// TestDerivedIDs: the same input gives the same id, on every machine and in
// every version; any other input another.
func TestDerivedIDs(t *testing.T) {
	a := ActivationID(uuid.MustParse(canonical))
	if got := a.EventID(7, 2).String(); got != uuid.NewSHA1(uuid.UUID(a), []byte("7/2")).String() || uuid.MustParse(got).Version() != 5 {
		t.Errorf("event id %s", got)
	}
	seen := map[EventID]bool{}
	for _, act := range []ActivationID{a, NewActivationID()} {
		for turn := range uint64(12) {
			for index := range 12 {
				seen[act.EventID(turn, index)] = true
			}
		}
	}
	if len(seen) != 2*12*12 {
		t.Errorf("%d different ids of %d", len(seen), 2*12*12)
	}
	requests := map[uuid.UUID]bool{}
	for _, r := range [][3]string{{"a", "b", "event"}, {"ab", "", "event"}, {"", "ab", "event"}, {`a"`, `b`, "event"}, {"a", `"b`, "event"}, {"a", "b", "agent"}} {
		for index := range 12 {
			requests[RequestUUID(r[0], r[1], r[2], index)] = true
		}
	}
	if len(requests) != 6*12 {
		t.Errorf("%d different request ids of %d", len(requests), 6*12)
	}
	if got := RequestUUID("user:ada", "key", "event", 0).String(); got != "0b28d6e4-9d87-5a0f-95f3-0b7f482eefef" {
		t.Errorf("the id of a known request is %s", got)
	}
}

func TestHashModule(t *testing.T) {
	// SHA-256 of "abc": FIPS 180-2, appendix B.1.
	if got := HashModule([]byte("abc")); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("got %s", got)
	}
}

func FuzzParseAgentID(f *testing.F) {
	f.Add(canonical)
	f.Add("{" + canonical[:34] + "}")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseAgentID(s)
		if err == nil && !strings.EqualFold(id.String(), s) {
			t.Errorf("%q parses as %s: an agent has two spellings", s, id)
		}
	})
}
