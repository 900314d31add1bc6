package replay

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// Room bounds the memory that snapshots hold while they are read: a whole one is held,
// joined from its parts, until the agent stands on it. Agents wake when messages come,
// so without a bound as many are read at a time as are written to. A nil one does not
// bound, for tools that read one after the other.
type Room struct {
	bytes int64
	held  *semaphore.Weighted
}

// NewRoom has room for snapshots of so many bytes, at least 1. A larger one is read
// alone, and they wait in the order in which they come.
func NewRoom(bytes int64) *Room { return &Room{bytes: bytes, held: semaphore.NewWeighted(bytes)} }

// enter waits for room for a snapshot of some bytes. leave gives it back. Error: ctx's.
func (r *Room) enter(ctx context.Context, bytes int) (leave func(), err error) {
	if r == nil {
		return func() {}, nil
	}
	n := min(int64(bytes), r.bytes)
	if err := r.held.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("wait to read a snapshot of %d bytes: %w", bytes, err)
	}
	return func() { r.held.Release(n) }, nil
}
