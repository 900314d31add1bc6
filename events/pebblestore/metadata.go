package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// systemEvent is an event of the log's own. Its id was chosen with the request: a
// repeated call is judged by its expectation, a repeated proposal by its id.
func systemEvent(id events.EventID, t events.Type, data []byte) events.Event {
	return events.Event{ID: id, Type: t, ContentType: events.JSON, Data: data}
}

// StreamMetadata implements events.Store.
func (s *Store) StreamMetadata(ctx context.Context, stream events.Stream) (md events.StreamMetadata, at events.Revision, ok bool, err error) {
	if err := s.Sync(ctx); err != nil {
		return md, 0, false, err
	}
	if err := validateStream(stream); err != nil {
		return md, 0, false, err
	}
	limit := s.limit()
	if err := s.enter(); err != nil {
		return md, 0, false, err
	}
	defer s.leave()
	h, exists, err := readHead(s.db, stream)
	if err != nil {
		return md, 0, false, err
	}
	if exists && h.tombstoned && h.lastPos < limit {
		return md, 0, false, fmt.Errorf("metadata of %s: %w", stream, events.ErrStreamDeleted)
	}
	return s.metadataBelow(stream, limit)
}

// metadataBelow returns the metadata that stream has below limit. The caller is
// between enter and leave.
func (s *Store) metadataBelow(stream events.Stream, limit events.Position) (md events.StreamMetadata, at events.Revision, ok bool, err error) {
	meta := events.MetadataStream(stream)
	h, exists, err := readHead(s.db, meta)
	if err != nil || !exists || h.firstPos >= limit {
		return md, 0, false, err
	}
	gone := false
	read := func(r *record) (err error) {
		gone = r.scavenged()
		md, err = metadataIn(r)
		return err
	}
	for rev := h.last; ; rev-- {
		pos := h.lastPos
		if rev < h.last {
			if pos, err = streamPosition(s.db, meta, rev); err != nil {
				return md, 0, false, err
			}
		}
		if pos < limit {
			err = withStreamRecord(s.db, meta, rev, read)
			if now := s.limit(); err == nil && gone && now > limit {
				// Scavenged since limit was read, so newer ones are durable by now.
				return s.metadataBelow(stream, now)
			}
			return md, rev, true, err
		}
		if rev == 0 { // the first is below limit: see above
			return md, 0, false, &events.CorruptError{Where: "head of stream " + string(meta), Reason: "names another first position than its index"}
		}
	}
}

// SetStreamMetadata implements events.Store.
func (s *Store) SetStreamMetadata(ctx context.Context, stream events.Stream, expected events.ExpectedRevision, md events.StreamMetadata) (events.Result, error) {
	if err := md.Validate(); err != nil {
		return events.Result{}, err
	}
	return s.change(ctx, &request{op: opMetadata, stream: stream, expected: expected, metadata: md})
}

// Delete implements events.Store.
func (s *Store) Delete(ctx context.Context, stream events.Stream, expected events.ExpectedRevision) (events.Result, error) {
	return s.change(ctx, &request{op: opDelete, stream: stream, expected: expected})
}

// Tombstone implements events.Store.
func (s *Store) Tombstone(ctx context.Context, stream events.Stream, expected events.ExpectedRevision) (events.Result, error) {
	return s.change(ctx, &request{op: opTombstone, stream: stream, expected: expected})
}

// change submits a request that is not an append.
func (s *Store) change(ctx context.Context, r *request) (events.Result, error) {
	if err := ctx.Err(); err != nil {
		return events.Result{}, fmt.Errorf("change %s: %w", r.stream, err)
	}
	if r.op != opScavenge {
		if err := validateStream(r.stream); err != nil {
			return events.Result{}, err
		}
	}
	r.ctx, r.id, r.answer = ctx, events.NewEventID(), make(chan answer, 1)
	a := s.submit(ctx, r)
	return a.result, a.err
}

