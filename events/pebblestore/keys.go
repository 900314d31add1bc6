package pebblestore

import (
	"bytes"
	"encoding/binary"

	"github.com/caxton-run/caxton/events"
)

// The first byte of a key says what the key is. Numbers are 8 bytes big-endian,
// so keys sort by them. Names of streams, categories and types hold no control
// characters, so a zero byte ends them; a correlation id may hold anything, so
// its length precedes it.
const (
	kindEvent       = 'e' // position → record
	kindStream      = 's' // stream 0 revision → position
	kindHead        = 'h' // stream → head
	kindCategory    = 'c' // category 0 position → nothing
	kindType        = 't' // type 0 position → nothing
	kindCorrelation = 'k' // length(2) correlation position → nothing
	kindID          = 'i' // stream 0 event id → revision
	kindRoot        = 'm' // chunk → root
	kindScavenged   = 'x' // stream → revision below which a scavenge has been
	kindApplied     = 'a' // → next position, root
	kindReplica     = 'r' // → index of the last entry applied; only in a replica
	kindNoted       = 'n' // → the notes beside the log were made
)

// maxCorrelation bounds, in bytes, the correlation ids that are indexed. Longer
// ones are stored with their event and not indexed.
const maxCorrelation = events.MaxStreamName

func appendEventKey(b []byte, pos events.Position) []byte {
	return binary.BigEndian.AppendUint64(append(b, kindEvent), uint64(pos))
}

func appendNamePrefix[T ~string | ~[]byte](b []byte, kind byte, name T) []byte {
	return append(append(append(b, kind), name...), 0)
}

func appendNumberedKey[T ~string | ~[]byte](b []byte, kind byte, name T, n uint64) []byte {
	return binary.BigEndian.AppendUint64(appendNamePrefix(b, kind, name), n)
}

func appendHeadKey[T ~string | ~[]byte](b []byte, stream T) []byte {
	return append(append(b, kindHead), stream...)
}

func appendIDKey[T ~string | ~[]byte](b []byte, stream T, id events.EventID) []byte {
	return append(appendNamePrefix(b, kindID, stream), id[:]...)
}

func appendCorrelationPrefix[T ~string | ~[]byte](b []byte, correlation T) []byte {
	b = binary.BigEndian.AppendUint16(append(b, kindCorrelation), uint16(len(correlation)))
	return append(b, correlation...)
}

func appendRootKey(b []byte, chunk uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, kindRoot), chunk)
}

func appendScavengedKey[T ~string | ~[]byte](b []byte, stream T) []byte {
	return append(append(b, kindScavenged), stream...)
}

func appliedKey() []byte { return []byte{kindApplied} }

func notedKey() []byte { return []byte{kindNoted} }

// key is any key of the engine, taken apart.
type key struct {
	kind   byte
	name   string // stream, category, type or correlation id
	number uint64 // position; revision for kindStream, chunk for kindRoot
	id     events.EventID
}

// parseKey takes a key apart. A key that the engine cannot have written is a
// *events.CorruptError.
func parseKey(b []byte) (key, error) {
	bad := &events.CorruptError{Where: "key", Reason: "unknown form"}
	if len(b) == 0 {
		return key{}, bad
	}
	k, rest := key{kind: b[0]}, b[1:]
	tail := 8 // bytes after the name
	switch k.kind {
	case kindApplied, kindReplica, kindNoted:
		if len(rest) != 0 {
			return key{}, bad
		}
		return k, nil
	case kindHead, kindScavenged:
		k.name = string(rest)
		return k, validName(k.name, bad)
	case kindEvent, kindRoot:
		if len(rest) != tail {
			return key{}, bad
		}
	case kindCorrelation:
		if len(rest) < 2 || len(rest)-2-tail != int(binary.BigEndian.Uint16(rest)) {
			return key{}, bad
		}
		k.name, rest = string(rest[2:len(rest)-tail]), rest[len(rest)-tail:]
	case kindStream, kindCategory, kindType, kindID:
		if k.kind == kindID {
			tail = len(k.id)
		}
		end := bytes.IndexByte(rest, 0)
		if end < 0 || len(rest)-end-1 != tail {
			return key{}, bad
		}
		k.name, rest = string(rest[:end]), rest[end+1:]
	default:
		return key{}, bad
	}
	if k.kind == kindID {
		copy(k.id[:], rest)
		return k, nil
	}
	k.number = binary.BigEndian.Uint64(rest)
	return k, nil
}

func validName(name string, bad error) error {
	if events.Stream(name).Validate() != nil {
		return bad
	}
	return nil
}

// encode writes k as the engine does: the inverse of parseKey.
func (k key) encode() []byte {
	switch k.kind {
	case kindEvent:
		return appendEventKey(nil, events.Position(k.number))
	case kindHead:
		return appendHeadKey(nil, k.name)
	case kindScavenged:
		return appendScavengedKey(nil, k.name)
	case kindRoot:
		return appendRootKey(nil, k.number)
	case kindID:
		return appendIDKey(nil, k.name, k.id)
	case kindCorrelation:
		return binary.BigEndian.AppendUint64(appendCorrelationPrefix(nil, k.name), k.number)
	case kindApplied, kindReplica, kindNoted:
		return []byte{k.kind}
	default:
		return appendNumberedKey(nil, k.kind, k.name, k.number)
	}
}

// Values of the small keys. They carry no checksum of their own: whoever
// follows one compares the record it finds with the one it looked for.

func number(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func parseNumber(where string, b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, &events.CorruptError{Where: where, Reason: "value is not 8 bytes"}
	}
	return binary.BigEndian.Uint64(b), nil
}
