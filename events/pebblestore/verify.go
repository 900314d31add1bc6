package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// verifyPause is after how many keys Verify looks whether it should stop.
const verifyPause = 1024

// Verified is what Verify looked at.
type Verified struct {
	Events    uint64
	Scavenged uint64 // of Events: only their leaves are left
	Streams   uint64
	Faults    uint64 // given to report
	Root      Root   // of Events, as computed
}

// Verify reads every durable record, checks its CRC-32C, and checks that record
// and indexes tell the same story, in both directions, and that every block of
// every table is whole. Each fault goes to
// report as a *events.CorruptError that names its place; Verify goes on after
// it. The error is for a walk that did not end: ctx's, events.ErrClosed, or the
// disk's.
//
// progress, unless nil, is told now and then how many of total keys were looked
// at. total is a guess while records are read, because indexes come after them.
func (s *Store) Verify(ctx context.Context, report func(error), progress func(done, total uint64)) (Verified, error) {
	if err := s.enter(); err != nil {
		return Verified{}, err
	}
	defer s.leave()
	end := s.Root() // before the snapshot, which then holds all below it
	snapshot := s.db.NewSnapshot()
	v := &verifier{s: s, db: snapshot, ctx: ctx, limit: end.Next, report: report, progress: progress, want: make(map[byte]uint64)}
	err := v.records(0)
	if err == nil {
		err = v.roots(end)
	}
	for _, index := range []struct {
		kind  byte
		check func(key, []byte) (counts bool, err error)
	}{
		{kindStream, v.streamKey}, {kindID, v.idKey}, {kindCategory, v.positionKey},
		{kindType, v.positionKey}, {kindCorrelation, v.positionKey}, {kindHead, v.headKey},
		{kindRoot, v.rootKey}, {kindScavenged, v.markKey},
	} {
		if err == nil {
			err = v.index(index.kind, index.check)
		}
	}
	if err == nil {
		err = v.tables()
	}
	return v.done, errors.Join(err, snapshot.Close())
}

// VerifyEnd is the part of Verify that takes no longer the longer the log is: the
// records since the last full chunk, their index entries, and the root they come
// to from that chunk's.
func (s *Store) VerifyEnd(ctx context.Context, report func(error)) (_ Verified, err error) {
	if err := s.enter(); err != nil {
		return Verified{}, err
	}
	defer s.leave()
	end := s.Root() // before the snapshot, which then holds all below it
	snapshot := s.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	v := &verifier{s: s, db: snapshot, ctx: ctx, limit: end.Next, report: report, want: make(map[byte]uint64)}
	chunk := uint64(end.Next) / ChunkEvents
	if chunk > 0 {
		var err error
		if v.root, err = loadRoot(snapshot, chunk-1); err != nil {
			v.broken = true
			if err := v.fault(err); err != nil {
				return v.done, err
			}
		}
	}
	if err := v.records(events.Position(chunk) * ChunkEvents); err != nil {
		return v.done, err
	}
	return v.done, v.roots(end)
}

type verifier struct {
	s        *Store
	db       pebble.Reader // one state of the log, although appends go on
	ctx      context.Context
	limit    events.Position
	report   func(error)
	progress func(done, total uint64)
	done     Verified
	want     map[byte]uint64 // keys that each index must have
	root     root            // of the records so far
	broken   bool            // a record since the last stored root does not read
	steps    uint64
}

// fault passes damage to report; any other error ends the walk.
func (v *verifier) fault(err error) error {
	if errors.Is(err, events.ErrCorrupt) {
		v.done.Faults++
		v.report(err)
		return nil
	}
	return err
}

// pause returns an error when the walk should stop.
func (v *verifier) pause() error {
	if v.steps++; v.steps%verifyPause != 0 {
		return nil
	}
	if v.progress != nil {
		v.progress(v.steps, v.total())
	}
	if v.s.closed.Load() {
		return events.ErrClosed
	}
	return v.ctx.Err()
}

