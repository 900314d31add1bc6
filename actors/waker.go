package actors

import (
	"context"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Bounds of the waker.
const (
	wakeEvery    = 5 * time.Second // a look costs what the number of agents with open inboxes costs
	maxWakePause = 5 * time.Minute // between looks at an agent that cannot be woken
)

// waker sees to it that what was promised is done: agents that are draining, and
// those with entries in their inbox, are woken at the start, the latter also again when an entry is left lying though
// nobody is at it. That happens when an agent could not be woken (no memory to
// compile its module, a log that could not be read), because an entry of the
// inbox, unlike a caller, does not ask again.
type waker struct {
	sys   *System
	every time.Duration
	tries map[events.AgentID]wakeTry // of agents found lying at the last look
}

type wakeTry struct {
	pause time.Duration // before the next
	due   time.Time
}

func newWaker(sys *System) *waker { return &waker{sys: sys, every: wakeEvery} }

// run looks for such agents until ctx ends.
func (w *waker) run(ctx context.Context) {
	select { // half a log would look like much to do
	case <-w.sys.deps.Runner.Ready():
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for _, id := range w.sys.deps.Agents.Draining() {
		w.sys.nudge(id)
	}
	for now := time.Now(); ; {
		w.look(now)
		select {
		case now = <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look wakes those agents whose inbox waits while nothing is in their mailbox.
// One that is found like this again and again is left alone for longer and
// longer.
func (w *waker) look(now time.Time) {
	if w.sys.halted() {
		return // the lift of the emergency stop wakes them
	}
	next := make(map[events.AgentID]wakeTry)
	for _, id := range w.sys.deps.Inboxes.Waiting() {
		if w.sys.registry.isBusy(id) {
			continue
		}
		try := w.tries[id]
		if !now.Before(try.due) {
			try.pause = min(max(2*try.pause, w.every), maxWakePause)
			try.due = now.Add(try.pause)
			w.sys.nudge(id)
		}
		next[id] = try
	}
	w.tries = next
}
