// Package storetest is the conformance suite of events.Store: what every engine
// must keep, whatever it is made of.
//
// It tests behaviour at the interface. What an engine does when its disk or its
// peers fail is tested where the engine is.
package storetest

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
)

// patience bounds a test of the suite: far beyond what a loaded machine needs under
// the race detector, so that a hang fails the test and nothing else does.
const patience = 5 * time.Minute

// Run runs the suite. open returns a store with an empty log; the suite closes
// it.
func Run(t *testing.T, open func(t *testing.T) events.Store) {
	groups := []struct {
		name  string
		cases []testCase
	}{
		{"append", appendCases()},
		{"idempotence", idempotenceCases()},
		{"limits", limitCases()},
		{"read", readCases()},
		{"subscribe", subscribeCases()},
		{"metadata", metadataCases()},
		{"delete", deleteCases()},
		{"lifecycle", lifecycleCases()},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) {
					s := open(t)
					t.Cleanup(func() {
						if err := s.Close(); err != nil {
							t.Errorf("Close: %v", err)
						}
					})
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					c.run(&suite{T: t, Store: s, ctx: ctx})
				})
			}
		})
	}
}

type testCase struct {
	name string
	run  func(*suite)
}

// suite is one test with its own store.
type suite struct {
	*testing.T
	events.Store
	ctx context.Context
}

// event makes an event with a new id whose data name it.
func event(name string) events.Event {
	return events.Event{
		ID: events.NewEventID(), Type: "Tested", ContentType: events.JSON,
		Data:     fmt.Appendf(nil, `{"name":%q}`, name),
		Metadata: events.Metadata{CorrelationID: "c-" + name, SchemaVersion: 1}.Encode(),
	}
}

func eventsNamed(n int, prefix string) []events.Event {
	evs := make([]events.Event, n)
	for i := range evs {
		evs[i] = event(fmt.Sprint(prefix, i))
	}
	return evs
}

// must appends and fails the test if that fails.
func (s *suite) must(stream events.Stream, expected events.ExpectedRevision, evs ...events.Event) events.Result {
	s.Helper()
	r, err := s.Append(s.ctx, stream, expected, evs...)
	if err != nil {
		s.Fatalf("Append(%s, %s, %d events): %v", stream, expected, len(evs), err)
	}
	return r
}

// collect drains a read and fails the test on an error.
func (s *suite) collect(seq iter.Seq2[events.Recorded, error]) []events.Recorded {
	s.Helper()
	var out []events.Recorded
	for ev, err := range seq {
		if err != nil {
			s.Fatalf("read, after %d events: %v", len(out), err)
		}
		out = append(out, ev)
	}
	return out
}

// readError drains a read and returns the error it ends with.
func (s *suite) readError(seq iter.Seq2[events.Recorded, error]) error {
	s.Helper()
	var last error
	for _, err := range seq {
		if last != nil {
			s.Fatal("read goes on after its error")
		}
		last = err
	}
	return last
}

func (s *suite) stream(stream events.Stream) []events.Recorded {
	s.Helper()
	return s.collect(s.ReadStream(s.ctx, stream, events.ReadStreamOptions{}))
}

func (s *suite) all() []events.Recorded {
	s.Helper()
	return s.collect(s.ReadAll(s.ctx, events.ReadAllOptions{}))
}

// take reads n events of a subscription.
func (s *suite) take(sub events.Subscription, n int) []events.Recorded {
	s.Helper()
	out := make([]events.Recorded, 0, n)
	for range n {
		ev, err := sub.Next(s.ctx)
		if err != nil {
			s.Fatalf("Next, after %d of %d events: %v", len(out), n, err)
		}
		out = append(out, ev)
	}
	return out
}

func (s *suite) subscribeAll(from events.Position, f events.Filter) events.Subscription {
	s.Helper()
	sub, err := s.SubscribeAll(s.ctx, from, f)
	if err != nil {
		s.Fatalf("SubscribeAll(%d): %v", from, err)
	}
	s.Cleanup(func() { sub.Close() })
	return sub
}

func (s *suite) subscribeStream(stream events.Stream, from events.Revision) events.Subscription {
	s.Helper()
	sub, err := s.SubscribeStream(s.ctx, stream, from)
	if err != nil {
		s.Fatalf("SubscribeStream(%s, %d): %v", stream, from, err)
	}
	s.Cleanup(func() { sub.Close() })
	return sub
}

// same fails the test when got is not want.
func same[T any](s *suite, what string, got, want T) {
	s.Helper()
	if d := cmp.Diff(want, got); d != "" {
		s.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// label is an event's place in short, for comparisons people can read.
func label(ev events.Recorded) string { return fmt.Sprintf("%s@%d", ev.Stream, ev.Revision) }

func labels(evs []events.Recorded) []string {
	out := make([]string, len(evs))
	for i, ev := range evs {
		out[i] = label(ev)
	}
	return out
}
