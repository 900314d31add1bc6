package pebblestore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/caxton-run/caxton/events"
)

// A command is one append as the proposer decided it, with everything that
// apply may not choose for itself: position, revision and time are in its
// records. Numbers are big-endian:
//
//	0  version (1)
//	1  CRC-32C of all that follows, 4 bytes
//	5  number of events, 4 bytes
//	9  per event: length of correlation id (2), correlation id,
//	   length of record (4), record
//
// All events are of one stream, with consecutive revisions and positions.
const (
	commandVersion = 1
	commandHeader  = 9
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
	b = append(b, commandVersion, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(evs)))
	for i := range evs {
		b = binary.BigEndian.AppendUint16(b, uint16(len(correlations[i])))
		b = append(b, correlations[i]...)
		b = binary.BigEndian.AppendUint32(b, uint32(recordSize(at.stream, &evs[i])))
		b = appendRecord(b, at, &evs[i])
		at.pos++
		at.rev++
	}
	binary.BigEndian.PutUint32(b[start+1:], crc32.Checksum(b[start+5:], castagnoli()))
	return b
}

// decodeCommand checks and takes apart a command, appending its entries to dst.
// Errors are *events.CorruptError; an unknown version is one of them, because a
// log that this version cannot apply must stop it.
func decodeCommand(dst []entry, b []byte) ([]entry, error) {
	bad := func(format string, args ...any) ([]entry, error) {
		return nil, &events.CorruptError{Where: "log command", Reason: fmt.Sprintf(format, args...)}
	}
	if len(b) < commandHeader {
		return bad("%d bytes are too few", len(b))
	}
	if b[0] != commandVersion {
		return bad("unknown version %d", b[0])
	}
	if want, got := binary.BigEndian.Uint32(b[1:]), crc32.Checksum(b[5:], castagnoli()); want != got {
		return bad("CRC-32C is %08x, the command says %08x", got, want)
	}
	n, rest := binary.BigEndian.Uint32(b[5:]), b[commandHeader:]
	if n == 0 || n > events.MaxAppendEvents {
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
		return &events.CorruptError{Where: "log command", Reason: "bad stream name"}
	}
	for i := range entries {
		r := &entries[i].rec
		if string(r.stream) != string(first.stream) || r.rev != first.rev+events.Revision(i) || r.pos != first.pos+events.Position(i) {
			return &events.CorruptError{Where: "log command", Reason: fmt.Sprintf("event %d does not follow the one before it", i)}
		}
		if err := validateType(events.Type(r.typ)); err != nil {
			return &events.CorruptError{Where: "log command", Reason: fmt.Sprintf("event %d: %s", i, err)}
		}
	}
	return nil
}
