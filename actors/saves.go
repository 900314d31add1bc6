package actors

import (
	"context"
	"slices"
	"sync"
)

// Bounds of the snapshots that a node makes at a time. Each holds its agent's memory
// once or twice more until it is stored, and when memory is short all agents want one at
// the same moment.
const (
	savesAtOnce = 8         // keep the log's group commit busy
	saveBytes   = 128 << 20 // of the memory of their guests; a larger one is made alone
)

// saves gives places to snapshots, in the order in which they are asked for. Its
// methods may be called from any goroutine.
//
// Invariant: taken ≤ savesAtOnce ∧ (held ≤ bytes ∨ taken = 1).
type saves struct {
	bytes uint64 // saveBytes, but in tests

	mu      sync.Mutex // guards below
	taken   int
	held    uint64
	waiting []*saveWait // in order
}

// saveWait is one that waits for its place.
type saveWait struct {
	size  uint64
	given chan struct{} // closed, under mu, when it has its place
}

// room reports whether one of so many bytes may be made now. Caller holds mu.
func (s *saves) room(size uint64) bool {
	return s.taken == 0 || s.taken < savesAtOnce && s.held+size <= s.bytes
}

// take takes a place. Caller holds mu.
func (s *saves) take(size uint64) {
	s.taken++
	s.held += size
}

// tryTake takes a place for a snapshot of a guest of so many bytes, if there is one
// and nobody waits for it. With true, leave must follow.
func (s *saves) tryTake(size uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 || !s.room(size) {
		return false
	}
	s.take(size)
	return true
}

// await waits for a place and reports whether it got it before ctx ended. With true,
// leave must follow.
func (s *saves) await(ctx context.Context, size uint64) bool {
	if s.tryTake(size) {
		return true
	}
	w := &saveWait{size: size, given: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.advance()
	s.mu.Unlock()
	select {
	case <-w.given:
		return true
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.advance() // those behind it may be smaller
		return false
	}
	return true // both happened
}

// leave gives a place back.
func (s *saves) leave(size uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.held -= size
	s.advance()
}

// advance gives places to those that have waited longest. Caller holds mu.
func (s *saves) advance() {
	for len(s.waiting) > 0 && s.room(s.waiting[0].size) {
		w := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.take(w.size)
		close(w.given)
	}
}
