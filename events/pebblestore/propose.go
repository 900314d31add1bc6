package pebblestore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// maxType bounds an event type's name in bytes: it is part of a key.
const maxType = 256

// validateAppend checks all that can be checked without the log's state.
// Errors: *events.InvalidError, events.ErrTooLarge, events.ErrIDReused.
func validateAppend(stream events.Stream, evs []events.Event) error {
	if err := validateStream(stream); err != nil {
		return err
	}
	if len(evs) == 0 {
		return events.Invalid("events", "must not be empty")
	}
	if len(evs) > events.MaxAppendEvents {
		return fmt.Errorf("append %d events to %s, at most %d: %w", len(evs), stream, events.MaxAppendEvents, events.ErrTooLarge)
	}
	size := 0
	for i := range evs {
		if err := validateType(evs[i].Type); err != nil {
			return err
		}
		if evs[i].Type.System() {
			return events.Invalid("type", "must not begin with $: such names are the log's own")
		}
		if _, ok := contentCode(evs[i].ContentType); !ok {
			return events.Invalidf("content_type", "unknown %.40q; one of %s, %s", evs[i].ContentType, events.JSON, events.Binary)
		}
		size += evs[i].Size()
	}
	if size > events.MaxAppendBytes {
		return fmt.Errorf("append %d bytes to %s: %w", size, stream, events.ErrTooLarge)
	}
	return uniqueIDs(stream, evs)
}

// validateStream refuses the log's own streams: they change by other calls.
func validateStream(stream events.Stream) error {
	if stream.System() {
		return events.Invalid("stream", "must not begin with $: such names are the log's own")
	}
	return stream.Validate()
}

func validateType(t events.Type) error {
	if t == "" || len(t) > maxType || !utf8.ValidString(string(t)) {
		return events.Invalidf("type", "must be 1 to %d bytes of UTF-8", maxType)
	}
	for _, r := range t {
		if r < 0x20 || r == 0x7f {
			return events.Invalid("type", "must not contain control characters")
		}
	}
	return nil
}

func uniqueIDs(stream events.Stream, evs []events.Event) error {
	if len(evs) == 1 {
		return nil
	}
	seen := make(map[events.EventID]struct{}, len(evs))
	for i := range evs {
		if _, twice := seen[evs[i].ID]; twice {
			return fmt.Errorf("append to %s: event %s stands twice in it: %w", stream, evs[i].ID, events.ErrIDReused)
		}
		seen[evs[i].ID] = struct{}{}
	}
	return nil
}

// correlationOf returns the conversation of an event, if its metadata name one
// that can be indexed.
func correlationOf(metadata []byte) string {
	if !bytes.Contains(metadata, []byte(`"$correlationId"`)) { // most of the cost of most appends
		return ""
	}
	var md struct {
		ID string `json:"$correlationId"`
	}
	if json.Unmarshal(metadata, &md) != nil || len(md.ID) > maxCorrelation {
		return ""
	}
	return md.ID
}

// correlate reads the conversations of an append's events. It takes as long as writing
// them: callers of the committer do it, and of a proposal whoever applies it.
func (r *request) correlate() {
	r.correlations = make([]string, len(r.events))
	for i := range r.events {
		r.correlations[i] = correlationOf(r.events[i].Metadata)
	}
}

// decision is what the proposer makes of a request: either a command to apply
// or a result without one.
type decision struct {
	write        bool
	result       events.Result
	at           place // when write; of the first event
	events       []events.Event
	correlations []string // one per event
}

// decide checks a request against the log; fresh says that its events' ids are
// known not to stand in the stream. Errors are those of the method of Store that
// asked.
func (st *state) decide(db pebble.Reader, r *request, now time.Time, fresh bool) (decision, error) {
	if r.op == opScavenge {
		return decision{write: true}, nil
	}
	sh, err := st.heads.get(r.stream)
	if err != nil {
		return decision{}, err
	}
	if sh.tombstoned {
		return decision{}, fmt.Errorf("stream %s: %w", r.stream, events.ErrStreamDeleted)
	}
	switch r.op {
	case opMetadata:
		return st.decideMetadata(r, sh, now)
	case opDelete:
		return st.decideDelete(db, r, sh, now)
	case opTombstone:
		if !r.expected.Matches(sh.last, sh.shown()) {
			return decision{}, wrongRevision(r, sh)
		}
		return st.add(r.stream, sh, now, systemEvent(r.id, events.TypeStreamDeleted, []byte("{}"))), nil
	}
	return st.decideAppend(db, r, sh, now, fresh)
}

// decideAppend judges an append. Order matters: known ids are looked at before
// the expectation, because a repeated append must succeed although its
// expectation no longer holds.
func (st *state) decideAppend(db pebble.Reader, r *request, sh streamHead, now time.Time, fresh bool) (decision, error) {
	if sh.exists && !fresh {
		if d, known, err := decideRepeated(db, r, sh); known || err != nil {
			return d, err
		}
	}
	if !r.expected.Matches(sh.last, sh.shown()) {
		return decision{}, wrongRevision(r, sh)
	}
	d := st.add(r.stream, sh, now, r.events...)
	if r.correlations == nil {
		r.correlate()
	}
	d.correlations = r.correlations
	return d, nil
}

