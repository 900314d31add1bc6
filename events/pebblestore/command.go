package pebblestore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/caxton-run/caxton/events"
)

// A command is one change of the log as the proposer decided it, with everything
// that apply may not choose for itself. Numbers are big-endian:
//
//	0  version (1)
//	1  CRC-32C of all that follows, 4 bytes
//	5  kind: 1 append, 2 scavenge
//	6  body
//
// An append's body; position, revision and time are in its records. All events
// are of one stream, with consecutive revisions and positions:
//
//	number of events, 4 bytes
//	per event: length of correlation id (2), correlation id,
//	           length of record (4), record
//
// A scavenge's body; the positions grow:
//
//	number of positions, 4 bytes; 8 bytes each
//	number of marks, 4 bytes; per mark: length of stream (2), stream, revision (8)
const (
	commandVersion = 1
	commandHeader  = 6

	commandAppend   = 1
	commandScavenge = 2
)

// entry is one event of a decoded command; its slices alias the command.
type entry struct {
	correlation []byte // empty: not indexed
	raw         []byte // the record as it will lie on disk
	rec         record
}

// appendCommand encodes an append whose first event goes to at. correlations
// has one string per event.
func appendCommand(b []byte, at place, evs []events.Event, correlations []string) []byte {
	start := len(b)
	b = append(b, commandVersion, 0, 0, 0, 0, commandAppend)
	b = binary.BigEndian.AppendUint32(b, uint32(len(evs)))
	for i := range evs {
		b = binary.BigEndian.AppendUint16(b, uint16(len(correlations[i])))
		b = append(b, correlations[i]...)
		b = binary.BigEndian.AppendUint32(b, uint32(recordSize(at.stream, &evs[i])))
		b = appendRecord(b, at, &evs[i])
		at.pos++
		at.rev++
	}
	return sealCommand(b, start)
}

// sealCommand puts the checksum into the command that begins at start.
func sealCommand(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start+1:], crc32.Checksum(b[start+5:], castagnoli()))
	return b
}

func badCommand(format string, args ...any) error {
	return &events.CorruptError{Where: "log command", Reason: fmt.Sprintf(format, args...)}
}

// openCommand checks a command and returns its kind and body. Errors are
// *events.CorruptError; an unknown version is one of them, because a log that
// this version cannot apply must stop it.
func openCommand(b []byte) (kind byte, body []byte, err error) {
	if len(b) < commandHeader {
		return 0, nil, badCommand("%d bytes are too few", len(b))
	}
	if b[0] != commandVersion {
		return 0, nil, badCommand("unknown version %d", b[0])
	}
	if want, got := binary.BigEndian.Uint32(b[1:]), crc32.Checksum(b[5:], castagnoli()); want != got {
		return 0, nil, badCommand("CRC-32C is %08x, the command says %08x", got, want)
	}
	if b[5] != commandAppend && b[5] != commandScavenge {
		return 0, nil, badCommand("unknown kind %d", b[5])
	}
	return b[5], b[commandHeader:], nil
}

// decodeAppend takes apart the body of an append, adding its entries to dst.
// Errors are *events.CorruptError.
func decodeAppend(dst []entry, body []byte) ([]entry, error) {
	bad := func(format string, args ...any) ([]entry, error) { return nil, badCommand(format, args...) }
	n, rest, err := count(body)
	if err != nil || n == 0 || n > events.MaxAppendEvents {
		return bad("%d events", n)
	}
	for i := range n {
		var e entry
		var err error
		if e.correlation, rest, err = cut(rest, 2); err == nil {
			e.raw, rest, err = cut(rest, 4)
		}
		if err != nil || len(e.correlation) > maxCorrelation {
			return bad("event %d: lengths do not add up", i)
		}
		if e.rec, err = decodeRecord(func() string { return fmt.Sprintf("log command, event %d", i) }, e.raw); err != nil {
			return nil, err
		}
		dst = append(dst, e)
	}
	if len(rest) != 0 {
		return bad("%d bytes too many", len(rest))
	}
	return dst, checkConsecutive(dst)
}

// count takes a number of 4 bytes from b.
func count(b []byte) (n uint32, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, events.ErrCorrupt
	}
	return binary.BigEndian.Uint32(b), b[4:], nil
}

// cut takes a length of width bytes and as many bytes from b.
func cut(b []byte, width int) (part, rest []byte, err error) {
	if len(b) < width {
		return nil, nil, events.ErrCorrupt
	}
	var n uint64
	for _, c := range b[:width] {
		n = n<<8 | uint64(c)
	}
	b = b[width:]
	if n > uint64(len(b)) {
		return nil, nil, events.ErrCorrupt
	}
	return b[:n:n], b[n:], nil
}

func checkConsecutive(entries []entry) error {
	first := &entries[0].rec
	if events.Stream(first.stream).Validate() != nil {
		return badCommand("bad stream name")
	}
	for i := range entries {
		r := &entries[i].rec
		if string(r.stream) != string(first.stream) || r.rev != first.rev+events.Revision(i) || r.pos != first.pos+events.Position(i) {
			return badCommand("event %d does not follow the one before it", i)
		}
		if r.scavenged() {
			return badCommand("event %d is scavenged", i)
		}
		if err := validateType(events.Type(r.typ)); err != nil {
			return badCommand("event %d: %s", i, err)
		}
	}
	return nil
}
