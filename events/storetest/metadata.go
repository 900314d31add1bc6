package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

func metadataCases() []testCase {
	return []testCase{
		{"metadata are kept and replaced", metadataRoundTrip},
		{"metadata out of bounds are refused", metadataBounds},
		{"expectations of metadata are about metadata", metadataExpectations},
		{"$maxCount shows the newest", maxCount},
		{"$maxAge hides what was recorded before", maxAge},
		{"$tb hides what stands before", truncateBefore},
		{"the rules together hide what any of them hides", rulesTogether},
		{"metadata before the stream", metadataFirst},
		{"the log's own names are not for appends", systemNames},
	}
}

func deleteCases() []testCase {
	return []testCase{
		{"every expectation of a deletion", deleteExpectations},
		{"a deleted stream reads as none and begins anew", recreate},
		{"deletion keeps the other metadata", deleteKeepsMetadata},
		{"a tombstone is for ever", tombstone},
		{"a tombstone for a stream that never was", tombstoneOfNothing},
		{"a subscription ends at the tombstone", tombstoneUnderSubscription},
		{"deletion hides nothing of the whole log's order", deletedInAll},
	}
}

// set sets metadata and fails the test if that fails.
func (s *suite) set(stream events.Stream, expected events.ExpectedRevision, md events.StreamMetadata) events.Result {
	s.Helper()
	r, err := s.SetStreamMetadata(s.ctx, stream, expected, md)
	if err != nil {
		s.Fatalf("SetStreamMetadata(%s, %s, %+v): %v", stream, expected, md, err)
	}
	return r
}

// wants fails the test unless err is want.
func (s *suite) wants(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// wrong fails the test unless err is a WrongRevisionError about stream.
func (s *suite) wrong(what string, err error, stream events.Stream) {
	s.Helper()
	var w *events.WrongRevisionError
	if !errors.As(err, &w) || w.Stream != stream {
		s.Errorf("%s: got %v, want a WrongRevisionError about %s", what, err, stream)
	}
}

func metadataRoundTrip(s *suite) {
	s.must("a-1", events.NoStream(), event("x"))
	if md, _, ok, err := s.StreamMetadata(s.ctx, "a-1"); ok || err != nil {
		s.Errorf("a stream without metadata has %+v, %v", md, err)
	}
	first := events.StreamMetadata{
		MaxCount: 7, MaxAge: 90 * time.Second, TruncateBefore: 1,
		Custom: map[string]json.RawMessage{"owner": json.RawMessage(`"ada"`), "n": json.RawMessage(`[1,2]`)},
	}
	s.set("a-1", events.NoStream(), first)
	got, at, ok, err := s.StreamMetadata(s.ctx, "a-1")
	if !ok || err != nil || at != 0 {
		s.Errorf("metadata: revision %d, %v, %v", at, ok, err)
	}
	same(s, "metadata", got, first)
	second := events.StreamMetadata{MaxCount: 2}
	s.set("a-1", events.Exact(0), second)
	got, at, _, err = s.StreamMetadata(s.ctx, "a-1")
	if err != nil || at != 1 {
		s.Errorf("replaced metadata: revision %d, %v", at, err)
	}
	same(s, "replaced metadata", got, second)
	history := s.stream(events.MetadataStream("a-1"))
	same(s, "the stream of metadata", labels(history), []string{"$$a-1@0", "$$a-1@1"})
	for _, ev := range history {
		if ev.Type != events.TypeStreamMetadata || ev.ContentType != events.JSON {
			s.Errorf("%s is %s, %s", label(ev), ev.Type, ev.ContentType)
		}
	}
}

func metadataBounds(s *suite) {
	deep := json.RawMessage(strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)) // reads, but not one level further down
	s.must("a-1", events.NoStream(), eventsNamed(2, "x")...)
	big := json.RawMessage(fmt.Sprintf("%q", make([]byte, events.MaxStreamMetadata)))
	for name, md := range map[string]events.StreamMetadata{
		"$maxCount":                {MaxCount: 1 << 63},
		"$maxAge below 0":          {MaxAge: -time.Second},
		"$maxAge of half a second": {MaxAge: time.Second / 2},
		"$maxAge beyond all":       {MaxAge: events.MaxStreamAge + time.Second},
		"$tb beyond the next":      {TruncateBefore: 3},
		"$tb beyond all":           {TruncateBefore: events.EndOfStream + 1},
		"a custom $key":            {Custom: map[string]json.RawMessage{"$acl": json.RawMessage(`1`)}},
		"custom that is no JSON":   {Custom: map[string]json.RawMessage{"k": json.RawMessage(`{`)}},
		"nesting too deep":         {Custom: map[string]json.RawMessage{"k": deep}},
		"too large":                {Custom: map[string]json.RawMessage{"k": big}},
	} {
		s.Run(name, func(t *testing.T) {
			var invalid *events.InvalidError
			if _, err := s.SetStreamMetadata(s.ctx, "a-1", events.Any(), md); !errors.As(err, &invalid) {
				t.Errorf("got %v, want an InvalidError", err)
			}
		})
	}
	if _, _, ok, err := s.StreamMetadata(s.ctx, "a-1"); ok || err != nil {
		s.Errorf("refused metadata are there: %v, %v", ok, err)
	}
}

