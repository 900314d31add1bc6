package pebblestore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// ChunkEvents is how many events lie between two stored roots.
const ChunkEvents = 4096

// A leaf is the SHA-256 of an event's record. A root stands for the whole log
// below a position: the root of nothing is 32 zero bytes, and each event makes
// of it SHA-256(root, leaf). So two logs whose roots at a position are equal
// hold the same events below it, and one that changed anything cannot hide it.
//
// A scavenged record keeps its leaf, so scavenging changes no root.
//
// A chain and not a tree, because what must be carried from one group commit to
// the next is 32 bytes: opening the log reads nothing again.
type (
	leaf [sha256.Size]byte
	root [sha256.Size]byte
)

func leafOf(record []byte) leaf { return sha256.Sum256(record) }

// after returns the root after one more event.
func (r root) after(l leaf) root {
	var b [2 * sha256.Size]byte
	copy(b[:], r[:])
	copy(b[sha256.Size:], l[:])
	return sha256.Sum256(b[:])
}

// endsChunk reports whether pos is the last of its chunk.
func endsChunk(pos events.Position) bool { return pos%ChunkEvents == ChunkEvents-1 }

// Root stands for all events below Next: two logs with equal roots hold the
// same events in the same order, scavenged or not.
type Root struct {
	Next events.Position
	Hash [sha256.Size]byte
}

// String is the position and the first half of the hash, for people.
func (r Root) String() string { return fmt.Sprintf("%d:%x", uint64(r.Next), r.Hash[:16]) }

// Root returns the root of all that is durable.
func (s *Store) Root() Root { return *s.durableRoot.Load() }

// ChunkRoot returns the root after the last event of a chunk: that of the
// position (chunk+1) × ChunkEvents. ok is false while the chunk is not full and
// durable. Errors: *events.CorruptError, events.ErrClosed, ctx's.
func (s *Store) ChunkRoot(ctx context.Context, chunk uint64) (r Root, ok bool, err error) {
	if err := s.Sync(ctx); err != nil {
		return Root{}, false, err
	}
	next := events.Position(chunk+1) * ChunkEvents
	if chunk >= uint64(events.EndOfLog)/ChunkEvents || next > s.limit() {
		return Root{}, false, nil
	}
	if err := s.enter(); err != nil {
		return Root{}, false, err
	}
	defer s.leave()
	hash, err := loadRoot(s.db, chunk)
	return Root{Next: next, Hash: hash}, err == nil, err
}

func rootName(chunk uint64) string { return fmt.Sprintf("root of chunk %d", chunk) }

// loadRoot reads the root of a chunk that is full.
func loadRoot(db pebble.Reader, chunk uint64) (root, error) {
	value, closer, err := db.Get(binary.BigEndian.AppendUint64([]byte{kindRoot}, chunk))
	if errors.Is(err, pebble.ErrNotFound) {
		return root{}, &events.CorruptError{Where: rootName(chunk), Reason: "is missing"}
	}
	if err != nil {
		return root{}, translate(rootName(chunk), err)
	}
	r, err := parseRoot(rootName(chunk), value)
	return r, errors.Join(err, closer.Close())
}
