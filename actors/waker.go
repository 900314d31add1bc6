package actors

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Bounds of the waker.
const (
	wakeEvery    = 5 * time.Second       // a look costs what the number of agents with open inboxes costs
	maxWakePause = 5 * time.Minute       // between looks at an agent that cannot be woken
	wakeAtOnce   = 64                    // agents on their way; each holds a page of its inbox, and all share few processors
	wakePlace    = 5 * time.Second       // how long one that is not done yet keeps its place from the next
	wakePace     = 10 * time.Millisecond // between looks for places, while agents wait for one
)

// waker sees to it that what was promised is done: agents that are draining, and
// those with entries in their inbox, are woken at the start, when what held all back
// is over, and again when one is left lying though nobody is at it. That happens when
// an agent could not be woken (no memory to compile its module, a log that could not
// be read), because an entry of the inbox, unlike a caller, does not ask again.
//
// However many there are, wakeAtOnce are on their way at a time. The others stand in
// a queue, and whatever is lost of that is found by the next look.
type waker struct {
	sys    *System
	every  time.Duration
	atOnce int
	place  time.Duration
	again  chan struct{} // holds a token when all are to be looked at, at once

	tries  map[events.AgentID]wakeTry   // of agents found lying at the last look
	queue  []events.AgentID             // to be woken, in order
	queued map[events.AgentID]struct{}  // what stands in queue
	under  map[events.AgentID]time.Time // on their way, since when

	cleared *licence // whose revocation left only those in queue that drain; look adds no others while it lasts
}

type wakeTry struct {
	pause time.Duration // before the next
	due   time.Time
}

func newWaker(sys *System) *waker {
	return &waker{
		sys: sys, every: wakeEvery, atOnce: wakeAtOnce, place: wakePlace, again: make(chan struct{}, 1),
		queued: make(map[events.AgentID]struct{}), under: make(map[events.AgentID]time.Time),
	}
}

// wake has it look at all agents soon, those too that it leaves alone for a while.
// What comes before Run is done then.
func (w *waker) wake() {
	select {
	case w.again <- struct{}{}:
	default: // a token lies there already
	}
}

// run looks for such agents until ctx ends.
func (w *waker) run(ctx context.Context) {
	if !w.sys.awaitReady(ctx) { // half a log would look like much to do
		return
	}
	tick, pace := time.NewTicker(w.every), time.NewTimer(wakePace)
	defer tick.Stop()
	defer pace.Stop()
	w.look(time.Now(), true)
	for {
		w.advance(time.Now())
		if len(w.queue) > 0 {
			pace.Reset(wakePace)
		}
		select {
		case <-pace.C:
		case <-tick.C:
			w.look(time.Now(), false)
		case <-w.again:
			clear(w.tries)
			w.look(time.Now(), true)
		case <-ctx.Done():
			return
		}
	}
}

// look queues those agents whose inbox waits while nothing is in their mailbox, and
// those that have nothing to do though they are draining: they sleep, or that it is at
// an end could not be written; all that are draining, if all is true.
// One that is found like this again and again is left alone for longer and longer.
// In an emergency stop those alone that drain: that ends in time whether their guests
// may run or not, and the lift wakes the others.
func (w *waker) look(now time.Time, all bool) {
	next := make(map[events.AgentID]wakeTry)
	found := func(id events.AgentID) {
		next[id] = w.tries[id]
		if _, ok := w.queued[id]; !ok && !now.Before(next[id].due) {
			w.queue, w.queued[id] = append(w.queue, id), struct{}{}
		}
	}
	for _, id := range w.sys.deps.Agents.Draining() {
		if all || !w.sys.registry.isBusy(id) {
			found(id)
		}
	}
	if !w.sys.halted() {
		for _, id := range w.sys.deps.Inboxes.Waiting() {
			if !w.sys.registry.isBusy(id) {
				found(id)
			}
		}
	}
	w.tries = next
}

// advance wakes the next agents in the queue, as many as there are places for.
func (w *waker) advance(now time.Time) {
	if l := w.sys.licence.Load(); l.isRevoked() && w.cleared != l {
		w.cleared = l
		w.keepDraining()
	}
	maps.DeleteFunc(w.under, func(id events.AgentID, since time.Time) bool {
		return now.Sub(since) >= w.place || w.isDone(id)
	})
	for len(w.queue) > 0 && len(w.under) < w.atOnce {
		id := w.queue[0]
		w.queue = w.queue[1:]
		delete(w.queued, id)
		pause := min(max(2*w.tries[id].pause, w.every), maxWakePause)
		w.tries[id], w.under[id] = wakeTry{pause, now.Add(pause)}, now
		w.sys.nudge(id)
	}
}

// keepDraining has those wait no more that an emergency stop lets do nothing.
func (w *waker) keepDraining() {
	if len(w.queue) == 0 {
		return
	}
	draining := make(map[events.AgentID]bool)
	for _, id := range w.sys.deps.Agents.Draining() {
		draining[id] = true
	}
	w.queue = slices.DeleteFunc(w.queue, func(id events.AgentID) bool {
		if draining[id] {
			return false
		}
		delete(w.queued, id)
		return true
	})
}

// isDone reports whether an agent that was woken has nothing more to do now, or cannot
// be woken.
func (w *waker) isDone(id events.AgentID) bool {
	idle := w.sys.deps.Inboxes.LenOf(id) == 0 || w.sys.halted()
	return !w.sys.registry.holds(id) || idle && !w.sys.registry.isBusy(id)
}