func metadataExpectations(s *suite) {
	s.must("a-1", events.NoStream(), eventsNamed(5, "x")...)
	md := events.StreamMetadata{MaxCount: 3}
	meta := events.MetadataStream("a-1")
	_, err := s.SetStreamMetadata(s.ctx, "a-1", events.StreamExists(), md)
	s.wrong("StreamExists before any", err, meta)
	_, err = s.SetStreamMetadata(s.ctx, "a-1", events.Exact(4), md)
	s.wrong("the stream's own revision", err, meta)
	s.set("a-1", events.NoStream(), md)
	_, err = s.SetStreamMetadata(s.ctx, "a-1", events.NoStream(), md)
	s.wrong("NoStream after the first", err, meta)
	s.set("a-1", events.Any(), md)
	if r := s.set("a-1", events.Exact(1), md); r.Last != 2 {
		s.Errorf("the third change has revision %d", r.Last)
	}
	if r := s.must("a-1", events.Exact(4), event("y")); r.First != 5 {
		s.Errorf("metadata moved the stream's revision to %d", r.First)
	}
}

func (s *suite) backwards(stream events.Stream, from events.Revision) []events.Recorded {
	s.Helper()
	return s.collect(s.ReadStream(s.ctx, stream, events.ReadStreamOptions{From: from, Direction: events.Backwards}))
}

func maxCount(s *suite) {
	s.must("a-1", events.NoStream(), eventsNamed(5, "x")...)
	s.set("a-1", events.NoStream(), events.StreamMetadata{MaxCount: 2})
	same(s, "read", labels(s.stream("a-1")), []string{"a-1@3", "a-1@4"})
	same(s, "backwards", labels(s.backwards("a-1", events.EndOfStream)), []string{"a-1@4", "a-1@3"})
	same(s, "backwards from a hidden one", labels(s.backwards("a-1", 2)), []string{})
	s.must("a-1", events.Exact(4), event("y"))
	same(s, "read after one more", labels(s.stream("a-1")), []string{"a-1@4", "a-1@5"})
	same(s, "subscribed", labels(s.take(s.subscribeStream("a-1", 0), 2)), []string{"a-1@4", "a-1@5"})
	same(s, "with a bound", labels(s.collect(s.ReadStream(s.ctx, "a-1", events.ReadStreamOptions{Max: 1}))), []string{"a-1@4"})
}

func maxAge(s *suite) {
	s.must("a-1", events.NoStream(), eventsNamed(3, "x")...)
	s.set("a-1", events.NoStream(), events.StreamMetadata{MaxAge: time.Hour})
	same(s, "young enough", len(s.stream("a-1")), 3)
	// That events do grow old is tested with each engine's own clock.
	s.set("a-1", events.Exact(0), events.StreamMetadata{MaxAge: events.MaxStreamAge})
	same(s, "younger than 100 years", len(s.stream("a-1")), 3)
}

