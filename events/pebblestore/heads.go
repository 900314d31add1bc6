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
	exists bool
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
func (h *heads) set(stream events.Stream, to head) {
	h.young[stream] = streamHead{head: to, exists: true}
}

// age bounds the memory. It is called only between groups: every head that is
// not yet in the database was set since the last call, so none is lost.
func (h *heads) age() {
	if len(h.young) > h.max {
		h.old, h.young = h.young, make(map[events.Stream]streamHead)
	}
}

// loadHead reads a head from the database and holds it against the record it
// points to.
func loadHead(db pebble.Reader, stream events.Stream) (streamHead, error) {
	value, closer, err := db.Get(appendHeadKey(nil, stream))
	if errors.Is(err, pebble.ErrNotFound) {
		return streamHead{}, nil
	}
	if err != nil {
		return streamHead{}, translate("head of stream "+string(stream), err)
	}
	h, err := parseHead(stream, value)
	err = errors.Join(err, closer.Close())
	if err != nil {
		return streamHead{}, err
	}
	err = withRecord(db, h.lastPos, func(r *record) error {
		if string(r.stream) != string(stream) || r.rev != h.last {
			return &events.CorruptError{
				Where:  "head of stream " + string(stream),
				Reason: fmt.Sprintf("points to revision %d of stream %s", r.rev, r.stream),
			}
		}
		return nil
	})
	return streamHead{head: h, exists: true}, err
}

// withRecord reads the record at pos and lends it to use. A missing record is a
// *events.CorruptError: only who was pointed to it asks.
func withRecord(db pebble.Reader, pos events.Position, use func(*record) error) error {
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
	return use(&r)
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
