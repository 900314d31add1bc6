package events

import "strconv"

// Revision is an event's place in its stream, from 0, without gaps.
type Revision uint64

// Position is an event's place in the whole log ($all), from 0, strictly
// increasing. Gaps are allowed.
type Position uint64

// EndOfLog is the position after every event: where a backwards read of
// everything begins.
const EndOfLog Position = 1<<63 - 1

// EndOfStream is the revision after every event of a stream: where a backwards
// read of it begins.
const EndOfStream Revision = 1<<63 - 1

// ExpectedRevision is what a writer believes about a stream when it appends: the
// zero value is Any. It is the only defence against two writers, so every
// writer but a log of independent facts states one.
type ExpectedRevision struct {
	kind expectedKind
	rev  Revision
}

type expectedKind uint8

const (
	expectAny expectedKind = iota
	expectNoStream
	expectStreamExists
	expectExact
)

// Any appends whatever the stream holds.
func Any() ExpectedRevision { return ExpectedRevision{} }

// NoStream appends only if the stream has no events.
func NoStream() ExpectedRevision { return ExpectedRevision{kind: expectNoStream} }

// StreamExists appends only if the stream has an event.
func StreamExists() ExpectedRevision { return ExpectedRevision{kind: expectStreamExists} }

// Exact appends only if r is the revision of the stream's last event.
func Exact(r Revision) ExpectedRevision { return ExpectedRevision{kind: expectExact, rev: r} }

// IsAny reports whether e is Any.
func (e ExpectedRevision) IsAny() bool { return e.kind == expectAny }

// Exactly returns the revision of an Exact expectation; ok is false for others.
func (e ExpectedRevision) Exactly() (r Revision, ok bool) {
	return e.rev, e.kind == expectExact
}

// Matches reports whether a stream whose last event is head (exists false when
// it has none) satisfies e.
func (e ExpectedRevision) Matches(head Revision, exists bool) bool {
	switch e.kind {
	case expectNoStream:
		return !exists
	case expectStreamExists:
		return exists
	case expectExact:
		return exists && head == e.rev
	default:
		return true
	}
}

// String returns "any", "no stream", "stream exists" or the revision.
func (e ExpectedRevision) String() string {
	switch e.kind {
	case expectNoStream:
		return "no stream"
	case expectStreamExists:
		return "stream exists"
	case expectExact:
		return strconv.FormatUint(uint64(e.rev), 10)
	default:
		return "any"
	}
}

// MarshalBinary encodes e for a log command: one kind byte, then the revision
// as 8 bytes big-endian.
func (e ExpectedRevision) MarshalBinary() ([]byte, error) {
	b := make([]byte, 9)
	b[0] = byte(e.kind)
	for i := range 8 {
		b[1+i] = byte(e.rev >> (56 - 8*i))
	}
	return b, nil
}

// UnmarshalBinary decodes what MarshalBinary wrote; other bytes are ErrCorrupt.
func (e *ExpectedRevision) UnmarshalBinary(b []byte) error {
	if len(b) != 9 || b[0] > byte(expectExact) {
		return &CorruptError{Where: "expected revision", Reason: "unknown form"}
	}
	e.kind, e.rev = expectedKind(b[0]), 0
	for _, c := range b[1:] {
		e.rev = e.rev<<8 | Revision(c)
	}
	return nil
}