func truncateBefore(s *suite) {
	s.must("a-1", events.NoStream(), eventsNamed(4, "x")...)
	s.set("a-1", events.NoStream(), events.StreamMetadata{TruncateBefore: 3})
	same(s, "read", labels(s.stream("a-1")), []string{"a-1@3"})
	same(s, "read from a hidden one", labels(s.collect(s.ReadStream(s.ctx, "a-1", events.ReadStreamOptions{From: 1}))), []string{"a-1@3"})
	sub := s.subscribeStream("a-1", 0)
	same(s, "subscribed", labels(s.take(sub, 1)), []string{"a-1@3"})
	s.must("a-1", events.Exact(3), event("y"))
	same(s, "subscribed, live", labels(s.take(sub, 1)), []string{"a-1@4"})
	s.set("a-1", events.Exact(0), events.StreamMetadata{})
	same(s, "shown again, as nothing was scavenged", len(s.stream("a-1")), 5)
}

func rulesTogether(s *suite) {
	s.must("a-1", events.NoStream(), eventsNamed(6, "x")...)
	for i, c := range []struct {
		md   events.StreamMetadata
		want []string
	}{
		{events.StreamMetadata{MaxCount: 3, TruncateBefore: 2, MaxAge: time.Hour}, []string{"a-1@3", "a-1@4", "a-1@5"}},
		{events.StreamMetadata{MaxCount: 3, TruncateBefore: 5}, []string{"a-1@5"}},
		{events.StreamMetadata{MaxCount: 9, TruncateBefore: 4}, []string{"a-1@4", "a-1@5"}},
	} {
		expected := events.NoStream()
		if i > 0 {
			expected = events.Exact(events.Revision(i - 1))
		}
		s.set("a-1", expected, c.md)
		same(s, fmt.Sprintf("forwards under %+v", c.md), labels(s.stream("a-1")), c.want)
		same(s, fmt.Sprintf("backwards under %+v", c.md), labels(s.backwards("a-1", events.EndOfStream)), reversed(c.want))
		first := s.collect(s.ReadStream(s.ctx, "a-1", events.ReadStreamOptions{Max: 1}))
		same(s, fmt.Sprintf("the first under %+v", c.md), labels(first), c.want[:1])
	}
	// What is hidden still counts: for revisions, for expectations, for retries.
	evs := s.all()
	if r := s.must("a-1", events.NoStream(), evs[0].Event, evs[1].Event, evs[2].Event, evs[3].Event, evs[4].Event, evs[5].Event); !r.Duplicate {
		s.Errorf("a retry of hidden events: %+v", r)
	}
	if r := s.must("a-1", events.Exact(5), event("next")); r.First != 6 {
		s.Errorf("the next event has revision %d", r.First)
	}
}

func metadataFirst(s *suite) {
	s.set("a-1", events.NoStream(), events.StreamMetadata{MaxCount: 1})
	s.wants("read before the first event", s.readError(s.ReadStream(s.ctx, "a-1", events.ReadStreamOptions{})), events.ErrStreamNotFound)
	s.must("a-1", events.NoStream(), eventsNamed(3, "x")...)
	same(s, "read", labels(s.stream("a-1")), []string{"a-1@2"})
}

