package projections

import (
	"context"
	"iter"
	"sync"

	"github.com/caxton-run/caxton/events"
)

// memStore is a log in memory with faults to order. It has what a runner uses of
// a store; the rest panics.
type memStore struct {
	events.Store
	headErr error
	subErr  error
	readErr error         // ends a read, after what there is
	nextErr error         // of a subscription, once it has given all
	behind  int           // events that were recorded since Head looked
	reading chan struct{} // if set: a read says here that it is under way, and waits for its context

	mu    sync.Mutex
	recs  []events.Recorded
	grown chan struct{} // closed and replaced when recs grows
}

func newMemStore() *memStore { return &memStore{grown: make(chan struct{})} }

// add records an event at the next position and returns that.
func (m *memStore) add(s events.Stream, rev events.Revision, p events.Payload) events.Position {
	ev, err := events.Encode(events.EventID{1}, p, events.Metadata{})
	if err != nil {
		panic(err)
	}
	return m.addEvent(s, rev, ev)
}

func (m *memStore) addEvent(s events.Stream, rev events.Revision, ev events.Event) events.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	pos := events.Position(len(m.recs))
	m.recs = append(m.recs, events.Recorded{Event: ev, Stream: s, Revision: rev, Position: pos, RecordedAt: began()})
	close(m.grown)
	m.grown = make(chan struct{})
	return pos
}

func (m *memStore) at(pos events.Position) (rec events.Recorded, ok bool, grown <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if int(pos) < len(m.recs) {
		return m.recs[pos], true, nil
	}
	return rec, false, m.grown
}

func (m *memStore) Head(context.Context) (events.Position, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.recs) - m.behind
	return events.Position(max(0, n-1)), n > 0, m.headErr
}

func (m *memStore) ReadAll(ctx context.Context, opts events.ReadAllOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		if m.reading != nil {
			close(m.reading)
			<-ctx.Done()
			yield(events.Recorded{}, ctx.Err())
			return
		}
		for pos := opts.From; ; pos++ {
			rec, ok, _ := m.at(pos)
			if !ok {
				break
			}
			if opts.Filter.Matches(rec.Stream, rec.Type) && !yield(rec, nil) {
				return
			}
		}
		if m.readErr != nil {
			yield(events.Recorded{}, m.readErr)
		}
	}
}

func (m *memStore) SubscribeAll(_ context.Context, from events.Position, filter events.Filter) (events.Subscription, error) {
	return &memSubscription{m, from, filter}, m.subErr
}

type memSubscription struct {
	store  *memStore
	next   events.Position
	filter events.Filter
}

func (s *memSubscription) Next(ctx context.Context) (events.Recorded, error) {
	for {
		rec, ok, grown := s.store.at(s.next)
		switch {
		case ok:
			if s.next++; s.filter.Matches(rec.Stream, rec.Type) {
				return rec, nil
			}
			continue
		case s.store.nextErr != nil:
			return rec, s.store.nextErr
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return rec, ctx.Err()
		}
	}
}

func (s *memSubscription) Close() error { return nil }