// decideMetadata judges a change of metadata. expected is about their stream.
func (st *state) decideMetadata(r *request, sh streamHead, now time.Time) (decision, error) {
	meta := events.MetadataStream(r.stream)
	mh, err := st.heads.get(meta)
	if err != nil {
		return decision{}, err
	}
	if !r.expected.Matches(mh.last, mh.exists) {
		return decision{}, &events.WrongRevisionError{Stream: meta, Expected: r.expected, Actual: mh.last, Exists: mh.exists}
	}
	if r.metadata.TruncateBefore > sh.next() {
		return decision{}, events.Invalidf("$tb", "must be at most %d, one after the stream's last revision, got %d",
			uint64(sh.next()), uint64(r.metadata.TruncateBefore))
	}
	return st.addMetadata(r, mh, r.metadata, now)
}

func (st *state) addMetadata(r *request, mh streamHead, md events.StreamMetadata, now time.Time) (decision, error) {
	b, err := md.Encode()
	if err != nil {
		return decision{}, err
	}
	return st.add(events.MetadataStream(r.stream), mh, now, systemEvent(r.id, events.TypeStreamMetadata, b)), nil
}

// decideDelete judges a deletion: metadata that hide all there is. All else they
// say stays.
func (st *state) decideDelete(db pebble.Reader, r *request, sh streamHead, now time.Time) (decision, error) {
	if !r.expected.Matches(sh.last, sh.shown()) {
		return decision{}, wrongRevision(r, sh)
	}
	if !sh.shown() {
		return decision{}, fmt.Errorf("delete %s: %w", r.stream, events.ErrStreamNotFound)
	}
	meta := events.MetadataStream(r.stream)
	mh, err := st.heads.get(meta)
	if err != nil {
		return decision{}, err
	}
	var md events.StreamMetadata
	if mh.exists {
		err := withLast(db, meta, mh.head, func(rec *record) error {
			md, err = metadataIn(rec)
			return err
		})
		if err != nil {
			return decision{}, err
		}
	}
	md.TruncateBefore = sh.last + 1
	return st.addMetadata(r, mh, md, now)
}

// view is what a stream's metadata leave to read of it.
type view struct {
	first events.Revision // to show
	since int64           // µs since the Unix epoch: older events are hidden; 0 shows all
}

// view returns what is shown of a stream below limit. Errors: those of
// ReadStream; with events.ErrStreamNotFound comes what will be shown of the
// stream when it begins.
func (s *Store) view(stream events.Stream, limit events.Position) (view, error) {
	missing := fmt.Errorf("read %s: %w", stream, events.ErrStreamNotFound)
	if stream.Validate() != nil {
		return view{}, missing // no such stream can have been written
	}
	if err := s.enter(); err != nil {
		return view{}, err
	}
	defer s.leave()
	h, ok, err := readHead(s.db, stream)
	switch {
	case err != nil:
		return view{}, err
	case !ok || h.firstPos >= limit:
		return view{}, missing
	case h.tombstoned && h.lastPos < limit:
		return view{}, fmt.Errorf("read %s: %w", stream, events.ErrStreamDeleted)
	case stream.System():
		return view{}, nil
	}
	md, _, ok, err := s.metadataBelow(stream, limit)
	if err != nil || !ok {
		return view{}, err
	}
	last, err := s.lastBelow(stream, h, limit)
	if err != nil {
		return view{}, err
	}
	if md.TruncateBefore > last {
		return view{first: md.TruncateBefore}, missing // deleted, and not begun anew
	}
	v := view{first: md.FirstShown(last)}
	if md.MaxAge > 0 {
		v.since = s.opts.Now().Add(-md.MaxAge).UnixMicro()
	}
	return v, nil
}

// lastBelow returns the last revision of a stream below limit, of which there
// is one.
func (s *Store) lastBelow(stream events.Stream, h head, limit events.Position) (events.Revision, error) {
	last, pos := h.last, h.lastPos
	for pos >= limit && last > 0 { // as many steps as events wait for the disk
		last--
		var err error
		if pos, err = streamPosition(s.db, stream, last); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// streamPosition looks up where a revision lies.
func streamPosition(db pebble.Reader, stream events.Stream, rev events.Revision) (events.Position, error) {
	where := fmt.Sprintf("revision %d of stream %s", uint64(rev), stream)
	value, closer, err := db.Get(appendNumberedKey(nil, kindStream, stream, uint64(rev)))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, &events.CorruptError{Where: where, Reason: "is missing from the index"}
	}
	if err != nil {
		return 0, translate(where, err)
	}
	pos, err := parseNumber(where, value)
	return events.Position(pos), errors.Join(err, closer.Close())
}