func systemNames(s *suite) {
	for name, try := range map[string]func() error{
		"a stream": func() error { _, err := s.Append(s.ctx, "$mine", events.Any(), event("x")); return err },
		"metadata": func() error { _, err := s.Append(s.ctx, "$$a-1", events.Any(), event("x")); return err },
		"a type": func() error {
			ev := event("x")
			ev.Type = "$streamDeleted"
			_, err := s.Append(s.ctx, "a-1", events.Any(), ev)
			return err
		},
		"metadata of metadata": func() error {
			_, err := s.SetStreamMetadata(s.ctx, "$$a-1", events.Any(), events.StreamMetadata{MaxCount: 1})
			return err
		},
		"deletion":  func() error { _, err := s.Delete(s.ctx, "$$a-1", events.Any()); return err },
		"tombstone": func() error { _, err := s.Tombstone(s.ctx, "$mine", events.Any()); return err },
	} {
		var invalid *events.InvalidError
		if err := try(); !errors.As(err, &invalid) {
			s.Errorf("%s: got %v, want an InvalidError", name, err)
		}
	}
	same(s, "the log", labels(s.all()), []string{})
}

func deleteExpectations(s *suite) {
	for _, c := range []struct {
		name     string
		expected events.ExpectedRevision
		length   int
		want     error // nil: deleted
		wrong    bool
	}{
		{"any of 2", events.Any(), 2, nil, false},
		{"exists of 2", events.StreamExists(), 2, nil, false},
		{"exact of 2", events.Exact(1), 2, nil, false},
		{"stale of 2", events.Exact(0), 2, nil, true},
		{"none of 2", events.NoStream(), 2, nil, true},
		{"any of 0", events.Any(), 0, events.ErrStreamNotFound, false},
		{"none of 0", events.NoStream(), 0, events.ErrStreamNotFound, false},
		{"exists of 0", events.StreamExists(), 0, nil, true},
		{"exact of 0", events.Exact(0), 0, nil, true},
	} {
		stream := events.Stream("d-" + c.name)
		if c.length > 0 {
			s.must(stream, events.NoStream(), eventsNamed(c.length, "x")...)
		}
		_, err := s.Delete(s.ctx, stream, c.expected)
		switch {
		case c.wrong:
			s.wrong(c.name, err, stream)
		case !errors.Is(err, c.want):
			s.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if err == nil {
			_, err = s.Delete(s.ctx, stream, events.Any())
			s.wants(c.name+", again", err, events.ErrStreamNotFound)
		}
	}
}

func recreate(s *suite) {
	s.must("a-1", events.NoStream(), eventsNamed(3, "old")...)
	if _, err := s.Delete(s.ctx, "a-1", events.Exact(2)); err != nil {
		s.Fatal(err)
	}
	s.wants("read", s.readError(s.ReadStream(s.ctx, "a-1", events.ReadStreamOptions{})), events.ErrStreamNotFound)
	s.wants("backwards", s.readError(s.ReadStream(s.ctx, "a-1", events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards})), events.ErrStreamNotFound)
	_, err := s.Append(s.ctx, "a-1", events.StreamExists(), event("new"))
	s.wrong("an append to what should exist", err, "a-1")
	sub := s.subscribeStream("a-1", 0)
	first := event("new")
	if r := s.must("a-1", events.NoStream(), first); r.First != 3 {
		s.Errorf("the new stream begins with revision %d, want 3", r.First)
	}
	if r := s.must("a-1", events.NoStream(), first); !r.Duplicate || r.First != 3 {
		s.Errorf("the same append again: %+v", r)
	}
	s.must("a-1", events.Exact(3), event("newer"))
	same(s, "read", labels(s.stream("a-1")), []string{"a-1@3", "a-1@4"})
	same(s, "subscribed", labels(s.take(sub, 2)), []string{"a-1@3", "a-1@4"})
	if _, err := s.Delete(s.ctx, "a-1", events.Any()); err != nil {
		s.Fatal(err)
	}
	if r := s.must("a-1", events.NoStream(), event("newest")); r.First != 5 {
		s.Errorf("the third life begins with revision %d, want 5", r.First)
	}
}

