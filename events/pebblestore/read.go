package pebblestore

import (
	"context"
	"iter"

	"github.com/caxton-run/caxton/events"
)

// ReadStream implements events.Store.
func (s *Store) ReadStream(ctx context.Context, stream events.Stream, opts events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		limit := s.limit()
		v, err := s.view(stream, limit)
		if err != nil {
			yield(events.Recorded{}, err)
			return
		}
		src := &streamSource{s: s, stream: stream, view: v, dir: opts.Direction, next: min(opts.From, events.EndOfStream)}
		if opts.Direction == events.Backwards && src.next < events.EndOfStream {
			src.next++
		}
		drain(ctx, src, opts.Max, limit, yield)
	}
}

// ReadAll implements events.Store.
func (s *Store) ReadAll(ctx context.Context, opts events.ReadAllOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		limit := s.limit()
		src := &logSource{s: s, filter: opts.Filter, dir: opts.Direction, next: min(opts.From, events.EndOfLog)}
		if opts.Direction == events.Backwards {
			src.next = min(src.next+1, limit)
		}
		drain(ctx, src, opts.Max, limit, yield)
	}
}

// drain yields what src has below limit, at most most events (0: all), and at
// the end the error, if there is one.
func drain(ctx context.Context, src source, most int, limit events.Position, yield func(events.Recorded, error) bool) {
	want := firstChunkEvents
	if most > 0 { // the caller says how many
		want = maxChunkEvents
	}
	var buf []events.Recorded
	for sent := 0; ; {
		if err := ctx.Err(); err != nil {
			yield(events.Recorded{}, err)
			return
		}
		if most > 0 {
			want = min(want, most-sent)
		}
		out, more, err := src.fill(buf[:0], want, limit)
		for i := range out {
			if !yield(out[i], nil) {
				return
			}
			if ctx.Err() != nil {
				break
			}
			sent++
		}
		if err != nil && ctx.Err() == nil {
			yield(events.Recorded{}, err)
			return
		}
		if ctx.Err() == nil && (!more || (most > 0 && sent >= most)) {
			return
		}
		clear(out) // the events belong to the caller now
		buf, want = out, min(want*4, maxChunkEvents)
	}
}

// ReadCorrelation yields the events of one conversation in order, up to what
// was durable when the read began: those whose metadata carry correlation as
// "$correlationId", at most max of them (0: all). Ids longer than 512 bytes are
// not indexed and find nothing. Errors are those of ReadAll.
func (s *Store) ReadCorrelation(ctx context.Context, correlation string, max int) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		if correlation == "" || len(correlation) > maxCorrelation {
			return
		}
		src := &correlationSource{s: s, prefix: appendCorrelationPrefix(nil, correlation)}
		drain(ctx, src, max, s.limit(), yield)
	}
}
