package raftstore

import (
	"encoding/binary"
	"fmt"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// The data of a raft entry. Numbers are big-endian:
//
//	0  version: 1 to newestEntry, by the cluster's version
//	1  term in which it counts, 8 bytes
//	9  number of proposals, 4 bytes
//	13 per proposal: length (4), proposal
//
// In any other term the entry is void. A proposal whose outcome is not known is
// repeated in a later entry; were the first one's to be taken up by a later leader
// after that, a refusal that was already answered could turn into a write.
const entryHeader = 13

// Bounds of one entry. An entry is one message to each follower and one write to
// each disk: a large one delays heartbeats.
const (
	maxProposals  = 1024
	maxEntryBytes = 1 << 20 // beyond which no further proposal is put in; one may be larger
)

// encodeEntry makes the data of an entry of some version that counts in term.
func encodeEntry(version byte, term uint64, proposals [][]byte) []byte {
	size := entryHeader
	for _, p := range proposals {
		size += 4 + len(p)
	}
	b := append(make([]byte, 0, size), version)
	b = binary.BigEndian.AppendUint64(b, term)
	b = binary.BigEndian.AppendUint32(b, uint32(len(proposals)))
	for _, p := range proposals {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return b
}

// decodeEntry takes an entry's data apart; proposals alias b. Errors are
// *events.CorruptError; an unknown version is one of them, because a member that
// cannot read an entry must stop.
func decodeEntry(b []byte) (term uint64, proposals [][]byte, err error) {
	bad := func(format string, args ...any) (uint64, [][]byte, error) {
		return 0, nil, &events.CorruptError{Where: "raft entry", Reason: fmt.Sprintf(format, args...)}
	}
	if len(b) < entryHeader {
		return bad("%d bytes are too few", len(b))
	}
	if b[0] == 0 || b[0] > newestEntry {
		return bad("unknown version %d: it was written by a newer member", b[0])
	}
	term = binary.BigEndian.Uint64(b[1:])
	n := binary.BigEndian.Uint32(b[9:])
	if n == 0 || n > maxProposals {
		return bad("%d proposals", n)
	}
	rest := b[entryHeader:]
	proposals = make([][]byte, n)
	for i := range proposals {
		if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return bad("proposal %d: lengths do not add up", i)
		}
		size := binary.BigEndian.Uint32(rest)
		proposals[i], rest = rest[4:4+size:4+size], rest[4+size:]
	}
	if len(rest) != 0 {
		return bad("%d bytes too many", len(rest))
	}
	return term, proposals, nil
}

// checkForwarded looks at an entry that another member sends before it gets into
// the log: one that does not read would stop every member.
func checkForwarded(b []byte) error {
	_, proposals, err := decodeEntry(b)
	for i := 0; err == nil && i < len(proposals); i++ {
		err = pebblestore.CheckProposal(proposals[i])
	}
	return err
}
