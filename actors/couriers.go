package actors

import (
	"context"
	"sync"
	"time"

	"github.com/caxton-run/caxton/projections"
)

// Bounds of what is carried at a time.
const (
	carryAtOnce = 256             // couriers in a round; each holds a batch, and all share few processors and one group commit
	carryPlace  = 5 * time.Second // how long one whose receiver does not answer keeps its place from the next
)

// dispatcher carries what agents send to one another. Its work is what
// projections.InFlight lists, so a send lost in a crash does not exist: it is in
// the log, unhandled, and is carried again. Order is kept by having at most one
// courier for a pair of sender and receiver.
//
// However many pairs there are, carryAtOnce couriers have a place and with it a
// goroutine; the others stand in the queue, or pause. After a round a courier goes
// behind those that wait.
type dispatcher struct {
	sys    *System
	atOnce int
	place  time.Duration

	mu       sync.Mutex // guards below
	couriers map[projections.Pair]*courier
	queue    []*courier // that wait for a place, in order
	taken    int        // places
	ended    bool
	group    sync.WaitGroup // one for each courier that carries
}

// courier delivers the sends of one pair until there are none or the receiver
// does not take them:
//
//	queued ──place──▶ carrying ──round──▶ carrying, queued, pausing or gone
//	   ▲                                       │
//	   └────────────────time───────────────────┘
//
// It keeps its place while it carries, but no longer than dispatcher.place: a
// receiver that takes its time keeps nobody else from theirs.
type courier struct {
	pair   projections.Pair
	again  bool        // guarded by dispatcher.mu; there may be more since it last looked
	placed bool        // likewise; it has a place
	pause  *time.Timer // likewise; ends the last pause; nil before the first
	after  uint64      // highest sequence dealt with
	fails  int         // errors in a row for the next send
	waits  int         // full mailboxes and hosts in a row
}

func newDispatcher(sys *System) *dispatcher {
	return &dispatcher{sys: sys, atOnce: carryAtOnce, place: carryPlace, couriers: make(map[projections.Pair]*courier)}
}

// run starts couriers as InFlight tells, until ctx ends; it returns when the last
// of them is gone.
func (d *dispatcher) run(ctx context.Context) {
	defer d.end()
	if !d.sys.awaitReady(ctx) { // half a log would look like much in flight
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.sys.deps.InFlight.Changed():
			for _, pair := range d.sys.deps.InFlight.TakeChanged() {
				d.start(ctx, pair)
			}
		case <-d.sys.deps.Room.Regained():
			d.resume()
		}
	}
}

// end waits for those that carry. Those that do not are forgotten: what they were to
// carry is in the log.
func (d *dispatcher) end() {
	d.mu.Lock()
	d.ended, d.queue = true, nil
	for _, c := range d.couriers {
		if c.pause != nil {
			c.pause.Stop()
		}
	}
	d.mu.Unlock()
	d.group.Wait()
}

func (d *dispatcher) start(ctx context.Context, pair projections.Pair) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.couriers[pair]; c != nil {
		c.again = true
		return
	}
	c := &courier{pair: pair}
	d.couriers[pair] = c
	d.enqueue(ctx, c)
}

// enqueue has a courier wait for a place. Caller holds mu.
func (d *dispatcher) enqueue(ctx context.Context, c *courier) {
	d.queue = append(d.queue, c)
	d.advance(ctx)
}

// advance gives places to those that wait, as far as there are any. Caller holds mu.
func (d *dispatcher) advance(ctx context.Context) {
	for !d.ended && len(d.queue) > 0 && d.taken < d.atOnce {
		c := d.queue[0]
		d.queue = d.queue[1:]
		c.placed = true
		d.taken++
		d.group.Go(func() { d.carry(ctx, c) })
	}
}

// leavePlace gives a courier's place to the next, unless it has lost it already.
// Caller holds mu.
func (d *dispatcher) leavePlace(ctx context.Context, c *courier) {
	if c.placed {
		c.placed = false
		d.taken--
	}
	d.advance(ctx)
}

// carry is what a courier does while it has a place.
func (d *dispatcher) carry(ctx context.Context, c *courier) {
	for {
		late := time.AfterFunc(d.place, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.leavePlace(ctx, c)
		})
		pause, held := d.round(ctx, c)
		late.Stop()
		if !d.goesOn(ctx, c, pause, held) {
			return
		}
	}
}

// goesOn decides what a courier does after a round, and reports whether that is the
// next one, at once. Whether something came meanwhile is asked under the lock that
// start takes, so no send is forgotten.
func (d *dispatcher) goesOn(ctx context.Context, c *courier, pause time.Duration, held bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	again := c.again
	c.again = false
	idle := held || len(d.sys.deps.InFlight.Next(c.pair, c.after, 1)) == 0
	switch {
	case d.ended, ctx.Err() != nil, idle && !again:
		delete(d.couriers, c.pair)
	case pause > 0:
		c.pause = time.AfterFunc(pause, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.enqueue(ctx, c)
		})
	case c.placed && len(d.queue) == 0:
		return true
	default:
		d.queue = append(d.queue, c)
	}
	d.leavePlace(ctx, c)
	return false
}
