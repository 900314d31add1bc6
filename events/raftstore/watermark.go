package raftstore

import (
	"context"
	"sync"

	"github.com/caxton-run/caxton/events"
)

// watermark is an index that only grows, and who waits for it.
type watermark struct {
	mu      sync.Mutex // guards what follows
	at      uint64
	waiting int
	grown   chan struct{} // closed when at grows while somebody waits
}

// raise lets go whoever waits for an index up to at.
func (w *watermark) raise(at uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at <= w.at {
		return
	}
	w.at = at
	if w.waiting > 0 {
		close(w.grown)
		w.grown, w.waiting = nil, 0
	}
}

func (w *watermark) get() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// wait returns when the index reaches at. Errors: ctx's, events.ErrClosed after
// quit, events.ErrReadOnly after stopped, for then it will grow no more.
func (w *watermark) wait(ctx context.Context, quit, stopped <-chan struct{}, at uint64) error {
	for {
		w.mu.Lock()
		if w.at >= at {
			w.mu.Unlock()
			return nil
		}
		if w.grown == nil {
			w.grown = make(chan struct{})
		}
		w.waiting++
		grown := w.grown
		w.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		case <-quit:
			return events.ErrClosed
		case <-stopped:
			return events.ErrReadOnly
		}
	}
}
