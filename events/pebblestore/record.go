package pebblestore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/caxton-run/caxton/events"
)

// A record is one event as it lies on disk, numbers big-endian:
//
//	 0  version (1)
//	 1  CRC-32C (Castagnoli, RFC 3720 appendix B.4) of all that follows, 4 bytes
//	 5  content type: 0 none, 1 JSON, 2 octet-stream; 3 scavenged
//	 6  position, 8 bytes
//	14  revision, 8 bytes
//	22  recorded at, µs since the Unix epoch, 8 bytes
//	30  event id, 16 bytes
//	46  length of stream (2), of type (2), of metadata (4)
//	54  stream, type, metadata, data
//
// Position, stream and revision stand under the checksum, so that a whole
// record that turns up in another's place is found out too.
//
// A scavenged record has no metadata, and its data are the leaf of the record
// that it stands for.
const (
	recordVersion = 1
	recordHeader  = 54
)

const (
	contentNone = iota
	contentJSON
	contentBinary
	contentScavenged
)

// castagnoli returns the table of CRC-32C; the package keeps one and computes
// with the processor's instruction where there is one.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// record is a decoded record. Its byte slices alias the bytes it was read from.
type record struct {
	pos      events.Position
	rev      events.Revision
	micros   int64 // recorded at, since the Unix epoch
	id       events.EventID
	content  byte
	stream   []byte
	typ      []byte
	metadata []byte
	data     []byte
}

// place is where and when the proposer puts an event.
type place struct {
	stream events.Stream
	pos    events.Position
	rev    events.Revision
	micros int64
}

func contentCode(c events.ContentType) (code byte, ok bool) {
	switch c {
	case "":
		return contentNone, true
	case events.JSON:
		return contentJSON, true
	case events.Binary:
		return contentBinary, true
	}
	return 0, false
}

func contentType(code byte) events.ContentType {
	switch code {
	case contentJSON:
		return events.JSON
	case contentBinary:
		return events.Binary
	}
	return ""
}

// recordSize is the length of an event's record.
func recordSize(stream events.Stream, ev *events.Event) int {
	return recordHeader + len(stream) + ev.Size()
}

// appendRecord encodes an event. Its content type was checked before.
func appendRecord(b []byte, at place, ev *events.Event) []byte {
	start := len(b)
	code, _ := contentCode(ev.ContentType)
	b = append(b, recordVersion, 0, 0, 0, 0, code)
	b = binary.BigEndian.AppendUint64(b, uint64(at.pos))
	b = binary.BigEndian.AppendUint64(b, uint64(at.rev))
	b = binary.BigEndian.AppendUint64(b, uint64(at.micros))
	b = append(b, ev.ID[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(at.stream)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(ev.Type)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(ev.Metadata)))
	b = append(b, at.stream...)
	b = append(b, ev.Type...)
	b = append(b, ev.Metadata...)
	b = append(b, ev.Data...)
	binary.BigEndian.PutUint32(b[start+1:], crc32.Checksum(b[start+5:], castagnoli()))
	return b
}

// decodeRecord checks and takes apart a record. Errors are *events.CorruptError
// with where as the place.
func decodeRecord(where func() string, b []byte) (record, error) {
	if len(b) < recordHeader {
		return record{}, &events.CorruptError{Where: where(), Reason: fmt.Sprintf("record of %d bytes is cut short", len(b))}
	}
	if b[0] != recordVersion {
		return record{}, &events.CorruptError{Where: where(), Reason: fmt.Sprintf("unknown record version %d", b[0])}
	}
	if want, got := binary.BigEndian.Uint32(b[1:]), crc32.Checksum(b[5:], castagnoli()); want != got {
		return record{}, &events.CorruptError{Where: where(), Reason: fmt.Sprintf("CRC-32C is %08x, the record says %08x", got, want)}
	}
	r := record{
		content: b[5],
		pos:     events.Position(binary.BigEndian.Uint64(b[6:])),
		rev:     events.Revision(binary.BigEndian.Uint64(b[14:])),
		micros:  int64(binary.BigEndian.Uint64(b[22:])),
		id:      events.EventID(b[30:46]),
	}
	ns, nt := int(binary.BigEndian.Uint16(b[46:])), int(binary.BigEndian.Uint16(b[48:]))
	nm, rest := int(binary.BigEndian.Uint32(b[50:])), b[recordHeader:]
	if ns+nt+nm > len(rest) || r.content > contentScavenged {
		return record{}, &events.CorruptError{Where: where(), Reason: "lengths in the record do not add up"}
	}
	r.stream, rest = rest[:ns:ns], rest[ns:]
	r.typ, rest = rest[:nt:nt], rest[nt:]
	r.metadata, r.data = rest[:nm:nm], rest[nm:]
	if r.scavenged() && (nm != 0 || len(r.data) != len(leaf{})) {
		return record{}, &events.CorruptError{Where: where(), Reason: "scavenged record holds no leaf"}
	}
	return r, nil
}

// scavenged reports whether only the leaf is left of the event.
func (r *record) scavenged() bool { return r.content == contentScavenged }

// leaf returns the leaf of the event, given the bytes of its record.
func (r *record) leaf(raw []byte) leaf {
	if r.scavenged() {
		return leaf(r.data)
	}
	return leafOf(raw)
}

// appendScavenged encodes what a scavenge leaves of r, whose leaf is l.
func appendScavenged(b []byte, r *record, l leaf) []byte {
	start := len(b)
	at := place{stream: events.Stream(r.stream), pos: r.pos, rev: r.rev, micros: r.micros}
	b = appendRecord(b, at, &events.Event{ID: r.id, Type: events.Type(r.typ), Data: l[:]})
	b[start+5] = contentScavenged
	binary.BigEndian.PutUint32(b[start+1:], crc32.Checksum(b[start+5:], castagnoli()))
	return b
}

// sameEvent reports whether r holds the very bytes of ev, or held them before it
// was scavenged.
func (r *record) sameEvent(ev *events.Event) bool {
	code, ok := contentCode(ev.ContentType)
	if r.scavenged() {
		at := place{stream: events.Stream(r.stream), pos: r.pos, rev: r.rev, micros: r.micros}
		return ok && leafOf(appendRecord(nil, at, ev)) == leaf(r.data)
	}
	return ok && r.id == ev.ID && r.content == code && string(r.typ) == string(ev.Type) &&
		string(r.metadata) == string(ev.Metadata) && string(r.data) == string(ev.Data)
}

// recorded copies r into memory of its own. names saves an allocation per name.
func (r *record) recorded(names *names) events.Recorded {
	body := make([]byte, len(r.metadata)+len(r.data))
	nm := copy(body, r.metadata)
	copy(body[nm:], r.data)
	return events.Recorded{
		Event: events.Event{
			ID: r.id, Type: events.Type(names.of(r.typ)), ContentType: contentType(r.content),
			Metadata: body[:nm:nm], Data: body[nm:],
		},
		Stream: events.Stream(names.of(r.stream)), Revision: r.rev, Position: r.pos,
		RecordedAt: time.UnixMicro(r.micros).UTC(),
	}
}

// names gives equal names one string. It belongs to one reader and is emptied
// when it grows past maxNames, because streams are many.
type names struct{ known map[string]string }

const maxNames = 1024

func (n *names) of(b []byte) string {
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	if n.known == nil || len(n.known) >= maxNames {
		n.known = make(map[string]string)
	}
	s := string(b)
	n.known[s] = s
	return s
}
