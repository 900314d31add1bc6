package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

func appendCases() []testCase {
	return []testCase{
		{"every expectation against every stream", expectations},
		{"what is read is what was appended", roundTrip},
		{"revisions have no gaps and positions grow", numbering},
		{"an append is whole", wholeAppend},
		{"one of many writers wins each revision", racingWriters},
		{"many writers to one stream lose nothing", sharedStream},
	}
}

func expectations(s *suite) {
	for _, length := range []int{0, 1, 3} {
		last := events.Revision(max(length-1, 0))
		cases := []struct {
			expected events.ExpectedRevision
			ok       bool
		}{
			{events.Any(), true},
			{events.NoStream(), length == 0},
			{events.StreamExists(), length > 0},
			{events.Exact(0), length == 1},
			{events.Exact(1), false},
			{events.Exact(2), length == 3},
			{events.Exact(3), false},
			{events.Exact(events.EndOfStream), false},
		}
		for _, c := range cases {
			s.Run(fmt.Sprintf("%s of %d events", c.expected, length), func(t *testing.T) {
				stream := events.Stream(fmt.Sprintf("t%d-%s", length, strings.ReplaceAll(c.expected.String(), " ", "_")))
				if length > 0 {
					s.must(stream, events.NoStream(), eventsNamed(length, "old")...)
				}
				r, err := s.Append(s.ctx, stream, c.expected, event("new"))
				if c.ok {
					if want := events.Revision(length); err != nil || r.First != want || r.Last != want || r.Duplicate {
						t.Fatalf("got %+v, %v; want revision %d", r, err, want)
					}
					return
				}
				var wrong *events.WrongRevisionError
				if !errors.As(err, &wrong) {
					t.Fatalf("got %+v, %v; want a WrongRevisionError", r, err)
				}
				if wrong.Stream != stream || wrong.Expected != c.expected || wrong.Exists != (length > 0) || (wrong.Exists && wrong.Actual != last) {
					t.Errorf("error is %+v, the stream has %d events", *wrong, length)
				}
			})
		}
	}
}

func roundTrip(s *suite) {
	evs := []events.Event{
		event("json"),
		{ID: events.NewEventID(), Type: "Blob", ContentType: events.Binary, Data: []byte{0, 1, 0xff, 0}},
		{ID: events.NewEventID(), Type: "Ünïcode", ContentType: events.JSON, Data: []byte(`"ü"`), Metadata: []byte(`{"$correlationId":"a\u0000b"}`)},
		{ID: events.NewEventID(), Type: "Empty", ContentType: events.JSON, Data: []byte(`{}`)},
	}
	before := time.Now().Add(-time.Minute)
	r := s.must("round-trip", events.NoStream(), evs...)
	got := s.stream("round-trip")
	if len(got) != len(evs) {
		s.Fatalf("read %d events, want %d", len(got), len(evs))
	}
	for i, g := range got {
		if g.ID != evs[i].ID || g.Type != evs[i].Type || g.ContentType != evs[i].ContentType ||
			string(g.Data) != string(evs[i].Data) || string(g.Metadata) != string(evs[i].Metadata) {
			s.Errorf("event %d: got %+v, want %+v", i, g.Event, evs[i])
		}
		if g.Stream != "round-trip" || g.Revision != events.Revision(i) {
			s.Errorf("event %d stands at %s", i, label(g))
		}
		if g.RecordedAt.Location() != time.UTC || g.RecordedAt.Before(before) || g.RecordedAt.After(time.Now().Add(time.Minute)) {
			s.Errorf("event %d recorded at %v", i, g.RecordedAt)
		}
	}
	if last := got[len(got)-1].Position; r.Position != last {
		s.Errorf("Result.Position is %d, the last event's %d", r.Position, last)
	}
}

func numbering(s *suite) {
	var results []events.Result
	for i := range 20 {
		stream := events.Stream(fmt.Sprintf("n-%d", i%3))
		results = append(results, s.must(stream, events.Any(), eventsNamed(1+i%4, "e")...))
	}
	next := map[events.Stream]events.Revision{}
	var last events.Position
	for i, ev := range s.all() {
		if ev.Revision != next[ev.Stream] {
			s.Errorf("%s, want revision %d", label(ev), next[ev.Stream])
		}
		if i > 0 && ev.Position <= last {
			s.Errorf("position %d after %d", ev.Position, last)
		}
		next[ev.Stream]++
		last = ev.Position
	}
	final := results[len(results)-1]
	if pos, ok, err := s.Head(s.ctx); err != nil || !ok || pos != last || pos != final.Position {
		s.Errorf("Head is %d, %v, %v; want %d", pos, ok, err, last)
	}
}

// wholeAppend reads while appends of ten go in: a read sees all ten of one or
// none.
func wholeAppend(s *suite) {
	const appends, size = 40, 10
	done := make(chan error, 1)
	go func() {
		for i := range appends {
			if _, err := s.Append(s.ctx, "whole-1", events.Any(), eventsNamed(size, fmt.Sprint(i, "-"))...); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for seen := 0; seen < appends*size; {
		seen = len(s.all())
		if seen%size != 0 {
			s.Errorf("a read saw %d events: part of an append", seen)
			break
		}
		if s.ctx.Err() != nil {
			s.Fatal("the appends did not come through")
		}
	}
	if err := <-done; err != nil {
		s.Error(err)
	}
}

// racingWriters lets eight writers append to one stream with exact
// expectations.
func racingWriters(s *suite) {
	const writers, target = 8, 100
	var won, lost atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			next := 0
			for next < target {
				expected := events.NoStream()
				if next > 0 {
					expected = events.Exact(events.Revision(next - 1))
				}
				r, err := s.Append(s.ctx, "race-1", expected, event(fmt.Sprint(w)))
				var wrong *events.WrongRevisionError
				switch {
				case err == nil && int(r.First) == next:
					won.Add(1)
					next++
				case errors.As(err, &wrong):
					lost.Add(1)
					next = int(wrong.Actual) + 1
				default:
					s.Errorf("writer %d: %+v, %v", w, r, err)
					return
				}
			}
		})
	}
	wg.Wait()
	got := s.stream("race-1")
	if len(got) != int(won.Load()) {
		s.Errorf("%d appends were acknowledged, the stream has %d events (%d lost races)", won.Load(), len(got), lost.Load())
	}
	for i, ev := range got {
		if ev.Revision != events.Revision(i) {
			s.Fatalf("event %d has revision %d", i, ev.Revision)
		}
	}
}

func sharedStream(s *suite) {
	const writers, each = 16, 20
	var acked sync.Map
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				ev := event(fmt.Sprint(w, "/", i))
				r, err := s.Append(s.ctx, "shared-1", events.Any(), ev)
				if err != nil {
					s.Errorf("writer %d: %v", w, err)
					return
				}
				acked.Store(ev.ID, r.First)
			}
		})
	}
	wg.Wait()
	got := s.stream("shared-1")
	if len(got) != writers*each {
		s.Fatalf("%d events, want %d", len(got), writers*each)
	}
	for _, ev := range got {
		if rev, ok := acked.Load(ev.ID); !ok || rev != ev.Revision {
			s.Errorf("event %s stands at revision %d, was acknowledged at %v", ev.ID, ev.Revision, rev)
		}
	}
}
