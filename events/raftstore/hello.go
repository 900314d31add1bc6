package raftstore

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/caxton-run/caxton/events"
)

// Every connection begins with a hello of whoever dialled and an answer. Numbers
// are big-endian. The hello:
//
//	0  "cxrf"
//	4  version (1)
//	5  what the connection is for (1)
//	6  member version, 4 bytes
//	10 cluster id (16), own server id (16), server id that is wanted (16)
//
// The answer:
//
//	0  version (1)
//	1  accepted (1), or a refusal (0)
//	2  member version, 4 bytes
//	6  cluster id (16), own server id (16)
//	38 last index of the raft log, last entry applied, term: 8 bytes each
//	62 length of the reason (2), reason
const (
	helloVersion = 1
	helloSize    = 58
	answerSize   = 64
	maxReason    = 512
)

func helloMagic() string { return "cxrf" }

// What a connection is for.
const (
	forRaft    = 1 // raft's own requests
	forSession = 2 // proposals and reads for the leader
	forStatus  = 3 // the answer is all
)

type hello struct {
	purpose byte
	version uint32
	cluster ClusterID
	from    ServerID
	to      ServerID // zeros: whoever answers; forStatus only
}

func (h hello) encode() []byte {
	b := append(make([]byte, 0, helloSize), helloMagic()...)
	b = append(b, helloVersion, h.purpose)
	b = binary.BigEndian.AppendUint32(b, h.version)
	b = append(b, h.cluster[:]...)
	b = append(b, h.from[:]...)
	return append(b, h.to[:]...)
}

func readHello(r io.Reader) (h hello, err error) {
	b := make([]byte, helloSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, fmt.Errorf("read hello: %w", err)
	}
	if string(b[:4]) != helloMagic() {
		return h, events.Invalid("hello", "is not that of a member")
	}
	if b[4] != helloVersion {
		return h, events.Invalidf("hello", "has unknown version %d", b[4])
	}
	h.purpose, h.version = b[5], binary.BigEndian.Uint32(b[6:])
	copy(h.cluster[:], b[10:])
	copy(h.from[:], b[26:])
	copy(h.to[:], b[42:])
	return h, nil
}

type answer struct {
	accepted bool
	version  uint32
	cluster  ClusterID
	from     ServerID
	last     uint64
	applied  uint64
	term     uint64
	reason   string // of a refusal
}

func (a answer) encode() []byte {
	b := append(make([]byte, 0, answerSize+len(a.reason)), helloVersion, 0)
	if a.accepted {
		b[1] = 1
	}
	b = binary.BigEndian.AppendUint32(b, a.version)
	b = append(append(b, a.cluster[:]...), a.from[:]...)
	for _, n := range []uint64{a.last, a.applied, a.term} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	reason := a.reason[:min(len(a.reason), maxReason)]
	return append(binary.BigEndian.AppendUint16(b, uint16(len(reason))), reason...)
}

func readAnswer(r io.Reader) (a answer, err error) {
	b := make([]byte, answerSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return a, fmt.Errorf("read answer: %w", err)
	}
	if b[0] != helloVersion {
		return a, events.Invalidf("answer", "has unknown version %d", b[0])
	}
	a.accepted, a.version = b[1] == 1, binary.BigEndian.Uint32(b[2:])
	copy(a.cluster[:], b[6:])
	copy(a.from[:], b[22:])
	a.last, a.applied, a.term = binary.BigEndian.Uint64(b[38:]), binary.BigEndian.Uint64(b[46:]), binary.BigEndian.Uint64(b[54:])
	n := binary.BigEndian.Uint16(b[62:])
	if n > maxReason {
		return a, events.Invalidf("answer", "gives a reason of %d bytes", n)
	}
	reason := make([]byte, n)
	if _, err := io.ReadFull(r, reason); err != nil {
		return a, fmt.Errorf("read answer: %w", err)
	}
	a.reason = string(reason)
	return a, nil
}

// RefusedError is a member that will not speak to another.
type RefusedError struct {
	Address string // that was dialled, or from which somebody came
	Reason  string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("connection with %s refused: %s", e.Address, e.Reason)
}
