package pebblestore

import (
	"context"
	"errors"
	"sync"

	"github.com/caxton-run/caxton/events"
)

// subscription is a cursor into the log and a bell. Until its reader asks, it
// does nothing.
type subscription struct {
	s      *Store
	src    source
	waiter *waiter
	buf    []events.Recorded
	next   int // index in buf
	want   int // events of the next chunk

	closed    chan struct{}
	closeOnce sync.Once
}

var _ events.Subscription = (*subscription)(nil)

// SubscribeStream implements events.Store. ctx bounds the call, not the
// subscription.
func (s *Store) SubscribeStream(ctx context.Context, stream events.Stream, from events.Revision) (events.Subscription, error) {
	if err := stream.Validate(); err != nil {
		return nil, err
	}
	v, err := s.view(stream, s.limit())
	if err != nil && !errors.Is(err, events.ErrStreamNotFound) { // it may come
		return nil, err
	}
	src := &streamSource{s: s, stream: stream, view: v, next: min(from, events.EndOfStream)}
	return s.subscribe(ctx, src, &waiter{stream: stream})
}

// SubscribeAll implements events.Store. ctx bounds the call, not the
// subscription.
func (s *Store) SubscribeAll(ctx context.Context, from events.Position, filter events.Filter) (events.Subscription, error) {
	src := &logSource{s: s, filter: filter, next: min(from, events.EndOfLog)}
	return s.subscribe(ctx, src, &waiter{filter: filter})
}

func (s *Store) subscribe(ctx context.Context, src source, w *waiter) (events.Subscription, error) {
	if err := s.Sync(ctx); err != nil {
		return nil, err
	}
	w.bell = make(chan struct{}, 1)
	s.hub.join(w)
	return &subscription{s: s, src: src, waiter: w, want: firstChunkEvents, closed: make(chan struct{})}, nil
}

// Next implements events.Subscription.
func (sub *subscription) Next(ctx context.Context) (events.Recorded, error) {
	for {
		if err := sub.ended(ctx); err != nil {
			return events.Recorded{}, err
		}
		if sub.next < len(sub.buf) {
			ev := sub.buf[sub.next]
			sub.buf[sub.next] = events.Recorded{} // the reader's now
			sub.next++
			return ev, nil
		}
		// The bell was hung before the log is looked at, so what becomes
		// durable after the look rings it.
		out, more, err := sub.src.fill(sub.buf[:0], sub.want, sub.s.limit())
		sub.buf, sub.next = out, 0
		if len(out) > 0 || (more && err == nil) {
			sub.want = min(sub.want*4, maxChunkEvents)
			continue // an error comes again after these
		}
		if err != nil {
			return events.Recorded{}, err
		}
		sub.want = firstChunkEvents
		select {
		case <-sub.waiter.bell:
		case <-ctx.Done():
		case <-sub.closed:
		case <-sub.s.quit:
		}
	}
}

// ended returns why no further event is to be given out, or nil.
func (sub *subscription) ended(ctx context.Context) error {
	select {
	case <-sub.closed:
		return events.ErrClosed
	case <-sub.s.quit:
		return events.ErrClosed
	default:
		return ctx.Err()
	}
}

// Close implements events.Subscription.
func (sub *subscription) Close() error {
	sub.closeOnce.Do(func() {
		close(sub.closed)
		sub.s.hub.part(sub.waiter)
	})
	return nil
}
