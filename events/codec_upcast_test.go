package events

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEveryVersionIsReached: no type has a version without the steps up to it.
func TestEveryVersionIsReached(t *testing.T) {
	for _, p := range samples() {
		s, _ := schemaOf(p.EventType())
		if s.version < 1 || (s.raise == nil) != (s.version == 1) {
			t.Fatalf("%s: version %d, with an upcaster: %v", p.EventType(), s.version, s.raise != nil)
		}
		for v := 1; v < s.version; v++ {
			if _, err := s.raise(v, []byte("{}")); err != nil {
				t.Errorf("%s: from version %d: %v", p.EventType(), v, err)
			}
		}
		if s.raise == nil {
			continue
		}
		for _, v := range []int{0, s.version} {
			if _, err := s.raise(v, []byte("{}")); err == nil {
				t.Errorf("%s has a step from version %d", p.EventType(), v)
			}
		}
	}
}

func TestUpcastAgentFailed(t *testing.T) {
	const written = "10 crashes within 1m0s, the last: Timeout"
	for reason, want := range map[string]AgentFailed{
		written: {Crashes: 10, WindowMS: 60_000, Outcome: OutcomeTimeout},
		"3 crashes within 1.5s, the last: HostFault": {Crashes: 3, WindowMS: 1500, Outcome: OutcomeHostFault},
		"10 crashes in a minute":                     {},
		"":                                           {},
		written + " ":                                {},
		" " + written:                                {},
		"010 crashes within 1m0s, the last: Timeout":                  {},
		"0 crashes within 1m0s, the last: Timeout":                    {},
		"-1 crashes within 1m0s, the last: Timeout":                   {},
		"10 crashes within 60s, the last: Timeout":                    {}, // not how the writer spelt it
		"10 crashes within 1µs, the last: Timeout":                    {},
		"10 crashes within -1m0s, the last: Timeout":                  {},
		"10 crashes within 1m0s, the last: Trap":                      {},
		"10 crashes within 1m0s, the last: ":                          {},
		"99999999999999999999 crashes within 1m0s, the last: Timeout": {},
	} {
		want.Reason = reason
		ev, err := Encode(EventID{1}, AgentFailed{Reason: reason}, Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		ev.Metadata = Metadata{SchemaVersion: 1, Actor: "a"}.Encode() // and its data are those of version 1: the rest is absent
		got, err := Decode(ev)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(Payload(want), got); d != "" {
			t.Errorf("%q (-want +got):\n%s", reason, d)
		}
	}
}

// A reason of version 2 is a text and nothing else: what is absent stays absent.
func TestTodaysVersionIsNotUpcast(t *testing.T) {
	want := AgentFailed{Reason: "10 crashes within 1m0s, the last: Timeout"}
	ev, err := Encode(EventID{1}, want, Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(ev); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUpcastOfWhatDoesNotRead(t *testing.T) {
	for _, data := range []string{"", "{", "[]", `{"reason":1}`} {
		_, err := Decode(Event{ID: EventID{9}, Type: "AgentFailed", Data: []byte(data), Metadata: Metadata{SchemaVersion: 1}.Encode()})
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), EventID{9}.String()) || !strings.Contains(err.Error(), "schema version 1") {
			t.Errorf("%q: %v, want a CorruptError that names event and version", data, err)
		}
	}
}

// FuzzUpcast: no data make a step panic, and what it gives is data of the next
// version.
func FuzzUpcast(f *testing.F) {
	f.Add([]byte(`{"reason":"10 crashes within 1m0s, the last: Timeout"}`))
	f.Add([]byte(`{"reason":"1 crashes within 2562047h47m16.854775807s, the last: Killed"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(Event{Type: "AgentFailed", Data: data})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		e := p.(AgentFailed)
		known := e.Crashes > 0
		if known != (e.WindowMS > 0) || known != (e.Outcome != "") || e.Crashes < 0 || e.WindowMS < 0 {
			t.Errorf("%s becomes %+v", data, e)
		}
	})
}
