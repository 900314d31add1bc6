package pebblestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// Census is what a log holds, by kind.
type Census struct {
	Events     uint64
	Streams    uint64
	First      time.Time // recorded; zero when there are no events
	Last       time.Time
	Categories []Count // by number, the largest first; then by name
	Types      []Count
	Largest    []Count // streams, by events ever appended, at most the number asked for
}

// Count is how many events have a name.
type Count struct {
	Name   string `json:"name"`
	Events uint64 `json:"events"`
}

// Census counts the durable events, by the indexes: it reads no record but the
// first and the last. Errors: *events.CorruptError, events.ErrClosed, ctx's.
func (s *Store) Census(ctx context.Context, largest int) (Census, error) {
	if err := s.enter(); err != nil {
		return Census{}, err
	}
	defer s.leave()
	limit := s.limit()
	c := Census{Events: uint64(limit)}
	var err error
	if c.Categories, err = s.countNames(ctx, kindCategory, limit); err != nil {
		return Census{}, err
	}
	if c.Types, err = s.countNames(ctx, kindType, limit); err != nil {
		return Census{}, err
	}
	if err := s.countStreams(ctx, &c, limit, largest); err != nil {
		return Census{}, err
	}
	if limit == 0 {
		return c, nil
	}
	at := func(pos events.Position, t *time.Time) error {
		return withRecord(s.db, pos, func(r *record) error {
			*t = time.UnixMicro(r.micros).UTC()
			return nil
		})
	}
	return c, errors.Join(at(0, &c.First), at(limit-1, &c.Last))
}

// keys calls visit for every key of a kind until it returns an error.
func (s *Store) keys(ctx context.Context, kind byte, visit func(key, []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		return translate("index", err)
	}
	n := 0
	for it.First(); err == nil && it.Valid(); it.Next() {
		var k key
		if k, err = parseKey(it.Key()); err == nil {
			err = visit(k, it.Value())
		}
		if n++; err == nil && n%verifyPause == 0 {
			if err = ctx.Err(); err == nil && s.closed.Load() {
				err = events.ErrClosed
			}
		}
	}
	return errors.Join(err, translate(fmt.Sprintf("index %q", kind), it.Error()), it.Close())
}

func (s *Store) countNames(ctx context.Context, kind byte, limit events.Position) ([]Count, error) {
	var counts []Count // keys come sorted by name
	err := s.keys(ctx, kind, func(k key, _ []byte) error {
		if events.Position(k.number) >= limit {
			return nil
		}
		if n := len(counts); n == 0 || counts[n-1].Name != k.name {
			counts = append(counts, Count{Name: k.name})
		}
		counts[len(counts)-1].Events++
		return nil
	})
	slices.SortStableFunc(counts, byEvents)
	return counts, err
}

// byEvents puts more events first; equal ones keep their order, which is that of
// their names.
func byEvents(a, b Count) int { return cmp.Compare(b.Events, a.Events) }

func (s *Store) countStreams(ctx context.Context, c *Census, limit events.Position, largest int) error {
	return s.keys(ctx, kindHead, func(k key, value []byte) error {
		h, err := parseHead(events.Stream(k.name), value)
		if err != nil || h.firstPos >= limit {
			return err
		}
		c.Streams++
		n := Count{Name: k.name, Events: uint64(h.last) + 1}
		i, _ := slices.BinarySearchFunc(c.Largest, n, func(a, b Count) int {
			return cmp.Or(byEvents(a, b), cmp.Compare(a.Name, b.Name))
		})
		if i < largest {
			c.Largest = slices.Insert(c.Largest, i, n)
			c.Largest = c.Largest[:min(len(c.Largest), largest)]
		}
		return nil
	})
}
