package storetest

import (
	"errors"
	"fmt"

	"github.com/caxton-run/caxton/events"
)

func readCases() []testCase {
	return []testCase{
		{"a stream, from everywhere, both ways", readStream},
		{"the log, from everywhere, both ways", readAll},
		{"filters", filters},
		{"streams that are not there", missingStreams},
		{"a read that stops early", stopEarly},
		{"a long stream", longStream},
		{"a read ends at what was durable when it began", readIsBounded},
		{"bytes belong to the reader", ownBytes},
	}
}

func reversed[T any](in []T) []T {
	out := make([]T, 0, len(in))
	for i := len(in) - 1; i >= 0; i-- {
		out = append(out, in[i])
	}
	return out
}

func firstN[T any](in []T, n int) []T {
	if n > 0 && n < len(in) {
		return in[:n]
	}
	return in
}

func readStream(s *suite) {
	const n = 7
	s.must("aa-1", events.NoStream(), event("before"))
	s.must("ab-1", events.NoStream(), eventsNamed(n, "e")...)
	s.must("ab-10", events.NoStream(), event("after"))
	all := s.stream("ab-1")
	if len(all) != n {
		s.Fatalf("%d events, want %d", len(all), n)
	}
	for _, from := range []events.Revision{0, 1, n - 1, n, n + 5, events.EndOfStream} {
		for _, most := range []int{0, 1, 3, n, 100} {
			at := min(int(min(from, n)), n)
			got := s.collect(s.ReadStream(s.ctx, "ab-1", events.ReadStreamOptions{From: from, Max: most}))
			same(s, fmt.Sprintf("forwards from %d, %d events", from, most), labels(got), labels(firstN(all[at:], most)))

			got = s.collect(s.ReadStream(s.ctx, "ab-1", events.ReadStreamOptions{From: from, Max: most, Direction: events.Backwards}))
			want := firstN(reversed(all[:min(at+1, n)]), most)
			same(s, fmt.Sprintf("backwards from %d, %d events", from, most), labels(got), labels(want))
		}
	}
}

func readAll(s *suite) {
	for i := range 9 {
		s.must(events.Stream(fmt.Sprintf("r-%d", i%2)), events.Any(), event("e"))
	}
	all := s.all()
	if len(all) != 9 {
		s.Fatalf("%d events, want 9", len(all))
	}
	last := all[len(all)-1].Position
	places := []events.Position{0, last + 1, last + 100, events.EndOfLog}
	for _, ev := range all {
		places = append(places, ev.Position)
	}
	for _, from := range places {
		var after, before []events.Recorded
		for _, ev := range all {
			if ev.Position >= from {
				after = append(after, ev)
			}
			if ev.Position <= from {
				before = append(before, ev)
			}
		}
		for _, most := range []int{0, 1, 4, 100} {
			got := s.collect(s.ReadAll(s.ctx, events.ReadAllOptions{From: from, Max: most}))
			same(s, fmt.Sprintf("forwards from %d, %d events", from, most), labels(got), labels(firstN(after, most)))
			got = s.collect(s.ReadAll(s.ctx, events.ReadAllOptions{From: from, Max: most, Direction: events.Backwards}))
			same(s, fmt.Sprintf("backwards from %d, %d events", from, most), labels(got), labels(firstN(reversed(before), most)))
		}
	}
}

// fill writes events of four categories and three types, interleaved.
func (s *suite) fill(n int) []events.Recorded {
	s.Helper()
	for i := range n {
		ev := event(fmt.Sprint(i))
		ev.Type = events.Type([]string{"Alpha", "Beta", "Gamma"}[i%3])
		s.must(events.Stream([]string{"agent-1", "agents-1", "inbox", "module-a-b"}[i%4]), events.Any(), ev)
	}
	return s.all()
}

