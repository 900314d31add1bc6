package events

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStreams(t *testing.T) {
	id, err := ParseAgentID(canonical)
	if err != nil {
		t.Fatal(err)
	}
	h := HashModule(nil)
	cases := []struct {
		stream   Stream
		category Category
		agent    bool
	}{
		{AgentStream(id), CategoryAgent, true},
		{InboxStream(id), CategoryInbox, true},
		{SnapshotStream(id), CategorySnapshot, true},
		{BaseStream(id), CategoryBase, true},
		{ModuleStream(h), CategoryModule, false},
		{"agent-x", CategoryAgent, false},
		{"agent", CategoryAgent, false},
		{"agents-" + Stream(canonical), "agents", false},
		{"operator-" + Stream(canonical), "operator", false},
		{"-x", "", false},
		{"a-b-c", "a", false},
		{"", "", false},
	}
	for _, c := range cases {
		got, ok := c.stream.AgentID()
		if c.stream.Category() != c.category || ok != c.agent || (ok && got != id) {
			t.Errorf("%q: category %q, agent %s, %v", c.stream, c.stream.Category(), got, ok)
		}
	}
}

func TestStreamValidate(t *testing.T) {
	for _, s := range []Stream{"a", "agent-1", "$ce-agent", "ünï cödé", Stream(strings.Repeat("x", MaxStreamName))} {
		if err := s.Validate(); err != nil {
			t.Errorf("%.20q: %v", s, err)
		}
	}
	for _, s := range []Stream{"", "a\x00", "\n", "a\x7f", "\xff", Stream(strings.Repeat("x", MaxStreamName+1))} {
		if err := s.Validate(); field(t, err) != "stream" {
			t.Errorf("%.20q: %v", s, err)
		}
	}
}

func FuzzStream(f *testing.F) {
	for _, s := range []string{"", "agent-" + canonical, "inbox-{" + canonical[:34] + "}", "-", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		s := Stream(raw)
		if err := s.Validate(); err == nil && (raw == "" || strings.ContainsRune(raw, 0) || !utf8.ValidString(raw)) {
			t.Errorf("%q is valid", raw)
		}
		if !strings.HasPrefix(raw, string(s.Category())) || strings.Contains(string(s.Category()), "-") {
			t.Errorf("%q has category %q", raw, s.Category())
		}
		if id, ok := s.AgentID(); ok && !strings.EqualFold(raw, string(s.Category())+"-"+id.String()) {
			t.Errorf("%q is of agent %s", raw, id)
		}
	})
}

func TestExpectedRevision(t *testing.T) {
	heads := []struct {
		rev    Revision
		exists bool
	}{{0, false}, {0, true}, {3, true}, {EndOfStream, true}}
	cases := []struct {
		e     ExpectedRevision
		text  string
		match [4]bool
	}{
		{ExpectedRevision{}, "any", [4]bool{true, true, true, true}},
		{Any(), "any", [4]bool{true, true, true, true}},
		{NoStream(), "no stream", [4]bool{true, false, false, false}},
		{StreamExists(), "stream exists", [4]bool{false, true, true, true}},
		{Exact(0), "0", [4]bool{false, true, false, false}},
		{Exact(3), "3", [4]bool{false, false, true, false}},
		{Exact(EndOfStream), "9223372036854775807", [4]bool{false, false, false, true}},
	}
	for _, c := range cases {
		if c.e.String() != c.text || c.e.IsAny() != (c.text == "any") {
			t.Errorf("%s is %q", c.text, c.e)
		}
		if r, ok := c.e.Exactly(); ok != (c.e == Exact(r)) {
			t.Errorf("%s: Exactly is %d, %v", c.text, r, ok)
		}
		for i, h := range heads {
			if c.e.Matches(h.rev, h.exists) != c.match[i] {
				t.Errorf("%s of a stream at %d (exists %v): %v", c.text, h.rev, h.exists, !c.match[i])
			}
		}
		b, err := c.e.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		back := Exact(77)
		if err := back.UnmarshalBinary(b); err != nil || back != c.e {
			t.Errorf("%s: %x reads as %s, %v", c.text, b, back, err)
		}
	}
}

func FuzzExpectedRevision(f *testing.F) {
	for _, e := range []ExpectedRevision{Any(), NoStream(), StreamExists(), Exact(1 << 40)} {
		b, err := e.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{4, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e ExpectedRevision
		if err := e.UnmarshalBinary(b); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		again, err := e.MarshalBinary()
		if err != nil || string(again) != string(b) {
			t.Errorf("%x reads as %s, which is written as %x, %v", b, e, again, err)
		}
	})
}

func TestFilter(t *testing.T) {
	cases := []struct {
		f    Filter
		s    Stream
		t    Type
		want bool
	}{
		{Filter{}, "a-1", "T", true},
		{Filter{Categories: []Category{"a"}}, "a-1", "T", true},
		{Filter{Categories: []Category{"a"}}, "ab-1", "T", false},
		{Filter{Categories: []Category{"b", "a"}}, "a", "T", true},
		{Filter{Types: []Type{"T"}}, "a-1", "T", true},
		{Filter{Types: []Type{"T"}}, "a-1", "TT", false},
		{Filter{Categories: []Category{"a"}, Types: []Type{"U"}}, "a-1", "T", false},
		{Filter{Categories: []Category{"b"}, Types: []Type{"T"}}, "a-1", "T", false},
	}
	for _, c := range cases {
		if got := c.f.Matches(c.s, c.t); got != c.want {
			t.Errorf("%+v of %s %s: %v", c.f, c.s, c.t, got)
		}
	}
}
