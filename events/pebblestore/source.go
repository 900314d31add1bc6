package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// Bounds of one chunk: what is read while the database is held. A reader holds
// no part of it while its caller works, so a slow caller delays neither Close
// nor the removal of old files.
const (
	maxChunkEvents   = 256
	firstChunkEvents = 16 // many reads want few events
	maxChunkBytes    = 1 << 20
)

// source reads a stream or the log, chunk by chunk. It is for one goroutine.
type source interface {
	// fill appends the next events below limit to dst, at most max of them;
	// none, when what it came by is hidden. more is false when nothing below
	// limit is left.
	fill(dst []events.Recorded, max int, limit events.Position) (out []events.Recorded, more bool, err error)
}

// chunk gathers events up to the bounds of a chunk.
type chunk struct {
	out   []events.Recorded
	max   int // length of out at which the chunk is full
	bytes int
}

func newChunk(dst []events.Recorded, most int) *chunk {
	return &chunk{out: dst, max: len(dst) + min(most, maxChunkEvents)}
}

func (c *chunk) full() bool { return len(c.out) >= c.max || c.bytes >= maxChunkBytes }

func (c *chunk) add(r *record, n *names) {
	c.out = append(c.out, r.recorded(n))
	c.bytes += len(r.data) + len(r.metadata) + recordHeader
}

// pass counts a record that is not shown: many of them must end a chunk too.
func (c *chunk) pass() { c.bytes += recordHeader }

// records finds records by position. Positions asked for one after the other in
// either direction cost a step, not a search.
type records struct {
	it  *pebble.Iterator
	at  events.Position
	ok  bool
	key [9]byte
}

func newRecords(db pebble.Reader) (*records, error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindEvent}, UpperBound: []byte{kindEvent + 1}})
	if err != nil {
		return nil, translate("log", err)
	}
	return &records{it: it}, nil
}

// get returns the record at pos, valid until the next call. A missing one is a
// *events.CorruptError: positions have no gaps.
func (x *records) get(pos events.Position) (record, error) {
	var found bool
	switch {
	case x.ok && pos == x.at+1:
		found = x.it.Next()
	case x.ok && pos+1 == x.at:
		found = x.it.Prev()
	default:
		found = x.it.SeekGE(appendEventKey(x.key[:0], pos))
	}
	x.at, x.ok = pos, false
	if !found {
		if err := x.it.Error(); err != nil {
			return record{}, translate(positionName(pos), err)
		}
	}
	if !found || len(x.it.Key()) != 9 || binary.BigEndian.Uint64(x.it.Key()[1:]) != uint64(pos) {
		return record{}, &events.CorruptError{Where: positionName(pos), Reason: "record is missing"}
	}
	value, err := x.it.ValueAndErr()
	if err != nil {
		return record{}, translate(positionName(pos), err)
	}
	x.ok = true
	return decodeRecordAt(pos, value)
}

func (x *records) close() error { return x.it.Close() }

// logSource reads the whole log, filtered.
type logSource struct {
	s      *Store
	filter events.Filter
	dir    events.Direction
	next   events.Position // to look at; backwards: the one after it
	names  names
}

func (l *logSource) fill(dst []events.Recorded, most int, limit events.Position) (_ []events.Recorded, more bool, err error) {
	if l.done(limit) {
		return dst, false, nil
	}
	if err := l.s.enter(); err != nil {
		return dst, false, err
	}
	defer l.s.leave()
	recs, err := newRecords(l.s.db)
	if err != nil {
		return dst, false, err
	}
	defer func() { err = errors.Join(err, recs.close()) }()
	index, err := newPostings(l.s.db, l.filter, limit, l.dir)
	if err != nil {
		return dst, false, err
	}
	if index != nil {
		defer func() { err = errors.Join(err, index.close()) }()
	}
	c := newChunk(dst, most)
	for !c.full() && !l.done(limit) {
		pos := l.candidate()
		if index != nil {
			var ok bool
			if pos, ok, err = index.seek(pos); err != nil {
				return c.out, false, err
			}
			if !ok {
				l.finish(limit)
				break
			}
		}
		r, err := recs.get(pos)
		if err != nil {
			return c.out, false, err
		}
		l.pass(pos)
		if r.scavenged() {
			c.pass()
			continue
		}
		if l.filter.Matches(events.Stream(l.names.of(r.stream)), events.Type(l.names.of(r.typ))) {
			c.add(&r, &l.names)
		}
	}
	return c.out, !l.done(limit), nil
}

func (l *logSource) done(limit events.Position) bool {
	if l.dir == events.Backwards {
		return min(l.next, limit) == 0
	}
	return l.next >= limit
}

// candidate is the next position to look at, given that done is false.
func (l *logSource) candidate() events.Position {
	if l.dir == events.Backwards {
		return l.next - 1
	}
	return l.next
}

func (l *logSource) pass(pos events.Position) {
	if l.dir == events.Backwards {
		l.next = pos
		return
	}
	l.next = pos + 1
}

