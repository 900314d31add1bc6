package pebblestore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/caxton-run/caxton/events"
)

// A proposal is one change as it was asked for, with everything that deciding it
// may not choose for itself: the time, and the ids of events. Where a command says
// what became of the log, a proposal says what somebody wants, so it can be made
// before the log is known to which it will be applied, and repeated. Numbers are
// big-endian:
//
//	0  version (1)
//	1  CRC-32C of all that follows, 4 bytes
//	5  kind: 1 append, 2 metadata, 3 delete, 4 tombstone, 5 scavenge
//	6  time, microseconds since the Unix epoch, 8 bytes
//	14 body
//
// Bodies but that of a scavenge, which is that of its command, begin with
//
//	length of stream (2), stream; expectation (1), revision (8)
//
// and go on, for an append, with
//
//	number of events, 4 bytes
//	per event: id (16), content type (1), length of type (2), type,
//	           length of metadata (4), metadata, length of data (4), data
//
// and for the others with the id of the event that tells of the change (16), and
// for metadata with their JSON.
const (
	proposalVersion = 1
	proposalHeader  = 14
	expectationSize = 9

	proposeAppend    = 1
	proposeMetadata  = 2
	proposeDelete    = 3
	proposeTombstone = 4
	proposeScavenge  = 5
)

// proposalKinds are the kinds of proposal by operation.
func proposalKinds() [5]byte {
	return [...]byte{
		opAppend: proposeAppend, opMetadata: proposeMetadata, opDelete: proposeDelete,
		opTombstone: proposeTombstone, opScavenge: proposeScavenge,
	}
}

// encodeProposal makes a proposal of a request.
func encodeProposal(r *request, now time.Time) ([]byte, error) {
	b := make([]byte, proposalHeader, proposalHeader+len(r.stream)+r.size+64*(len(r.events)+1))
	b[0], b[5] = proposalVersion, proposalKinds()[r.op]
	binary.BigEndian.PutUint64(b[6:], uint64(now.UnixMicro()))
	if r.op == opScavenge {
		return sealCommand(appendScavengeBody(b, r.scavenge), 0), nil
	}
	b = appendShort(b, string(r.stream))
	expected, err := r.expected.MarshalBinary()
	if err != nil {
		return nil, err
	}
	b = append(b, expected...)
	switch r.op {
	case opAppend:
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.events)))
		for i := range r.events {
			b = appendProposed(b, &r.events[i])
		}
	default:
		b = append(b, r.id[:]...)
		if r.op == opMetadata {
			md, err := r.metadata.Encode()
			if err != nil {
				return nil, err
			}
			b = append(b, md...)
		}
	}
	return sealCommand(b, 0), nil
}

func appendShort(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendProposed(b []byte, ev *events.Event) []byte {
	code, _ := contentCode(ev.ContentType)
	b = append(append(b, ev.ID[:]...), code)
	b = appendShort(b, string(ev.Type))
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(ev.Metadata))), ev.Metadata...)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(ev.Data))), ev.Data...)
}

func badProposal(format string, args ...any) error {
	return &events.CorruptError{Where: "proposal", Reason: fmt.Sprintf(format, args...)}
}

// decodeProposal takes a proposal apart; what it returns aliases b. Errors are
// *events.CorruptError; an unknown version is one of them, because a change that
// this version cannot decide must stop it.
func decodeProposal(b []byte) (r *request, now time.Time, err error) {
	if len(b) < proposalHeader {
		return nil, now, badProposal("%d bytes are too few", len(b))
	}
	if b[0] != proposalVersion {
		return nil, now, badProposal("unknown version %d", b[0])
	}
	if want, got := binary.BigEndian.Uint32(b[1:]), crc32.Checksum(b[5:], castagnoli()); want != got {
		return nil, now, badProposal("CRC-32C is %08x, the proposal says %08x", got, want)
	}
	now = time.UnixMicro(int64(binary.BigEndian.Uint64(b[6:])))
	body := b[proposalHeader:]
	for op, kind := range proposalKinds() {
		if kind == b[5] {
			r, err = decodeProposed(operation(op), body)
			return r, now, err
		}
	}
	return nil, now, badProposal("unknown kind %d", b[5])
}

