package projections

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/caxton-run/caxton/events"
)

func TestResolve(t *testing.T) {
	a := NewAgents("")
	log := newTape(a)
	deploy := func(id events.AgentID, name string) {
		d := deployed(0, name)
		d.AgentID = id
		log.put(events.AgentStream(id), d)
	}
	var (
		one   = events.AgentID(uuid.MustParse("deadbeef-0000-4000-8000-000000000001"))
		two   = events.AgentID(uuid.MustParse("deadbeef-0000-4000-8000-000000000002"))
		three = events.AgentID(uuid.MustParse("0123abcd-0000-4000-8000-000000000003"))
	)
	deploy(one, "alpha")
	deploy(two, "beta")
	deploy(three, "dead")
	for ref, want := range map[string]events.AgentID{
		"alpha": one, "beta": two,
		one.String(): one, strings.ToUpper(two.String()): two,
		"0123": three, "0123ABC": three, "0123abcd-": three, three.String()[:35]: three,
		"deadbeef-0000-4000-8000-000000000002": two,
		"dead":                                 three, // a name goes before a prefix
	} {
		if got, err := a.Resolve(ref); err != nil || got != want {
			t.Errorf("%q is %s, %v; want %s", ref, got, err, want)
		}
	}
	for _, ref := range []string{
		"", "012", "0123abcde", "gamma", "Alpha", "0123-abcd", "0123abcd0", "0123 abc", three.String() + "0", "{0123abcd",
		"00000000-0000-4000-8000-000000000000",
	} {
		if got, err := a.Resolve(ref); !errors.Is(err, events.ErrAgentNotFound) {
			t.Errorf("%q is %s, %v; want ErrAgentNotFound", ref, got, err)
		} else if !strings.Contains(err.Error(), strconv.Quote(ref)) {
			t.Errorf("%v does not name %q", err, ref)
		}
	}
	var several *events.AmbiguousError
	_, err := a.Resolve("deadb")
	if !errors.As(err, &several) || !errors.Is(err, events.ErrAmbiguousAgent) {
		t.Fatalf("got %v, want an AmbiguousError", err)
	}
	same(t, "matches", *several, events.AmbiguousError{Ref: "deadb", Matches: []events.AgentID{one, two}})
	log.put(events.AgentStream(two), events.AgentRemoved{})
	if got, err := a.Resolve("deadb"); err != nil || got != one {
		t.Fatalf("after a removal: %s, %v", got, err)
	}
	if _, err := a.Resolve("beta"); !errors.Is(err, events.ErrAgentNotFound) {
		t.Fatalf("a removed agent's name is %v", err)
	}
	if _, err := a.Resolve(two.String()); !errors.Is(err, events.ErrAgentNotFound) {
		t.Fatalf("a removed agent's id is %v", err)
	}
}

func TestManyOfOneName(t *testing.T) {
	a := NewAgents("")
	log := newTape(a)
	for i := range byte(50) {
		log.agent(i, deployed(i, "same"))
	}
	for _, ref := range []string{"same", agentID(0).String()[:8]} {
		var several *events.AmbiguousError
		if _, err := a.Resolve(ref); !errors.As(err, &several) {
			t.Fatalf("%q: got %v, want an AmbiguousError", ref, err)
		}
		if len(several.Matches) != maxMatches || several.Matches[0] != agentID(0) || several.Matches[15] != agentID(15) {
			t.Fatalf("%q means %v", ref, several.Matches)
		}
	}
	for i := range byte(49) {
		log.agent(i, events.AgentRemoved{})
	}
	if got, err := a.Resolve("same"); err != nil || got != agentID(49) {
		t.Fatalf("the one that is left: %s, %v", got, err)
	}
}

func TestNamed(t *testing.T) {
	a := NewAgents("")
	log := newTape(a)
	log.agent(1, deployed(1, "twin"))
	log.agent(2, deployed(2, "twin"))
	same(t, "two of a name", a.Named("twin"), []events.AgentID{agentID(1), agentID(2)})
	same(t, "the beginning of an id", a.Named(agentID(1).String()[:8]), []events.AgentID{})
	log.agent(1, events.AgentRemoved{})
	same(t, "after a removal", a.Named("twin"), []events.AgentID{agentID(2)})
}

// A prefix matches as its text does.
func FuzzPrefix(f *testing.F) {
	id := "0123abcd-ef01-4234-8678-9abcdef01234"
	f.Add("")
	f.Add("012")
	f.Add(id)
	f.Add("g123")
	f.Add("0123-abc")
	for _, n := range []int{4, 7, 8, 9, 13, 14, 19, 24, 35} {
		f.Add(id[:n])
		f.Add(strings.ToUpper(id[:n]))
	}
	f.Fuzz(func(t *testing.T, ref string) {
		digits, ok := parsePrefix(ref)
		got := ok && begins(events.AgentID(uuid.MustParse(id)), digits)
		want := len(ref) >= minPrefix && len(ref) < idLength && strings.HasPrefix(id, asciiLower(ref))
		if got != want {
			t.Fatalf("%q: begins is %v, want %v", ref, got, want)
		}
	})
}

// asciiLower leaves other letters alone: "K" (the Kelvin sign) is no k.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
