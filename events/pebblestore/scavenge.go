package pebblestore

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// ScavengesStream has an event of TypeScavengeCompleted for each scavenge that
// dropped anything.
const (
	ScavengesStream       events.Stream = "$scavenges"
	TypeScavengeCompleted events.Type   = "$scavengeCompleted"
)

// maxScavenged bounds the events that one command scavenges: each costs a read
// and two writes while appends wait.
const maxScavenged = 256

// maxScavengedBytes bounds the data that one command drops, for the same reason.
const maxScavengedBytes = 4 << 20

// ScavengeOptions say what a scavenge may drop. The zero value drops all that is
// hidden.
type ScavengeOptions struct {
	// Before keeps what was recorded at or after it, hidden or not; the zero
	// time keeps nothing.
	Before time.Time
	// Progress, unless nil, is told after each stream how many were looked at.
	Progress func(streams uint64)
}

// Scavenged is what a scavenge did.
type Scavenged struct {
	Streams uint64 `json:"streams"` // that had something hidden
	Events  uint64 `json:"events"`  // whose data were dropped
	Bytes   uint64 `json:"bytes"`   // of data and metadata dropped; the disk has them back after compaction
}

// scavenged is the command: records to cut down to their leaf, and how far a
// scavenge has been in a stream, so that the next one goes on there.
type scavenged struct {
	positions []events.Position // ascending
	marks     []streamMark
}

// streamMark says that no event of stream before a revision has data to drop.
type streamMark struct {
	stream events.Stream
	before events.Revision
}

// Scavenge drops the data of events that are hidden by stream metadata, and of
// those of tombstoned streams. What stays of each is its stream, revision, type,
// id, time and leaf: revisions, positions, idempotence and roots do not change.
//
// Appends go on meanwhile. Ended in the middle, by ctx or a crash, it has
// dropped a part; the next one goes on from there. Errors: events.ErrReadOnly,
// events.ErrClosed, *events.CorruptError, ctx's.
func (s *Store) Scavenge(ctx context.Context, opts ScavengeOptions) (Scavenged, error) {
	sc := &scavenger{s: s, ctx: ctx, opts: opts, now: s.opts.Now()}
	if err := sc.all(); err != nil {
		return sc.done, fmt.Errorf("scavenge: %w", err)
	}
	if sc.done.Events == 0 {
		return sc.done, nil
	}
	if s.disk.state.Load().Level > DiskRoomy {
		if err := s.reclaim(ctx, sc.first, sc.last); err != nil {
			return sc.done, fmt.Errorf("scavenge: %w", err)
		}
	}
	b, err := json.Marshal(sc.done)
	if err != nil { // three numbers: cannot fail
		panic(err)
	}
	r := &request{
		ctx: ctx, stream: ScavengesStream, answer: make(chan answer, 1), size: len(b),
		events: []events.Event{systemEvent(events.NewEventID(), TypeScavengeCompleted, b)}, correlations: []string{""},
	}
	return sc.done, s.submit(ctx, r).err
}

type scavenger struct {
	s     *Store
	ctx   context.Context
	opts  ScavengeOptions
	now   time.Time
	limit events.Position // only what is durable is dropped

	next  scavenged // not yet submitted
	bytes uint64    // that it drops
	done  Scavenged
	first events.Position // of what was dropped
	last  events.Position
	seen  uint64 // streams
}

// all looks at every stream that may have something hidden: those with metadata
// and those that were tombstoned.
func (sc *scavenger) all() error {
	if err := sc.s.enter(); err != nil {
		return err
	}
	defer sc.s.leave() // Close waits: nothing below enters again, and next looks for it
	sc.limit = sc.s.limit()
	prefix := appendHeadKey(nil, events.MetadataStream(""))
	err := sc.each(prefix, func(k key, _ []byte) error {
		of, _ := events.Stream(k.name).MetadataOf()
		return sc.stream(of)
	})
	if err != nil {
		return err
	}
	prefix = appendNamePrefix(nil, kindType, events.TypeStreamDeleted)
	err = sc.each(prefix, func(k key, _ []byte) error {
		if events.Position(k.number) >= sc.limit {
			return nil
		}
		var stream events.Stream
		err := withRecord(sc.s.db, events.Position(k.number), func(r *record) error {
			stream = events.Stream(r.stream)
			return nil
		})
		if err != nil {
			return err
		}
		if _, seen, err := readHead(sc.s.db, events.MetadataStream(stream)); err != nil || seen {
			return err // it was looked at: what is dropped twice is no command
		}
		return sc.stream(stream)
	})
	if err != nil {
		return err
	}
	return sc.flush()
}