func filters(s *suite) {
	all := s.fill(60)
	many := make([]events.Category, 100)
	for i := range many {
		many[i] = events.Category(fmt.Sprint("none", i))
	}
	cases := map[string]events.Filter{
		"nothing":             {},
		"one category":        {Categories: []events.Category{"agent"}},
		"whole name":          {Categories: []events.Category{"inbox"}},
		"two categories":      {Categories: []events.Category{"module", "agents"}},
		"the same twice":      {Categories: []events.Category{"agent", "agent"}},
		"one type":            {Types: []events.Type{"Beta"}},
		"two types":           {Types: []events.Type{"Gamma", "Alpha"}},
		"both":                {Categories: []events.Category{"agent", "inbox"}, Types: []events.Type{"Alpha", "Gamma"}},
		"unknown category":    {Categories: []events.Category{"no-such"}},
		"unknown type":        {Types: []events.Type{"NoSuch"}},
		"unknown and known":   {Categories: []events.Category{"zzz", "agent"}, Types: []events.Type{"Beta", "Zeta"}},
		"empty names":         {Categories: []events.Category{""}, Types: []events.Type{""}},
		"names with a zero":   {Categories: []events.Category{"agent\x00"}, Types: []events.Type{"Alpha\x00\x00"}},
		"a great many":        {Categories: append(many, "agent")},
		"category of another": {Categories: []events.Category{"agent-1"}},
	}
	for name, f := range cases {
		var want []events.Recorded
		for _, ev := range all {
			if f.Matches(ev.Stream, ev.Type) {
				want = append(want, ev)
			}
		}
		for _, from := range []int{0, 1, 7, len(all) - 1} {
			pos := all[from].Position
			var after, before []events.Recorded
			for _, ev := range want {
				if ev.Position >= pos {
					after = append(after, ev)
				}
				if ev.Position <= pos {
					before = append(before, ev)
				}
			}
			for _, most := range []int{0, 1, 5} {
				opts := events.ReadAllOptions{From: pos, Filter: f, Max: most}
				same(s, fmt.Sprintf("%s, forwards from %d, %d events", name, pos, most), labels(s.collect(s.ReadAll(s.ctx, opts))), labels(firstN(after, most)))
				opts.Direction = events.Backwards
				same(s, fmt.Sprintf("%s, backwards from %d, %d events", name, pos, most), labels(s.collect(s.ReadAll(s.ctx, opts))), labels(firstN(reversed(before), most)))
			}
		}
	}
}

func missingStreams(s *suite) {
	s.must("here-1", events.Any(), event("x"))
	for _, stream := range []events.Stream{"gone-1", "here", "here-", "here-11", "", "here-1\x00"} {
		for _, dir := range []events.Direction{events.Forwards, events.Backwards} {
			err := s.readError(s.ReadStream(s.ctx, stream, events.ReadStreamOptions{Direction: dir}))
			if !errors.Is(err, events.ErrStreamNotFound) {
				s.Errorf("stream %q: %v, want ErrStreamNotFound", stream, err)
			}
		}
	}
}

func stopEarly(s *suite) {
	s.must("stop-1", events.NoStream(), eventsNamed(50, "e")...)
	seen := 0
	for range s.ReadStream(s.ctx, "stop-1", events.ReadStreamOptions{}) {
		if seen++; seen == 3 {
			break
		}
	}
	for range s.ReadAll(s.ctx, events.ReadAllOptions{}) {
		if seen++; seen == 6 {
			break
		}
	}
	if seen != 6 {
		s.Errorf("saw %d events, want 6", seen)
	}
}

// longStream is longer than any buffer, and its events are scattered over the
// log.
func longStream(s *suite) {
	const appends, each = 60, 25
	for i := range appends {
		s.must("long-1", events.Any(), eventsNamed(each, "l")...)
		s.must(events.Stream(fmt.Sprintf("noise-%d", i)), events.Any(), event("n"))
	}
	got := s.stream("long-1")
	back := s.collect(s.ReadStream(s.ctx, "long-1", events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards}))
	byCategory := s.collect(s.ReadAll(s.ctx, events.ReadAllOptions{Filter: events.Filter{Categories: []events.Category{"long"}}}))
	if len(got) != appends*each {
		s.Fatalf("%d events, want %d", len(got), appends*each)
	}
	same(s, "backwards", labels(reversed(back)), labels(got))
	same(s, "by category", labels(byCategory), labels(got))
	if all := s.all(); len(all) != appends*(each+1) {
		s.Errorf("the log has %d events, want %d", len(all), appends*(each+1))
	}
}

// readIsBounded appends from within the loop over a read: the read must end.
func readIsBounded(s *suite) {
	s.must("grow-1", events.NoStream(), eventsNamed(5, "e")...)
	seen := 0
	for _, err := range s.ReadStream(s.ctx, "grow-1", events.ReadStreamOptions{}) {
		if err != nil {
			s.Fatal(err)
		}
		seen++
		s.must("grow-1", events.Any(), event("more"))
	}
	if seen != 5 {
		s.Errorf("ReadStream yielded %d events, 5 were there when it began", seen)
	}
	seen = 0
	for _, err := range s.ReadAll(s.ctx, events.ReadAllOptions{}) {
		if err != nil {
			s.Fatal(err)
		}
		seen++
		s.must("grow-1", events.Any(), event("more"))
	}
	if seen != 10 {
		s.Errorf("ReadAll yielded %d events, 10 were there when it began", seen)
	}
}

func ownBytes(s *suite) {
	s.must("own-1", events.NoStream(), eventsNamed(3, "e")...)
	first := s.stream("own-1")
	want := string(first[1].Data)
	for _, ev := range s.stream("own-1") {
		clear(ev.Data)
		clear(ev.Metadata)
		_ = append(ev.Metadata, "overrun"...)
	}
	if got := s.stream("own-1"); string(got[1].Data) != want || string(first[1].Data) != want {
		s.Errorf("bytes changed under another reader: %s", got[1].Data)
	}
}
