package events

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"testing"
	"time"
)

// shelf is a stream of an agent whose first events are hidden.
type shelf struct {
	md   StreamMetadata
	last Revision
}

func (s *shelf) ReadStream(_ context.Context, _ Stream, o ReadStreamOptions) iter.Seq2[Recorded, error] {
	return func(yield func(Recorded, error) bool) {
		n := 0
		for rev := max(o.From, s.md.TruncateBefore); rev <= s.last && (o.Max == 0 || n < o.Max); rev++ {
			if n++; !yield(Recorded{Revision: rev}, nil) {
				return
			}
		}
	}
}

func (s *shelf) StreamMetadata(context.Context, Stream) (StreamMetadata, Revision, bool, error) {
	return s.md, 0, true, nil
}

func TestTrimmed(t *testing.T) {
	id, ctx := AgentID{1}, t.Context()
	s := &shelf{last: 20}
	if _, ok, err := Trimmed(ctx, s, id); ok || err != nil {
		t.Fatalf("a whole history: %v %v", ok, err)
	}
	if err := Removed(ctx, s, id, 0); err != nil {
		t.Fatalf("a whole history: %v", err)
	}
	s.md = StreamMetadata{MaxAge: time.Hour, Custom: map[string]json.RawMessage{"theirs": json.RawMessage(`1`)}}
	was := s.md.Custom
	want := Trim{Before: 7, Event: 9, At: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}
	s.md = want.In(s.md)
	if s.md.MaxAge != time.Hour || string(s.md.Custom["theirs"]) != "1" || len(was) != 1 {
		t.Errorf("other metadata: %+v, and before %v", s.md, was)
	}
	if err := s.md.Validate(); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := Trimmed(ctx, s, id); got != want || !ok || err != nil {
		t.Errorf("got %+v %v %v", got, ok, err)
	}
	var gone *HistoryRemovedError
	if err := Removed(ctx, s, id, 6); !errors.As(err, &gone) || gone.Before != 7 || gone.At != want.At || gone.Agent != id {
		t.Errorf("below: %v", err)
	}
	if err := Removed(ctx, s, id, 7); err != nil {
		t.Errorf("the first that is kept: %v", err)
	}
	s.md.Custom = map[string]json.RawMessage{trimKey: json.RawMessage(`"x"`)}
	if _, _, err := Trimmed(ctx, s, id); !errors.Is(err, ErrCorrupt) {
		t.Errorf("damaged: %v", err)
	}
	s.md.Custom = nil
	if got, ok, err := Trimmed(ctx, s, id); got != (Trim{Before: 7}) || !ok || err != nil {
		t.Errorf("hidden by somebody else: %+v %v %v", got, ok, err)
	}
}

// A read of a stream passes over what is hidden, so whoever wants one revision must
// not take the next for it.
func TestEventAt(t *testing.T) {
	s := &shelf{last: 20}
	s.md = Trim{Before: 7, Event: 9}.In(s.md)
	if rec, err := EventAt(t.Context(), s, AgentID{1}, 7); err != nil || rec.Revision != 7 {
		t.Errorf("%d %v", rec.Revision, err)
	}
	if _, err := EventAt(t.Context(), s, AgentID{1}, 6); !errors.Is(err, ErrHistoryRemoved) {
		t.Errorf("one that was removed: %v", err)
	}
	if _, err := EventAt(t.Context(), s, AgentID{1}, 21); !errors.Is(err, ErrCorrupt) {
		t.Errorf("one that never was: %v", err)
	}
}