// each calls visit for every key that begins with prefix.
func (sc *scavenger) each(prefix []byte, visit func(key, []byte) error) error {
	end := append(prefix[:len(prefix)-1:len(prefix)-1], prefix[len(prefix)-1]+1)
	it, err := sc.s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: end})
	if err != nil {
		return translate("streams to scavenge", err)
	}
	for it.First(); err == nil && it.Valid(); it.Next() {
		var k key
		if k, err = parseKey(it.Key()); err == nil {
			err = visit(k, it.Value())
		}
		if sc.s.closed.Load() {
			err = events.ErrClosed
		}
		err = errors.Join(err, sc.ctx.Err())
	}
	return errors.Join(err, translate("streams to scavenge", it.Error()), it.Close())
}

// stream drops what is hidden of one stream and of its metadata.
func (sc *scavenger) stream(stream events.Stream) error {
	md, at, ok, err := sc.s.metadataBelow(stream, sc.limit)
	if err != nil {
		return err
	}
	h, exists, err := readHead(sc.s.db, stream)
	if err != nil {
		return err
	}
	tombstoned := exists && h.tombstoned && h.lastPos < sc.limit
	if ok { // older metadata are of no use; of a tombstoned stream none are
		older := at
		if tombstoned {
			older++
		}
		if err := sc.drop(events.MetadataStream(stream), older, events.StreamMetadata{}); err != nil {
			return err
		}
	}
	switch {
	case tombstoned:
		err = sc.drop(stream, h.last, events.StreamMetadata{})
	case exists && h.firstPos < sc.limit:
		var last events.Revision
		if last, err = sc.s.lastBelow(stream, h, sc.limit); err == nil {
			err = sc.drop(stream, md.FirstShown(last), md)
		}
	}
	if sc.seen++; sc.opts.Progress != nil {
		sc.opts.Progress(sc.seen)
	}
	return err
}

// drop scavenges the revisions of stream before one, and beyond it those that md
// let expire.
func (sc *scavenger) drop(stream events.Stream, before events.Revision, md events.StreamMetadata) error {
	from, err := loadMark(sc.s.db, stream)
	if err != nil || (from >= before && md.MaxAge == 0) {
		return err
	}
	recs, err := newRecords(sc.s.db)
	if err != nil {
		return err
	}
	prefix := appendNamePrefix(nil, kindStream, stream)
	it, err := sc.s.db.NewIter(&pebble.IterOptions{
		LowerBound: binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], uint64(from)),
		UpperBound: binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], 1<<63),
	})
	if err != nil {
		return errors.Join(translate("stream "+string(stream), err), recs.close())
	}
	rev := from
	for it.First(); err == nil && it.Valid(); it.Next() {
		var goOn bool
		if goOn, err = sc.consider(stream, rev, before, md, it.Value(), recs); !goOn {
			break
		}
		rev++
	}
	if err = errors.Join(err, translate("stream "+string(stream), it.Error()), it.Close(), recs.close()); err != nil {
		return err
	}
	if rev == from {
		return nil
	}
	sc.done.Streams++
	sc.next.marks = append(sc.next.marks, streamMark{stream, rev})
	if len(sc.next.marks) >= maxScavenged {
		return sc.flush()
	}
	return nil
}

// consider takes one revision into the next command, unless it and all after it
// stay.
func (sc *scavenger) consider(stream events.Stream, rev, before events.Revision, md events.StreamMetadata, value []byte, recs *records) (goOn bool, err error) {
	n, err := parseNumber(fmt.Sprintf("revision %d of stream %s", uint64(rev), stream), value)
	pos := events.Position(n)
	if err != nil || pos >= sc.limit || (rev >= before && md.MaxAge == 0) {
		return false, err
	}
	r, err := recs.get(pos)
	if err == nil {
		err = matchStream(&r, stream, rev)
	}
	if err != nil {
		return false, err
	}
	at := time.UnixMicro(r.micros)
	if (rev >= before && !md.Expired(at, sc.now)) || (!sc.opts.Before.IsZero() && !at.Before(sc.opts.Before)) {
		return false, nil
	}
	if r.scavenged() { // a scavenge ended between this and its mark
		return true, nil
	}
	sc.next.positions = append(sc.next.positions, pos)
	sc.bytes += uint64(len(r.data) + len(r.metadata))
	if len(sc.next.positions) >= maxScavenged || sc.bytes >= maxScavengedBytes {
		return true, sc.flush()
	}
	return true, nil
}

