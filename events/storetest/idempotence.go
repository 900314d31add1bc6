package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/caxton-run/caxton/events"
)

func idempotenceCases() []testCase {
	return []testCase{
		{"the same append again", sameAgain},
		{"the same append again, later", sameLater},
		{"other bytes under a known id", otherBytes},
		{"some events known", partlyKnown},
		{"known at another place", otherPlace},
		{"an id twice in one append", twiceInOne},
		{"ids are of their stream", idsPerStream},
		{"retries beside the original", concurrentRetries},
	}
}

func sameAgain(s *suite) {
	for _, expected := range []events.ExpectedRevision{events.NoStream(), events.Any()} {
		stream := events.Stream("same-" + expected.String())
		evs := eventsNamed(3, "e")
		first := s.must(stream, expected, evs...)
		again := s.must(stream, expected, evs...)
		first.Duplicate = true
		same(s, "second result", again, first)
		if got := s.stream(stream); len(got) != 3 {
			s.Errorf("%s: %d events, want 3", stream, len(got))
		}
	}
	one := event("x")
	s.must("exact-1", events.NoStream(), event("0"))
	s.must("exact-1", events.Exact(0), one)
	r := s.must("exact-1", events.Exact(0), one)
	if !r.Duplicate || r.First != 1 || r.Last != 1 {
		s.Errorf("got %+v", r)
	}
}

// sameLater repeats an append after others followed it.
func sameLater(s *suite) {
	evs := eventsNamed(2, "e")
	first := s.must("later-1", events.NoStream(), evs...)
	s.must("later-1", events.Exact(1), event("f"))
	s.must("other-1", events.Any(), event("g"))
	again := s.must("later-1", events.NoStream(), evs...)
	first.Duplicate = true
	same(s, "result", again, first)
}

func (s *suite) reused(what string, stream events.Stream, expected events.ExpectedRevision, evs ...events.Event) {
	s.Helper()
	if r, err := s.Append(s.ctx, stream, expected, evs...); !errors.Is(err, events.ErrIDReused) {
		s.Errorf("%s: got %+v, %v; want ErrIDReused", what, r, err)
	}
}

func otherBytes(s *suite) {
	original := event("original")
	s.must("bytes-1", events.NoStream(), original)
	changes := map[string]func(*events.Event){
		"data":         func(e *events.Event) { e.Data = []byte(`{"name":"changed!"}`) },
		"metadata":     func(e *events.Event) { e.Metadata = []byte(`{}`) },
		"type":         func(e *events.Event) { e.Type = "Other" },
		"content type": func(e *events.Event) { e.ContentType = events.Binary },
	}
	for what, change := range changes {
		ev := original
		change(&ev)
		s.reused(what, "bytes-1", events.NoStream(), ev)
		s.reused(what, "bytes-1", events.Any(), ev)
		s.reused(what, "bytes-1", events.Exact(0), ev)
	}
	same(s, "stream", labels(s.stream("bytes-1")), []string{"bytes-1@0"})
}

func partlyKnown(s *suite) {
	a, b, c := event("a"), event("b"), event("c")
	s.must("part-1", events.NoStream(), a, b)
	s.reused("known, new", "part-1", events.NoStream(), a, c)
	s.reused("new, known", "part-1", events.Any(), c, a)
	s.reused("all known and one more", "part-1", events.NoStream(), a, b, c)
	s.reused("in another order", "part-1", events.NoStream(), b, a)
	if r := s.must("part-1", events.NoStream(), a); !r.Duplicate || r.First != 0 || r.Last != 0 {
		s.Errorf("a part that is known in order: %+v", r)
	}
	same(s, "stream", labels(s.stream("part-1")), []string{"part-1@0", "part-1@1"})
}

func otherPlace(s *suite) {
	a, b := event("a"), event("b")
	s.must("place-1", events.NoStream(), a, b)
	var wrong *events.WrongRevisionError
	if _, err := s.Append(s.ctx, "place-1", events.Exact(7), a); !errors.As(err, &wrong) {
		s.Errorf("at a place that does not exist: %v, want a WrongRevisionError", err)
	}
	s.reused("at the end", "place-1", events.Exact(1), a)
	if r := s.must("place-1", events.Any(), b); !r.Duplicate || r.First != 1 {
		s.Errorf("Any names no place: %+v", r)
	}
	if got := s.stream("place-1"); len(got) != 2 {
		s.Errorf("%d events, want 2", len(got))
	}
}

func twiceInOne(s *suite) {
	a := event("a")
	s.reused("twice", "twice-1", events.NoStream(), a, event("b"), a)
	if err := s.readError(s.ReadStream(s.ctx, "twice-1", events.ReadStreamOptions{})); !errors.Is(err, events.ErrStreamNotFound) {
		s.Errorf("read: %v", err)
	}
}

func idsPerStream(s *suite) {
	a := event("a")
	s.must("one-1", events.NoStream(), a)
	if r := s.must("two-1", events.NoStream(), a); r.Duplicate {
		s.Error("an id of another stream counted as known")
	}
}

// concurrentRetries appends each event from several goroutines at once, so that
// original and retry meet in one group commit: one of them writes.
func concurrentRetries(s *suite) {
	const copies, count = 6, 40
	var wg sync.WaitGroup
	for i := range count {
		evs := eventsNamed(1+i%3, fmt.Sprint(i))
		stream := events.Stream(fmt.Sprintf("retry-%d", i%4))
		results := make(chan events.Result, copies)
		var round sync.WaitGroup
		for range copies {
			round.Go(func() {
				r, err := s.Append(s.ctx, stream, events.Any(), evs...)
				if err != nil {
					s.Error(err)
				}
				results <- r
			})
		}
		wg.Go(func() {
			round.Wait()
			written := 0
			first := <-results
			for n := range copies {
				r := first
				if n > 0 {
					r = <-results
				}
				if !r.Duplicate {
					written++
				}
				if r.First != first.First || r.Last != first.Last || r.Position != first.Position {
					s.Errorf("copies of one append landed at %+v and %+v", first, r)
				}
			}
			if written != 1 {
				s.Errorf("%d copies were written", written)
			}
		})
	}
	wg.Wait()
}