// finish notes that nothing is left below limit.
func (l *logSource) finish(limit events.Position) {
	if l.dir == events.Backwards {
		l.next = 0
		return
	}
	l.next = limit
}

// streamSource reads one stream.
type streamSource struct {
	s      *Store
	stream events.Stream
	view   view
	dir    events.Direction
	next   events.Revision // to read; backwards: the one after it
	end    bool
	names  names
}

func (t *streamSource) fill(dst []events.Recorded, most int, limit events.Position) (_ []events.Recorded, more bool, err error) {
	if t.end {
		return dst, false, nil
	}
	if err := t.s.enter(); err != nil {
		return dst, false, err
	}
	defer t.s.leave()
	if t.dir == events.Forwards {
		t.next = max(t.next, t.view.first)
	}
	prefix := appendNamePrefix(nil, kindStream, t.stream)
	it, err := t.s.db.NewIter(&pebble.IterOptions{
		LowerBound: prefix,
		UpperBound: binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], 1<<63),
	})
	if err != nil {
		return dst, false, translate("stream "+string(t.stream), err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	recs, err := newRecords(t.s.db)
	if err != nil {
		return dst, false, err
	}
	defer func() { err = errors.Join(err, recs.close()) }()

	c := newChunk(dst, most)
	for ok := t.first(it, prefix); ; ok = t.step(it) {
		if !ok {
			return c.out, false, translate("stream "+string(t.stream), it.Error())
		}
		rev, pos, err := t.parse(it, len(prefix))
		if err != nil {
			return c.out, false, err
		}
		if pos >= limit { // not durable yet
			if t.dir == events.Forwards {
				return c.out, false, nil
			}
			continue
		}
		if t.end || rev < t.view.first {
			return c.out, false, nil
		}
		if c.full() {
			return c.out, true, nil
		}
		if err := t.read(c, recs, rev, pos); err != nil {
			return c.out, false, err
		}
	}
}

// read adds one event to c and moves on. Revisions have no gaps.
func (t *streamSource) read(c *chunk, recs *records, rev events.Revision, pos events.Position) error {
	if t.dir == events.Forwards && rev != t.next {
		return &events.CorruptError{
			Where:  fmt.Sprintf("revision %d of stream %s", uint64(t.next), t.stream),
			Reason: "is missing from the index",
		}
	}
	r, err := recs.get(pos)
	if err != nil {
		return err
	}
	if err := matchStream(&r, t.stream, rev); err != nil {
		return err
	}
	if events.Type(r.typ) == events.TypeStreamDeleted { // a subscription that was there before it
		return fmt.Errorf("read %s: %w", t.stream, events.ErrStreamDeleted)
	}
	if r.scavenged() || r.micros < t.view.since {
		c.pass()
	} else {
		c.add(&r, &t.names)
	}
	if t.dir == events.Forwards {
		t.next = rev + 1
		return nil
	}
	t.next, t.end = rev, rev <= t.view.first
	return nil
}

func (t *streamSource) first(it *pebble.Iterator, prefix []byte) bool {
	k := binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], uint64(t.next))
	if t.dir == events.Backwards {
		return it.SeekLT(k)
	}
	return it.SeekGE(k)
}

func (t *streamSource) step(it *pebble.Iterator) bool {
	if t.dir == events.Backwards {
		return it.Prev()
	}
	return it.Next()
}

func (t *streamSource) parse(it *pebble.Iterator, prefix int) (events.Revision, events.Position, error) {
	where := "index of stream " + string(t.stream)
	k := it.Key()
	if len(k) != prefix+8 {
		return 0, 0, &events.CorruptError{Where: where, Reason: "key of unknown form"}
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return 0, 0, translate(where, err)
	}
	pos, err := parseNumber(where, value)
	return events.Revision(binary.BigEndian.Uint64(k[prefix:])), events.Position(pos), err
}

// correlationSource reads the events of one conversation.
type correlationSource struct {
	s      *Store
	prefix []byte
	next   events.Position
	names  names
}

func (t *correlationSource) fill(dst []events.Recorded, most int, limit events.Position) (_ []events.Recorded, more bool, err error) {
	if err := t.s.enter(); err != nil {
		return dst, false, err
	}
	defer t.s.leave()
	index, err := newIndexed(t.s.db, t.prefix, limit, events.Forwards)
	if err != nil {
		return dst, false, err
	}
	defer func() { err = errors.Join(err, index.close()) }()
	recs, err := newRecords(t.s.db)
	if err != nil {
		return dst, false, err
	}
	defer func() { err = errors.Join(err, recs.close()) }()
	c := newChunk(dst, most)
	for !c.full() {
		pos, ok, err := index.seek(t.next)
		if err != nil || !ok {
			return c.out, false, err
		}
		r, err := recs.get(pos)
		if err != nil {
			return c.out, false, err
		}
		t.next = pos + 1
		if r.scavenged() { // between the look into the index and this one
			c.pass()
			continue
		}
		c.add(&r, &t.names)
	}
	return c.out, true, nil
}