// flush submits what was gathered.
func (sc *scavenger) flush() error {
	if len(sc.next.positions) == 0 && len(sc.next.marks) == 0 {
		return nil
	}
	slices.Sort(sc.next.positions)
	if _, err := sc.s.change(sc.ctx, &request{op: opScavenge, stream: ScavengesStream, scavenge: sc.next}); err != nil {
		return err
	}
	if n := len(sc.next.positions); n > 0 {
		if sc.done.Events == 0 {
			sc.first = sc.next.positions[0]
		}
		sc.first, sc.last = min(sc.first, sc.next.positions[0]), max(sc.last, sc.next.positions[n-1])
	}
	sc.done.Events += uint64(len(sc.next.positions))
	sc.done.Bytes += sc.bytes
	sc.next, sc.bytes = scavenged{}, 0
	return nil
}

// loadMark returns how far scavenges have been in a stream.
func loadMark(db pebble.Reader, stream events.Stream) (events.Revision, error) {
	value, closer, err := db.Get(appendScavengedKey(nil, stream))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	where := "scavenge mark of stream " + string(stream)
	if err != nil {
		return 0, translate(where, err)
	}
	n, err := parseNumber(where, value)
	return events.Revision(n), errors.Join(err, closer.Close())
}

// appendScavenge encodes a command.
func appendScavenge(b []byte, sc scavenged) []byte {
	start := len(b)
	b = append(b, commandVersion, 0, 0, 0, 0, commandScavenge)
	return sealCommand(appendScavengeBody(b, sc), start)
}

func appendScavengeBody(b []byte, sc scavenged) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(sc.positions)))
	for _, pos := range sc.positions {
		b = binary.BigEndian.AppendUint64(b, uint64(pos))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(sc.marks)))
	for _, m := range sc.marks {
		b = binary.BigEndian.AppendUint16(b, uint16(len(m.stream)))
		b = append(b, m.stream...)
		b = binary.BigEndian.AppendUint64(b, uint64(m.before))
	}
	return b
}

// decodeScavenge takes apart the body of a scavenge. Errors are
// *events.CorruptError.
func decodeScavenge(body []byte) (sc scavenged, err error) {
	n, rest, err := count(body)
	if err != nil || n > maxScavenged || int(n)*8 > len(rest) {
		return scavenged{}, badCommand("%d positions", n)
	}
	for range n {
		pos := events.Position(binary.BigEndian.Uint64(rest))
		if k := len(sc.positions); k > 0 && sc.positions[k-1] >= pos {
			return scavenged{}, badCommand("position %d comes after %d", uint64(pos), uint64(sc.positions[k-1]))
		}
		sc.positions, rest = append(sc.positions, pos), rest[8:]
	}
	if n, rest, err = count(rest); err != nil || n > maxScavenged {
		return scavenged{}, badCommand("%d marks", n)
	}
	for i := range n {
		var name []byte
		if name, rest, err = cut(rest, 2); err != nil || len(rest) < 8 || events.Stream(name).Validate() != nil {
			return scavenged{}, badCommand("mark %d does not read", i)
		}
		sc.marks = append(sc.marks, streamMark{events.Stream(name), events.Revision(binary.BigEndian.Uint64(rest))})
		rest = rest[8:]
	}
	if len(rest) != 0 {
		return scavenged{}, badCommand("%d bytes too many", len(rest))
	}
	return sc, nil
}

// applyScavenge cuts records down to their leaves. A record that is one already
// stays as it is. Errors leave the batch as it was.
func (st *state) applyScavenge(batch batchWriter, body []byte) error {
	sc, err := decodeScavenge(body)
	if err != nil {
		return err
	}
	type cut struct{ key, value, correlation []byte }
	cuts := make([]cut, 0, len(sc.positions))
	for _, pos := range sc.positions {
		if pos >= st.next {
			return fmt.Errorf("%w: scavenges position %d, the next is %d", errStale, uint64(pos), uint64(st.next))
		}
		err := withRawRecord(st.heads.db, pos, func(r *record, raw []byte) error {
			if r.scavenged() {
				return nil
			}
			c := cut{key: appendEventKey(nil, pos), value: appendScavenged(nil, r, leafOf(raw))}
			if id := correlationOf(r.metadata); id != "" {
				c.correlation = append(appendCorrelationPrefix(nil, id), number(uint64(pos))...)
			}
			cuts = append(cuts, c)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, c := range cuts {
		mustSet(batch, c.key, c.value)
		if c.correlation != nil {
			mustDelete(batch, c.correlation)
		}
	}
	for _, m := range sc.marks {
		mustSet(batch, appendScavengedKey(nil, m.stream), number(uint64(m.before)))
	}
	return nil
}

func mustDelete(batch batchWriter, key []byte) {
	if err := batch.Delete(key, nil); err != nil {
		panic(fmt.Sprintf("pebblestore: batch refuses a key: %v", err)) // as for mustSet
	}
}
