package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// Outcomes on the way from the leader to the member that proposed. Numbers are
// big-endian: kind (1), then for
//
//	0 success, 1 duplicate   first, last, position: 8 bytes each
//	2 wrong revision         length of stream (2), stream, expectation (9), actual (8), exists (1)
//	3 id reused, 4 deleted, 5 not found, 6 invalid, 7 other
//	                         length of text (2), text; 6: length of field (2) and field before it
const (
	outSuccess = iota
	outDuplicate
	outWrongRevision
	outIDReused
	outDeleted
	outNotFound
	outInvalid
	outOther

	maxOutcomeText = 1024 // bytes; what is longer is cut
)

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxOutcomeText)]
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendOutcome(b []byte, o pebblestore.Outcome) []byte {
	var wrong *events.WrongRevisionError
	var invalid *events.InvalidError
	switch {
	case o.Err == nil:
		kind := byte(outSuccess)
		if o.Result.Duplicate {
			kind = outDuplicate
		}
		b = binary.BigEndian.AppendUint64(append(b, kind), uint64(o.Result.First))
		b = binary.BigEndian.AppendUint64(b, uint64(o.Result.Last))
		return binary.BigEndian.AppendUint64(b, uint64(o.Result.Position))
	case errors.As(o.Err, &wrong):
		b = appendText(append(b, outWrongRevision), string(wrong.Stream))
		expected, err := wrong.Expected.MarshalBinary()
		if err != nil { // nine bytes: cannot fail
			panic(err)
		}
		b = binary.BigEndian.AppendUint64(append(b, expected...), uint64(wrong.Actual))
		if wrong.Exists {
			return append(b, 1)
		}
		return append(b, 0)
	case errors.As(o.Err, &invalid) && len(invalid.Fields) > 0:
		b = appendText(append(b, outInvalid), invalid.Fields[0].Field)
		return appendText(b, invalid.Fields[0].Reason)
	}
	kind := byte(outOther)
	for k, sentinel := range sentinels() {
		if errors.Is(o.Err, sentinel) {
			kind = k
		}
	}
	return appendText(append(b, kind), o.Err.Error())
}

// sentinels are the refusals that carry a text.
func sentinels() map[byte]error {
	return map[byte]error{
		outIDReused: events.ErrIDReused, outDeleted: events.ErrStreamDeleted, outNotFound: events.ErrStreamNotFound,
	}
}

// refused is a refusal as another member worded it.
type refused struct {
	text string
	is   error // nil for one without a sentinel
}

// Error implements error.
func (e *refused) Error() string { return e.text }

// Unwrap returns the sentinel.
func (e *refused) Unwrap() error { return e.is }

// outcomeReader takes outcomes apart. After the first fault all reads are zero.
type outcomeReader struct {
	b   []byte
	bad bool
}

func (r *outcomeReader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	part := r.b[:n:n]
	r.b = r.b[n:]
	return part
}

func (r *outcomeReader) number() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *outcomeReader) text() string { return string(r.take(int(binary.BigEndian.Uint16(r.take(2))))) }

func (r *outcomeReader) outcome() (o pebblestore.Outcome) {
	switch kind := r.take(1)[0]; kind {
	case outSuccess, outDuplicate:
		o.Result = events.Result{
			First: events.Revision(r.number()), Last: events.Revision(r.number()),
			Position: events.Position(r.number()), Duplicate: kind == outDuplicate,
		}
	case outWrongRevision:
		e := &events.WrongRevisionError{Stream: events.Stream(r.text())}
		if e.Expected.UnmarshalBinary(r.take(9)) != nil {
			r.bad = true
		}
		e.Actual, e.Exists = events.Revision(r.number()), r.take(1)[0] == 1
		o.Err = e
	case outInvalid:
		field := r.text()
		o.Err = events.Invalid(field, r.text())
	case outIDReused, outDeleted, outNotFound, outOther:
		o.Err = &refused{r.text(), sentinels()[kind]}
	default:
		r.bad = true
	}
	return o
}

// readOutcomes reads n outcomes, and nothing after them.
func readOutcomes(b []byte, n int) ([]pebblestore.Outcome, error) {
	r := &outcomeReader{b: b}
	out := make([]pebblestore.Outcome, n)
	for i := range out {
		out[i] = r.outcome()
	}
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("outcomes of %d proposals: %w", n, events.ErrCorrupt)
	}
	return out, nil
}
