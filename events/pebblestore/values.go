package pebblestore

import (
	"encoding/binary"

	"github.com/caxton-run/caxton/events"
)

// Each small value of more than one number begins with its version.
const (
	appliedVersion  = 2
	appliedUnrooted = 1 // had no root; Open computes it once
	headVersion     = 2
	headUnflagged   = 1 // had no flags, which reads as none set
	rootVersion     = 1

	appliedSize = 1 + 8 + len(root{})
	headSize    = 1 + 3*8 + 1
	rootSize    = 1 + len(root{})
)

func encodeApplied(next events.Position, r root) []byte {
	b := append(make([]byte, 0, appliedSize), appliedVersion)
	return append(binary.BigEndian.AppendUint64(b, uint64(next)), r[:]...)
}

// parseApplied reads either version; rooted is false for one without a root.
func parseApplied(b []byte) (next events.Position, r root, rooted bool, err error) {
	if len(b) == 1+8 && b[0] == appliedUnrooted {
		return events.Position(binary.BigEndian.Uint64(b[1:])), root{}, false, nil
	}
	if len(b) != appliedSize || b[0] != appliedVersion {
		return 0, root{}, false, &events.CorruptError{Where: "applied position", Reason: "unknown version or length"}
	}
	return events.Position(binary.BigEndian.Uint64(b[1:])), root(b[9:]), true, nil
}

func appendRoot(b []byte, r root) []byte { return append(append(b, rootVersion), r[:]...) }

func parseRoot(where string, b []byte) (root, error) {
	if len(b) != rootSize || b[0] != rootVersion {
		return root{}, &events.CorruptError{Where: where, Reason: "unknown version or length"}
	}
	return root(b[1:]), nil
}

// head is what a writer must know about a stream that has events.
type head struct {
	last       events.Revision // of the last event
	lastPos    events.Position // of the last event
	firstPos   events.Position // of the first event ever
	tombstoned bool            // the last event ended the stream
}

const flagTombstoned = 1

func appendHead(b []byte, h head) []byte {
	flags := byte(0)
	if h.tombstoned {
		flags |= flagTombstoned
	}
	b = append(b, headVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(h.last))
	b = binary.BigEndian.AppendUint64(b, uint64(h.lastPos))
	b = binary.BigEndian.AppendUint64(b, uint64(h.firstPos))
	return append(b, flags)
}

// parseHead reads either version.
func parseHead(stream events.Stream, b []byte) (head, error) {
	if len(b) == headSize-1 && b[0] == headUnflagged {
		b = append(append([]byte{headVersion}, b[1:]...), 0)
	}
	if len(b) != headSize || b[0] != headVersion || b[headSize-1]&^flagTombstoned != 0 {
		return head{}, &events.CorruptError{Where: "head of stream " + string(stream), Reason: "unknown version, length or flag"}
	}
	return head{
		last:       events.Revision(binary.BigEndian.Uint64(b[1:])),
		lastPos:    events.Position(binary.BigEndian.Uint64(b[9:])),
		firstPos:   events.Position(binary.BigEndian.Uint64(b[17:])),
		tombstoned: b[headSize-1]&flagTombstoned != 0,
	}, nil
}
