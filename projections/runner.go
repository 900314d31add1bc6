package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/caxton-run/caxton/events"
)

// Fold takes events in log order, from one goroutine.
type Fold interface {
	Apply(rec events.Recorded, p events.Payload)
}

// progressEvery is how many events lie between two reports of a long catch-up:
// about five reports a second.
const progressEvery = 100_000

// Runner feeds folds from the log: first what is there, then what comes.
type Runner struct {
	store events.Store
	folds []Fold
	log   *slog.Logger

	position atomic.Uint64 // of the last event applied, plus one; 0 before the first
	applied  atomic.Uint64 // events

	mu      sync.Mutex
	waiters map[chan struct{}]uint64 // guarded by mu; channel → position+1 it waits for
	ready   chan struct{}            // closed once the log's head of the start is reached
}

// NewRunner returns a runner that has read nothing yet: Run does.
func NewRunner(store events.Store, log *slog.Logger, folds ...Fold) *Runner {
	return &Runner{
		store: store, folds: folds, log: log,
		waiters: make(map[chan struct{}]uint64), ready: make(chan struct{}),
	}
}

// Run follows the log until ctx ends (it then returns nil) or the log fails.
func (r *Runner) Run(ctx context.Context) error {
	head, any, err := r.store.Head(ctx)
	if err != nil {
		return ended(ctx, fmt.Errorf("projections: read head: %w", err))
	}
	filter := events.Filter{Categories: []events.Category{events.CategoryAgent, events.CategoryInbox}}
	if err := r.catchUp(ctx, head, any, filter); err != nil {
		return ended(ctx, err)
	}
	close(r.ready)
	sub, err := r.store.SubscribeAll(ctx, events.Position(r.position.Load()), filter)
	if err != nil {
		return ended(ctx, fmt.Errorf("projections: subscribe: %w", err))
	}
	defer sub.Close()
	for {
		rec, err := sub.Next(ctx)
		if err != nil {
			return ended(ctx, fmt.Errorf("projections: follow log: %w", err))
		}
		if err := r.apply(rec); err != nil {
			return err
		}
		r.moved(uint64(rec.Position) + 1)
	}
}

// ended turns the end of the context, or of the store while it ends, into a
// plain end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, events.ErrClosed) {
		return nil
	}
	return err
}

// catchUp reads what the log held at the start. Other categories are skipped,
// so it ends by moving to the head even if the last events were not of agents.
func (r *Runner) catchUp(ctx context.Context, head events.Position, any bool, filter events.Filter) error {
	if !any {
		return nil
	}
	for rec, err := range r.store.ReadAll(ctx, events.ReadAllOptions{Filter: filter}) {
		if err != nil {
			return fmt.Errorf("projections: read log: %w", err)
		}
		if rec.Position > head {
			break // the subscription brings it
		}
		if err := r.apply(rec); err != nil {
			return err
		}
		if n := r.applied.Load(); n%progressEvery == 0 {
			r.log.Info("rebuilding projections", "events", n, "position", uint64(rec.Position), "of", uint64(head))
		}
	}
	r.moved(uint64(head) + 1)
	return nil
}

func (r *Runner) apply(rec events.Recorded) error {
	p, err := events.Decode(rec.Event)
	if err != nil && !errors.Is(err, events.ErrUnknownType) {
		return fmt.Errorf("projections: position %d: %w", rec.Position, err)
	}
	if err == nil {
		for _, f := range r.folds {
			f.Apply(rec, p)
		}
	}
	r.applied.Add(1)
	return nil
}

// moved publishes the new position and wakes whom it satisfies.
func (r *Runner) moved(next uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.position.Store(next)
	for ch, want := range r.waiters {
		if next >= want {
			close(ch)
			delete(r.waiters, ch)
		}
	}
}

// Ready is closed when everything that was in the log at the start is applied.
func (r *Runner) Ready() <-chan struct{} { return r.ready }

// Applied is the number of events folded so far.
func (r *Runner) Applied() uint64 { return r.applied.Load() }

// Position is the last position that the folds have seen; 0 before the first.
func (r *Runner) Position() events.Position {
	if p := r.position.Load(); p > 0 {
		return events.Position(p - 1)
	}
	return 0
}

// WaitFor returns when the folds have seen position p: read your own writes.
// p must be the position of an
// event of an agent or its inbox. It returns ctx's error if that
// comes first.
func (r *Runner) WaitFor(ctx context.Context, p events.Position) error {
	r.mu.Lock()
	if r.position.Load() > uint64(p) {
		r.mu.Unlock()
		return nil
	}
	ch := make(chan struct{})
	r.waiters[ch] = uint64(p) + 1
	r.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		delete(r.waiters, ch)
		r.mu.Unlock()
		return ctx.Err()
	}
}
