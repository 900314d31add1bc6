package pebblestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// streamHead is a head, or the fact that the stream has no events.
type streamHead struct {
	head
	exists bool            // it has events, shown or not
	hidden events.Revision // all before are, by its metadata
}

// shown reports whether the stream has events for those who expect some: a
// deleted one has not.
func (sh streamHead) shown() bool { return sh.exists && sh.hidden <= sh.last }

// next is the revision of the stream's next event.
func (sh streamHead) next() events.Revision {
	if !sh.exists {
		return 0
	}
	return sh.last + 1
}

// heads knows the last revision of every stream: the most recent ones from
// memory, the others from the database. It belongs to the committer's
// goroutine and runs ahead of the disk: it holds what was decided, not what was
// synced.
//
// Two generations stand for a least-recently-used list: what is used moves to
// the young one, and when that is full the old one is dropped. This costs one
// map look-up where a list would cost an allocation per stream.
type heads struct {
	db         *pebble.DB
	max        int // of one generation
	young, old map[events.Stream]streamHead
}

func newHeads(db *pebble.DB, limit int) *heads {
	return &heads{db: db, max: limit / 2, young: make(map[events.Stream]streamHead)}
}

// get returns the head of stream.
func (h *heads) get(stream events.Stream) (streamHead, error) {
	if sh, ok := h.young[stream]; ok {
		return sh, nil
	}
	sh, ok := h.old[stream]
	if !ok {
		var err error
		if sh, err = loadHead(h.db, stream); err != nil {
			return streamHead{}, err
		}
	}
	h.young[stream] = sh
	return sh, nil
}

// set notes what an applied command made of stream.
func (h *heads) set(stream events.Stream, to streamHead) { h.young[stream] = to }

// age bounds the memory. It is called only between groups: every head that is
// not yet in the database was set since the last call, so none is lost.
func (h *heads) age() {
	if len(h.young) > h.max {
		h.old, h.young = h.young, make(map[events.Stream]streamHead)
	}
}

// loadHead reads a head from the database and holds it against the record it
// points to, and reads the stream's metadata.
func loadHead(db pebble.Reader, stream events.Stream) (streamHead, error) {
	h, exists, err := readHead(db, stream)
	if err != nil {
		return streamHead{}, err
	}
	sh := streamHead{head: h, exists: exists}
	if exists {
		if err := withLast(db, stream, h, func(*record) error { return nil }); err != nil {
			return streamHead{}, err
		}
	}
	if stream.System() { // has no metadata of its own
		return sh, nil
	}
	meta := events.MetadataStream(stream)
	mh, ok, err := readHead(db, meta)
	if err != nil || !ok {
		return sh, err
	}
	err = withLast(db, meta, mh, func(r *record) error {
		md, err := metadataIn(r)
		sh.hidden = md.TruncateBefore
		return err
	})
	return sh, err
}

// readHead reads a head; ok is false when the stream has no events.
func readHead(db pebble.Reader, stream events.Stream) (h head, ok bool, err error) {
	value, closer, err := db.Get(appendHeadKey(nil, stream))
	if errors.Is(err, pebble.ErrNotFound) {
		return head{}, false, nil
	}
	if err != nil {
		return head{}, false, translate("head of stream "+string(stream), err)
	}
	h, err = parseHead(stream, value)
	return h, true, errors.Join(err, closer.Close())
}

// withLast lends the last record of a stream to use.
func withLast(db pebble.Reader, stream events.Stream, h head, use func(*record) error) error {
	return withRecord(db, h.lastPos, func(r *record) error {
		if string(r.stream) != string(stream) || r.rev != h.last {
			return &events.CorruptError{
				Where:  "head of stream " + string(stream),
				Reason: fmt.Sprintf("points to revision %d of stream %s", r.rev, r.stream),
			}
		}
		return use(r)
	})
}

// metadataIn reads stream metadata from a record. Scavenged ones hide nothing:
// they are those of a tombstoned stream.
func metadataIn(r *record) (events.StreamMetadata, error) {
	if r.scavenged() {
		return events.StreamMetadata{}, nil
	}
	md, err := events.DecodeStreamMetadata(r.data)
	if err != nil {
		err = &events.CorruptError{Where: positionName(r.pos), Reason: err.Error()}
	}
	return md, err
}

// withRecord reads the record at pos and lends it to use. A missing record is a
// *events.CorruptError: only who was pointed to it asks.
func withRecord(db pebble.Reader, pos events.Position, use func(*record) error) error {
	return withRawRecord(db, pos, func(r *record, _ []byte) error { return use(r) })
}

// withRawRecord is withRecord that lends the bytes on disk too.
func withRawRecord(db pebble.Reader, pos events.Position, use func(*record, []byte) error) error {
	where := func() string { return positionName(pos) }
	value, closer, err := db.Get(appendEventKey(nil, pos))
	if errors.Is(err, pebble.ErrNotFound) {
		return &events.CorruptError{Where: where(), Reason: "record is missing"}
	}
	if err != nil {
		return translate(where(), err)
	}
	defer closer.Close() //nolint:errcheck // releases a pin; there is nothing to fail
	r, err := decodeRecordAt(pos, value)
	if err != nil {
		return err
	}
	return use(&r, value)
}

// decodeRecordAt decodes the record found under the key of pos.
func decodeRecordAt(pos events.Position, value []byte) (record, error) {
	r, err := decodeRecord(func() string { return positionName(pos) }, value)
	if err == nil && r.pos != pos {
		err = &events.CorruptError{Where: positionName(pos), Reason: fmt.Sprintf("holds the record of position %d", r.pos)}
	}
	return r, err
}

func positionName(pos events.Position) string { return fmt.Sprintf("position %d", uint64(pos)) }

// translate makes a Pebble error one of caxton's: damage becomes a
// *events.CorruptError that names the file, if Pebble knows it.
func translate(where string, err error) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err):
		if at := pebble.ExtractDataCorruptionInfo(err); at != nil {
			where += " in file " + at.Path
		}
		return &events.CorruptError{Where: where, Reason: err.Error()}
	case errors.Is(err, pebble.ErrClosed):
		return fmt.Errorf("%s: %w", where, events.ErrClosed)
	}
	return fmt.Errorf("read %s: %w", where, err)
}