// add decides that evs come next in stream.
func (st *state) add(stream events.Stream, sh streamHead, now time.Time, evs ...events.Event) decision {
	n := len(evs)
	return decision{
		write: true, events: evs, correlations: make([]string, n),
		at: place{stream: stream, pos: st.next, rev: sh.next(), micros: now.UnixMicro()},
		result: events.Result{
			First: sh.next(), Last: sh.next() + events.Revision(n-1),
			Position: st.next + events.Position(n-1),
		},
	}
}

// known is what the stream says about an append's event ids.
type known struct {
	count   int             // of ids that stand in the stream
	first   events.Revision // of the first event, if it is known
	inOrder bool            // all known, one after the other from first
}

func knownIDs(db pebble.Reader, r *request) (known, error) {
	var k known
	var buf []byte
	k.inOrder = true
	for i := range r.events {
		buf = appendIDKey(buf[:0], r.stream, r.events[i].ID)
		value, closer, err := db.Get(buf)
		if errors.Is(err, pebble.ErrNotFound) {
			k.inOrder = false
			continue
		}
		if err != nil {
			return known{}, translate("event ids of stream "+string(r.stream), err)
		}
		rev, err := parseNumber("event id "+r.events[i].ID.String()+" of stream "+string(r.stream), value)
		if err = errors.Join(err, closer.Close()); err != nil {
			return known{}, err
		}
		if i == 0 {
			k.first = events.Revision(rev)
		}
		k.inOrder = k.inOrder && events.Revision(rev) == k.first+events.Revision(i)
		k.count++
	}
	return k, nil
}

// decideRepeated judges an append if any of its ids is known.
func decideRepeated(db pebble.Reader, r *request, sh streamHead) (d decision, some bool, err error) {
	repeat := repeatReader{Reader: db}
	k, err := knownIDs(&repeat, r)
	if err == nil && k.count > 0 {
		d, err = decideKnown(&repeat, r, sh, k)
	}
	if e := repeat.done(); err == nil {
		err = e
	}
	return d, k.count > 0, err
}

// decideKnown judges an append of which at least one id is known: the same
// events at the same place are a success, all else is refused.
func decideKnown(db pebble.Reader, r *request, sh streamHead, k known) (decision, error) {
	reused := func(why string) (decision, error) {
		return decision{}, fmt.Errorf("append to %s: event %s: %s: %w", r.stream, r.events[0].ID, why, events.ErrIDReused)
	}
	if !k.inOrder {
		return reused(fmt.Sprintf("%d of %d events are known, or in another order", k.count, len(r.events)))
	}
	var last events.Position
	for i := range r.events {
		rev := k.first + events.Revision(i)
		same := false
		err := withStreamRecord(db, r.stream, rev, func(rec *record) error {
			same, last = rec.sameEvent(&r.events[i]), rec.pos
			return nil
		})
		if err != nil {
			return decision{}, err
		}
		if !same {
			return reused(fmt.Sprintf("revision %d holds other bytes", rev))
		}
	}
	if !samePlace(r.expected, k.first, sh) {
		if !r.expected.Matches(sh.last, sh.shown()) {
			return decision{}, wrongRevision(r, sh)
		}
		return reused(fmt.Sprintf("stands at revision %d already", k.first))
	}
	return decision{result: events.Result{
		First: k.first, Last: k.first + events.Revision(len(r.events)-1), Position: last, Duplicate: true,
	}}, nil
}

// samePlace reports whether an append that expected e would have put its first
// event at revision first. Any and StreamExists name no place, and a stream that
// was deleted may have begun anew anywhere up to what is hidden.
func samePlace(e events.ExpectedRevision, first events.Revision, sh streamHead) bool {
	if r, ok := e.Exactly(); ok {
		return first == r+1
	}
	noStream := !e.Matches(0, true)
	return !noStream || first <= sh.hidden
}

func wrongRevision(r *request, sh streamHead) error {
	return &events.WrongRevisionError{Stream: r.stream, Expected: r.expected, Actual: sh.last, Exists: sh.shown()}
}

// withStreamRecord lends the record of one revision to use.
func withStreamRecord(db pebble.Reader, stream events.Stream, rev events.Revision, use func(*record) error) error {
	pos, err := streamPosition(db, stream, rev)
	if err != nil {
		return err
	}
	return withRecord(db, pos, func(r *record) error {
		if err := matchStream(r, stream, rev); err != nil {
			return err
		}
		return use(r)
	})
}

// matchStream checks that an index of stream led to the right record.
func matchStream(r *record, stream events.Stream, rev events.Revision) error {
	if string(r.stream) != string(stream) || r.rev != rev {
		return &events.CorruptError{
			Where:  fmt.Sprintf("revision %d of stream %s", uint64(rev), stream),
			Reason: fmt.Sprintf("index points to revision %d of stream %s", uint64(r.rev), r.stream),
		}
	}
	return nil
}