// total guesses at the steps of the whole walk: each event of the log, and the
// index keys that the events seen so far have on average.
func (v *verifier) total() uint64 {
	var keys uint64
	for _, n := range v.want { // a sum: the order does not matter
		keys += n
	}
	if v.done.Events > 0 {
		keys = uint64(float64(keys) / float64(v.done.Events) * float64(v.limit))
	}
	return max(uint64(v.limit)+keys, v.steps)
}

// records reads the log from a position on and looks up each event in every
// index.
func (v *verifier) records(from events.Position) (err error) {
	recs, err := newRecords(v.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recs.close()) }()
	for pos := from; pos < v.limit; pos++ {
		if err := v.pause(); err != nil {
			return err
		}
		r, err := recs.get(pos)
		if err == nil {
			v.done.Events++
			if r.scavenged() {
				v.done.Scavenged++
			}
			if err := errors.Join(v.fault(v.chain(&r, recs.it.Value())), v.fault(v.marked(pos+1))); err != nil {
				return err
			}
			err = v.indexesOf(&r)
		} else {
			v.broken = true
		}
		if err := v.fault(err); err != nil {
			return err
		}
	}
	return nil
}

// chain continues the computed root with one record, and holds it against the
// stored one where a chunk ends. After a record that does not read the chain is
// taken up again at the next stored root.
func (v *verifier) chain(r *record, raw []byte) error {
	v.root = v.root.after(r.leaf(raw))
	if !endsChunk(r.pos) {
		return nil
	}
	chunk := uint64(r.pos) / ChunkEvents
	v.want[kindRoot]++
	stored, err := loadRoot(v.db, chunk)
	computed, broken := v.root, v.broken
	v.root, v.broken = stored, false
	if err == nil && !broken && stored != computed {
		err = &events.CorruptError{Where: rootName(chunk), Reason: fmt.Sprintf("is %x, its events make %x", stored[:8], computed[:8])}
	}
	return err
}

// marked holds the computed root at a position against that of an isolated log's marker.
func (v *verifier) marked(next events.Position) error {
	if m := v.s.marker.durable; m != nil && m.Next == next && !v.broken && root(m.Hash) != v.root {
		return m.differs(v.root)
	}
	return nil
}

// roots holds the computed root of the whole log against the one that the log
// ends with.
func (v *verifier) roots(end Root) error {
	v.done.Root = Root{Next: v.limit, Hash: v.root}
	if m := v.s.marker.durable; m != nil && m.Next > v.limit {
		if err := v.fault(m.shorter(v.limit)); err != nil {
			return err
		}
	}
	if v.broken || end.Hash == [len(root{})]byte(v.root) {
		return nil
	}
	return v.fault(&events.CorruptError{Where: "root of the log", Reason: fmt.Sprintf("is %x, its events make %x", end.Hash[:8], v.root[:8])})
}

func (v *verifier) rootKey(k key, _ []byte) (bool, error) {
	return k.number < uint64(v.limit)/ChunkEvents, nil
}

// markKey checks that a scavenge mark reads. Marks are not counted: no record
// asks for one.
func (v *verifier) markKey(k key, value []byte) (bool, error) {
	_, err := parseNumber("scavenge mark of stream "+k.name, value)
	return false, err
}

func (v *verifier) indexesOf(r *record) error {
	pos, stream := uint64(r.pos), events.Stream(r.stream)
	if r.rev == 0 {
		v.want[kindHead]++
	}
	type pair struct {
		name       string
		key, value []byte
	}
	pairs := []pair{
		{"stream", appendNumberedKey(nil, kindStream, stream, uint64(r.rev)), number(pos)},
		{"event id", appendIDKey(nil, stream, r.id), number(uint64(r.rev))},
		{"category", appendNumberedKey(nil, kindCategory, stream.Category(), pos), nil},
		{"type", appendNumberedKey(nil, kindType, r.typ, pos), nil},
	}
	if c := correlationOf(r.metadata); c != "" {
		pairs = append(pairs, pair{"correlation", append(appendCorrelationPrefix(nil, c), number(pos)...), nil})
	}
	for _, p := range pairs {
		v.want[p.key[0]]++
		value, closer, err := v.db.Get(p.key)
		if err != nil && !errors.Is(err, pebble.ErrNotFound) {
			return translate(p.name+" index of "+positionName(r.pos), err)
		}
		agrees := err == nil && bytes.Equal(value, p.value)
		if err == nil {
			if err := closer.Close(); err != nil {
				return err
			}
		}
		if !agrees {
			return &events.CorruptError{Where: positionName(r.pos), Reason: "the " + p.name + " index does not lead to it"}
		}
	}
	return nil
}