func decodeProposed(op operation, body []byte) (*request, error) {
	r := &request{op: op}
	var err error
	if op == opScavenge {
		r.stream = ScavengesStream
		r.scavenge, err = decodeScavenge(body)
		return r, err
	}
	name, rest, err := cut(body, 2)
	if err != nil || events.Stream(name).Validate() != nil {
		return nil, badProposal("bad stream name")
	}
	r.stream = events.Stream(name)
	if len(rest) < expectationSize || r.expected.UnmarshalBinary(rest[:expectationSize]) != nil {
		return nil, badProposal("unknown expectation")
	}
	rest = rest[expectationSize:]
	if op == opAppend {
		return r, r.decodeEvents(rest)
	}
	if len(rest) < len(r.id) {
		return nil, badProposal("has no event id")
	}
	copy(r.id[:], rest)
	switch rest = rest[len(r.id):]; {
	case op == opMetadata:
		if r.metadata, err = events.DecodeStreamMetadata(rest); err != nil {
			return nil, badProposal("metadata of %s: %v", r.stream, err)
		}
	case len(rest) != 0:
		return nil, badProposal("%d bytes too many", len(rest))
	}
	return r, nil
}

// decodeEvents reads the events of an append into r.
func (r *request) decodeEvents(body []byte) error {
	n, rest, err := count(body)
	if err != nil || n == 0 || n > events.MaxAppendEvents {
		return badProposal("%d events", n)
	}
	r.events = make([]events.Event, n)
	for i := range r.events {
		ev := &r.events[i]
		if rest, err = cutEvent(ev, rest); err != nil {
			return badProposal("event %d: %v", i, err)
		}
		r.size += ev.Size()
	}
	if len(rest) != 0 {
		return badProposal("%d bytes too many", len(rest))
	}
	return nil
}

func cutEvent(ev *events.Event, b []byte) (rest []byte, err error) {
	const fixed = len(ev.ID) + 1
	if len(b) < fixed {
		return nil, events.ErrCorrupt
	}
	copy(ev.ID[:], b)
	code := b[len(ev.ID)]
	if code >= contentScavenged {
		return nil, fmt.Errorf("unknown content type %d", code)
	}
	ev.ContentType = contentType(code)
	name, rest, err := cut(b[fixed:], 2)
	if err != nil {
		return nil, err
	}
	ev.Type = events.Type(name)
	if err := validateType(ev.Type); err != nil {
		return nil, err
	}
	if ev.Metadata, rest, err = cut(rest, 4); err != nil {
		return nil, err
	}
	ev.Data, rest, err = cut(rest, 4)
	return rest, err
}

// Appends reports whether a proposal, which CheckProposal would pass, is an append to
// stream.
func Appends(b []byte, stream events.Stream) bool {
	const name = proposalHeader + 2
	return len(b) >= name+len(stream) && b[5] == proposeAppend &&
		int(binary.BigEndian.Uint16(b[proposalHeader:])) == len(stream) && string(b[name:name+len(stream)]) == string(stream)
}

// ProposedEvents returns how many events a proposal appends if it is taken. Errors are
// *events.CorruptError.
func ProposedEvents(b []byte) (int, error) {
	r, _, err := decodeProposal(b)
	switch {
	case err != nil:
		return 0, err
	case r.op == opScavenge:
		return 0, nil
	case r.op == opAppend:
		return len(r.events), nil
	}
	return 1, nil
}

// Appended returns the events that a proposal appends to stream if it is taken: none where
// it is not an append to that. Errors are *events.CorruptError, of any proposal.
func Appended(b []byte, stream events.Stream) ([]events.Event, error) {
	r, _, err := decodeProposal(b)
	if err != nil || r.op != opAppend || r.stream != stream {
		return nil, err
	}
	return r.events, nil
}

// CheckProposal reports whether a proposal is one that the methods of Store make: Apply
// would take any that it can read, and one that those refuse could stop every replica for
// good. Errors are *events.CorruptError.
func CheckProposal(b []byte) error {
	r, _, err := decodeProposal(b)
	if err != nil {
		return err
	}
	if err := r.validate(); err != nil {
		return badProposal("no store asks for it: %v", err)
	}
	return nil
}

// validate checks what the methods of Store check of a request before they make it.
func (r *request) validate() error {
	switch {
	case r.op == opScavenge:
		return nil
	case r.op == opAppend && r.stream == ScavengesStream && len(r.events) == 1 && r.events[0].Type == TypeScavengeCompleted:
		return nil // tells of a scavenge
	case r.op == opAppend:
		return validateAppend(r.stream, r.events)
	}
	return validateStream(r.stream)
}
