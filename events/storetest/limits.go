package storetest

import (
	"errors"
	"strings"

	"github.com/caxton-run/caxton/events"
)

func limitCases() []testCase {
	return []testCase{
		{"an append of 1 MiB fits, one byte more does not", sizeLimit},
		{"an append of many events fits, one more does not", countLimit},
		{"bad appends are invalid", badAppends},
	}
}

func sizeLimit(s *suite) {
	ev := events.Event{ID: events.NewEventID(), Type: "Big", ContentType: events.Binary}
	ev.Data = make([]byte, events.MaxAppendBytes-ev.Size())
	s.must("big-1", events.NoStream(), ev)
	if got := s.stream("big-1"); len(got) != 1 || len(got[0].Data) != len(ev.Data) {
		s.Error("the largest event did not come back")
	}
	more := ev
	more.ID, more.Data = events.NewEventID(), make([]byte, len(ev.Data)+1)
	s.refuses("one event too large", "big-2", events.ErrTooLarge, more)
	half := ev
	half.Data = ev.Data[:len(ev.Data)/2+1]
	other := half
	half.ID, other.ID = events.NewEventID(), events.NewEventID()
	s.refuses("two events together too large", "big-2", events.ErrTooLarge, half, other, event("x"))
}

func countLimit(s *suite) {
	evs := make([]events.Event, events.MaxAppendEvents+1)
	for i := range evs {
		evs[i] = events.Event{ID: events.NewEventID(), Type: "T", ContentType: events.JSON, Data: []byte("{}")}
	}
	s.refuses("too many events", "many-1", events.ErrTooLarge, evs...)
	r := s.must("many-1", events.NoStream(), evs[1:]...)
	if r.First != 0 || r.Last != events.MaxAppendEvents-1 {
		s.Errorf("got %+v", r)
	}
	if got := s.stream("many-1"); len(got) != events.MaxAppendEvents {
		s.Errorf("read %d events", len(got))
	}
}

func badAppends(s *suite) {
	invalid := func(what string, stream events.Stream, evs ...events.Event) {
		s.Helper()
		var inv *events.InvalidError
		if _, err := s.Append(s.ctx, stream, events.Any(), evs...); !errors.As(err, &inv) {
			s.Errorf("%s: got %v, want an InvalidError", what, err)
		}
	}
	invalid("no name", "", event("x"))
	invalid("long name", events.Stream(strings.Repeat("s", events.MaxStreamName+1)), event("x"))
	invalid("zero byte", "agent-\x00", event("x"))
	invalid("no UTF-8", "agent-\xff", event("x"))
	invalid("no events", "agent-1")
	if pos, ok, err := s.Head(s.ctx); ok || err != nil {
		s.Errorf("the log is not empty: %d, %v", pos, err)
	}
	longest := events.Stream(strings.Repeat("s", events.MaxStreamName))
	s.must(longest, events.NoStream(), event("x"))
	same(s, "the longest name", labels(s.all()), []string{string(longest) + "@0"})
}

// refuses expects an append to fail with want and to leave no trace.
func (s *suite) refuses(what string, stream events.Stream, want error, evs ...events.Event) {
	s.Helper()
	if r, err := s.Append(s.ctx, stream, events.Any(), evs...); !errors.Is(err, want) {
		s.Errorf("%s: got %+v, %v; want %v", what, r, err, want)
	}
	if err := s.readError(s.ReadStream(s.ctx, stream, events.ReadStreamOptions{})); !errors.Is(err, events.ErrStreamNotFound) {
		s.Errorf("%s: stream reads with %v", what, err)
	}
}
