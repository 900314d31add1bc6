package actors

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Bounds of the snapshots that a node makes and reads at a time. Each that is made holds
// its agent's memory once or twice more until it is stored, and when memory is short all
// agents want one at the same moment.
const (
	savesAtOnce = 8         // keep the log's group commit busy
	saveBytes   = 128 << 20 // of the memory of their guests; a larger one is made alone
	wakeBytes   = 256 << 20 // of snapshots that are read; the largest is 248 MiB, of it 128 of an unpacked state
)

// saves gives places to snapshots, in the order in which they are asked for: at most
// savesAtOnce, and of guests of so many bytes, or one. Its methods may be called from any
// goroutine.
type saves struct {
	bytes  int64
	places *semaphore.Weighted // weighs bytes
}

func newSaves(bytes int64) saves { return saves{bytes, semaphore.NewWeighted(bytes)} }

// weight is what the snapshot of a guest of so many bytes takes of the places: a small
// one as much as savesAtOnce leave to each.
func (s *saves) weight(size uint64) int64 {
	return max(int64(min(size, uint64(s.bytes))), s.bytes/savesAtOnce, 1)
}

// tryTake takes a place for a snapshot of a guest of so many bytes, if there is one
// and nobody waits for it. With true, leave must follow.
func (s *saves) tryTake(size uint64) bool { return s.places.TryAcquire(s.weight(size)) }

// await waits for a place and reports whether it got it before ctx ended. With true,
// leave must follow.
func (s *saves) await(ctx context.Context, size uint64) bool {
	return s.places.Acquire(ctx, s.weight(size)) == nil
}

// leave gives a place back.
func (s *saves) leave(size uint64) { s.places.Release(s.weight(size)) }