func deleteKeepsMetadata(s *suite) {
	s.must("a-1", events.NoStream(), eventsNamed(2, "x")...)
	custom := map[string]json.RawMessage{"owner": json.RawMessage(`"ada"`)}
	s.set("a-1", events.NoStream(), events.StreamMetadata{MaxCount: 9, Custom: custom})
	if _, err := s.Delete(s.ctx, "a-1", events.Any()); err != nil {
		s.Fatal(err)
	}
	md, _, ok, err := s.StreamMetadata(s.ctx, "a-1")
	if !ok || err != nil {
		s.Fatalf("metadata: %v, %v", ok, err)
	}
	same(s, "metadata", md, events.StreamMetadata{MaxCount: 9, TruncateBefore: 2, Custom: custom})
}

func tombstone(s *suite) {
	s.must("a-1", events.NoStream(), eventsNamed(2, "x")...)
	_, err := s.Tombstone(s.ctx, "a-1", events.Exact(0))
	s.wrong("a stale tombstone", err, "a-1")
	if _, err := s.Tombstone(s.ctx, "a-1", events.Exact(1)); err != nil {
		s.Fatal(err)
	}
	s.entombed("a-1")
	all := s.all()
	if last := all[len(all)-1]; last.Type != events.TypeStreamDeleted || last.Stream != "a-1" {
		s.Errorf("the log ends with %s of %s", last.Type, last.Stream)
	}
}

// entombed checks that every call about stream is refused.
func (s *suite) entombed(stream events.Stream) {
	s.Helper()
	_, err := s.Append(s.ctx, stream, events.Any(), event("y"))
	s.wants("Append", err, events.ErrStreamDeleted)
	_, err = s.Append(s.ctx, stream, events.NoStream(), event("y"))
	s.wants("Append to no stream", err, events.ErrStreamDeleted)
	_, err = s.Delete(s.ctx, stream, events.Any())
	s.wants("Delete", err, events.ErrStreamDeleted)
	_, err = s.Tombstone(s.ctx, stream, events.Any())
	s.wants("Tombstone", err, events.ErrStreamDeleted)
	_, err = s.SetStreamMetadata(s.ctx, stream, events.Any(), events.StreamMetadata{})
	s.wants("SetStreamMetadata", err, events.ErrStreamDeleted)
	_, _, _, err = s.StreamMetadata(s.ctx, stream)
	s.wants("StreamMetadata", err, events.ErrStreamDeleted)
	s.wants("ReadStream", s.readError(s.ReadStream(s.ctx, stream, events.ReadStreamOptions{})), events.ErrStreamDeleted)
	_, err = s.SubscribeStream(s.ctx, stream, 0)
	s.wants("SubscribeStream", err, events.ErrStreamDeleted)
}

func tombstoneOfNothing(s *suite) {
	_, err := s.Tombstone(s.ctx, "a-1", events.StreamExists())
	s.wrong("a tombstone for what should exist", err, "a-1")
	if _, err := s.Tombstone(s.ctx, "a-1", events.NoStream()); err != nil {
		s.Fatal(err)
	}
	s.entombed("a-1")
}

func tombstoneUnderSubscription(s *suite) {
	s.must("a-1", events.NoStream(), event("x"))
	sub := s.subscribeStream("a-1", 0)
	same(s, "subscribed", labels(s.take(sub, 1)), []string{"a-1@0"})
	if _, err := s.Tombstone(s.ctx, "a-1", events.Any()); err != nil {
		s.Fatal(err)
	}
	_, err := sub.Next(s.ctx)
	s.wants("Next", err, events.ErrStreamDeleted)
}

func deletedInAll(s *suite) {
	s.must("a-1", events.NoStream(), event("x"))
	s.must("a-2", events.NoStream(), event("y"))
	if _, err := s.Delete(s.ctx, "a-1", events.Any()); err != nil {
		s.Fatal(err)
	}
	s.must("a-1", events.NoStream(), event("z"))
	same(s, "the log", labels(s.all()), []string{"a-1@0", "a-2@0", "$$a-1@0", "a-1@1"})
	only := events.Filter{Categories: []events.Category{"a"}}
	same(s, "its category", labels(s.collect(s.ReadAll(s.ctx, events.ReadAllOptions{Filter: only}))), []string{"a-1@0", "a-2@0", "a-1@1"})
}
