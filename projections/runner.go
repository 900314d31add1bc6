package projections

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/caxton-run/caxton/events"
)

// Fold takes events in log order, from one goroutine. All are events of agents'
// streams and inboxes.
type Fold interface {
	Apply(rec events.Recorded, p events.Payload)
}

// progressEvery is how many events lie between two reports of a long catch-up:
// about one a second.
const progressEvery = 100_000

// Runner feeds folds from the log: first what is there, then what comes.
type Runner struct {
	store events.Store
	folds []Fold
	log   *slog.Logger

	position atomic.Uint64 // of the last event applied, plus one; 0 before the first
	applied  atomic.Uint64 // events

	ready chan struct{} // closed once the log's head of the start is reached
	ended chan struct{} // closed when Run returns

	mu      sync.Mutex // guards waiters; position moves under it
	waiters waiters
}

// NewRunner returns a runner that has read nothing yet: Run does.
func NewRunner(store events.Store, log *slog.Logger, folds ...Fold) *Runner {
	return &Runner{
		store: store, folds: folds, log: log,
		ready: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Run follows the log until ctx ends or the store is closed (it then returns nil)
// or the log fails. Errors: *events.CorruptError, *events.NewerSchemaError and those
// of the store; the folds stay as they were before the event that could not be read.
// It may be called once.
func (r *Runner) Run(ctx context.Context) error {
	defer close(r.ended)
	err := r.follow(ctx)
	if ctx.Err() != nil || errors.Is(err, events.ErrClosed) {
		return nil
	}
	return err
}

// Followed is what the folds are given of the log.
func Followed() events.Filter {
	return events.Filter{Categories: []events.Category{events.CategoryAgent, events.CategoryInbox}}
}

// LastFollowed is the position of the last event that the folds are given; ok is false
// for a log without any. Whoever has waited for it reads what was durable by then.
// Errors: those of the store.
func LastFollowed(ctx context.Context, log interface {
	ReadAll(context.Context, events.ReadAllOptions) iter.Seq2[events.Recorded, error]
}) (at events.Position, ok bool, err error) {
	last := events.ReadAllOptions{From: events.EndOfLog, Direction: events.Backwards, Max: 1, Filter: Followed()}
	for rec, err := range log.ReadAll(ctx, last) {
		return rec.Position, err == nil, err
	}
	return 0, false, nil
}

// follow never returns nil.
func (r *Runner) follow(ctx context.Context) error {
	filter := Followed()
	if err := r.catchUp(ctx, filter); err != nil {
		return err
	}
	close(r.ready)
	// Where catching up stopped, so that nothing is applied twice and nothing of
	// what came since is missed.
	sub, err := r.store.SubscribeAll(ctx, events.Position(r.position.Load()), filter)
	if err != nil {
		return fmt.Errorf("projections: subscribe: %w", err)
	}
	defer sub.Close()
	for {
		rec, err := sub.Next(ctx)
		if err != nil {
			return fmt.Errorf("projections: follow log: %w", err)
		}
		if err := r.apply(decode(rec)); err != nil {
			return err
		}
	}
}

// catchUp reads what the log held at the start. Other categories are skipped,
// so it ends by moving to the head even if the last events were not of agents.
func (r *Runner) catchUp(ctx context.Context, filter events.Filter) error {
	head, exists, err := r.store.Head(ctx)
	if err != nil {
		return fmt.Errorf("projections: read head: %w", err)
	}
	if !exists {
		return nil
	}
	if err := r.settle(ctx, head); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	log := readAhead(ctx, r.store, filter, head)
	defer log.wait()
	defer stop()
	for b := range log.order {
		<-b.done // whoever decodes does not stop before it
		if err := r.applyBatch(b, head); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("projections: read log: %w", err)
	}
	r.moved(head)
	return nil
}

func (r *Runner) applyBatch(b *batch, head events.Position) error {
	for _, d := range b.list {
		if err := r.apply(d); err != nil {
			return err
		}
		if n := r.applied.Load(); n%progressEvery == 0 {
			r.log.Info("rebuilding projections", "events", n, "position", uint64(d.rec.Position), "of", uint64(head))
		}
	}
	if b.err != nil {
		return fmt.Errorf("projections: read log: %w", b.err)
	}
	return nil
}

// apply folds one event and makes its position the runner's.
func (r *Runner) apply(d decoded) error {
	switch {
	case d.err == nil && d.payload != nil:
		for _, f := range r.folds {
			f.Apply(d.rec, d.payload)
		}
	case d.err != nil && !errors.Is(d.err, events.ErrUnknownType):
		return fmt.Errorf("projections: position %d: %w", d.rec.Position, d.err)
	}
	r.applied.Add(1)
	r.moved(d.rec.Position)
	return nil
}

// moved publishes a position that the folds have seen and wakes whom it
// satisfies.
func (r *Runner) moved(p events.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.position.Store(uint64(p) + 1)
	for len(r.waiters) > 0 && r.waiters[0].position <= p {
		close(heap.Pop(&r.waiters).(*waiter).reached)
	}
}

// Ready is closed when everything that was in the log at the start is applied.
// It stays open if Run ends before that.
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

func (r *Runner) reached(p events.Position) bool { return r.position.Load() > uint64(p) }

// WaitFor returns when the folds have seen position p: read your own writes. p
// must be the position of an event of an agent or its inbox. Errors: ctx's, if it
// ends first; events.ErrClosed, if Run has ended and they never will.
func (r *Runner) WaitFor(ctx context.Context, p events.Position) error {
	w := &waiter{position: p, reached: make(chan struct{})}
	r.mu.Lock()
	if r.reached(p) {
		r.mu.Unlock()
		return nil
	}
	heap.Push(&r.waiters, w)
	r.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
	case <-r.ended:
	}
	if r.leave(w) {
		return nil // both happened, and this is the one that counts
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("wait for position %d: %w", p, events.ErrClosed)
}

// leave takes a waiter out and reports whether its position was reached.
func (r *Runner) leave(w *waiter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.index >= 0 {
		heap.Remove(&r.waiters, w.index)
	}
	return r.reached(w.position)
}