// index counts the keys of one index that speak of durable events. Each event
// has its key, as records found; so more keys than that are wrong ones.
func (v *verifier) index(kind byte, check func(key, []byte) (bool, error)) error {
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		return translate("index", err)
	}
	var count uint64
	for it.First(); err == nil && it.Valid(); it.Next() {
		if err = v.pause(); err != nil {
			break
		}
		var k key
		var counts bool
		if k, err = parseKey(it.Key()); err == nil {
			counts, err = check(k, it.Value())
		}
		if counts {
			count++
		}
		err = v.fault(err)
	}
	if err = errors.Join(err, v.fault(translate(fmt.Sprintf("index %q", kind), it.Error())), it.Close()); err != nil {
		return err
	}
	if kind == kindHead {
		v.done.Streams = count
	}
	if count != v.want[kind] {
		return v.fault(&events.CorruptError{
			Where:  fmt.Sprintf("index %q", kind),
			Reason: fmt.Sprintf("has %d keys where the records make %d", count, v.want[kind]),
		})
	}
	return nil
}

func (v *verifier) positionKey(k key, _ []byte) (bool, error) {
	return events.Position(k.number) < v.limit, nil
}

func (v *verifier) streamKey(k key, value []byte) (bool, error) {
	if len(value) == 8 { // else parseNumber names the place
		return events.Position(binary.BigEndian.Uint64(value)) < v.limit, nil
	}
	_, err := parseNumber(fmt.Sprintf("revision %d of stream %s", k.number, k.name), value)
	return false, err
}

func (v *verifier) idKey(k key, value []byte) (bool, error) {
	where := "event id " + k.id.String() + " of stream " + k.name
	rev, err := parseNumber(where, value)
	if err != nil {
		return false, err
	}
	at, closer, err := v.db.Get(appendNumberedKey(nil, kindStream, k.name, rev))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, &events.CorruptError{Where: where, Reason: fmt.Sprintf("points to revision %d, which is not there", rev)}
	}
	if err != nil {
		return false, translate(where, err)
	}
	durable := len(at) == 8 && binary.BigEndian.Uint64(at) < uint64(v.limit)
	return durable, closer.Close()
}

func (v *verifier) headKey(k key, value []byte) (bool, error) {
	where := "head of stream " + k.name
	h, err := parseHead(events.Stream(k.name), value)
	if err != nil || h.firstPos >= v.limit {
		return false, err
	}
	if err := v.ends(events.Stream(k.name), h); err != nil {
		return true, err
	}
	_, closer, err := v.db.Get(appendNumberedKey(nil, kindStream, k.name, uint64(h.last)+1))
	if errors.Is(err, pebble.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return true, translate(where, err)
	}
	return true, errors.Join(&events.CorruptError{Where: where, Reason: "an event follows it"}, closer.Close())
}

// ends holds a head against the first and the last record of its stream. What it says
// of them hides the stream, or lets it be written after its end.
func (v *verifier) ends(stream events.Stream, h head) error {
	if _, err := loadHead(v.db, stream); err != nil {
		return err
	}
	fault := func(format string, args ...any) error {
		return &events.CorruptError{Where: "head of stream " + string(stream), Reason: fmt.Sprintf(format, args...)}
	}
	first, err := streamPosition(v.db, stream, 0)
	if err == nil && first != h.firstPos {
		err = fault("begins at position %d, its first event is at %d", h.firstPos, first)
	}
	if err != nil {
		return err
	}
	return withLast(v.db, stream, h, func(r *record) error {
		if ended := events.Type(r.typ) == events.TypeStreamDeleted; ended != h.tombstoned {
			return fault("says tombstoned %t, its last event is %s", h.tombstoned, r.typ)
		}
		return nil
	})
}
