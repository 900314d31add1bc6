package pebblestore

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// FuzzFilter reads a log with whatever categories and types, from anywhere, both
// ways: what the indexes give is what looking at each event gives.
func FuzzFilter(f *testing.F) {
	f.Add("agent", "Alpha", uint64(0), false, 0)
	f.Add("agent,inbox", "", uint64(7), true, 3)
	f.Add("", "Beta,Gamma", uint64(1<<63), true, 0)
	f.Add("agent\x00", "Alpha\x00Beta", uint64(3), false, 1)
	f.Add(strings.Repeat("a,", 40), strings.Repeat("Alpha,", 40), uint64(0), false, -1)
	f.Add("agent-1", "\xff", ^uint64(0), false, 0)
	s, err := Open("log", smallOptions(vfs.NewMem()))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	for i := range 40 {
		ev := part(fmt.Sprint(i), 1, 1)[0]
		ev.Type = []events.Type{"Alpha", "Beta", "Alphabet", "Ünïcode"}[i%4]
		stream := []events.Stream{"agent-1", "agents-1", "inbox", "a-b-c", "agent-2"}[i%5]
		if _, err := s.Append(f.Context(), stream, events.Any(), ev); err != nil {
			f.Fatal(err)
		}
	}
	var all []events.Recorded
	for ev, err := range s.ReadAll(f.Context(), events.ReadAllOptions{}) {
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, ev)
	}
	f.Fuzz(func(t *testing.T, categories, types string, from uint64, backwards bool, most int) {
		opts := events.ReadAllOptions{From: events.Position(from), Max: max(0, most)}
		for _, c := range namesIn(categories) {
			opts.Filter.Categories = append(opts.Filter.Categories, events.Category(c))
		}
		for _, c := range namesIn(types) {
			opts.Filter.Types = append(opts.Filter.Types, events.Type(c))
		}
		order := slices.Clone(all)
		if backwards {
			opts.Direction = events.Backwards
			slices.Reverse(order)
		}
		var want, got []events.Position
		for _, ev := range order {
			reached := ev.Position >= opts.From
			if backwards {
				reached = ev.Position <= opts.From
			}
			if reached && opts.Filter.Matches(ev.Stream, ev.Type) && (opts.Max == 0 || len(want) < opts.Max) {
				want = append(want, ev.Position)
			}
		}
		for ev, err := range s.ReadAll(t.Context(), opts) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ev.Position)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: positions %v, want %v", opts, got, want)
		}
	})
}

// namesIn takes a list of names apart; "" is none.
func namesIn(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
