package pebblestore

import (
	"sync"
	"sync/atomic"

	"github.com/caxton-run/caxton/events"
)

// maxDirty bounds the streams that wait to be announced. Beyond it everyone is
// woken, which is always right.
const maxDirty = 4096

// hub wakes subscriptions when events became durable. It carries no events:
// whoever is woken looks into the log. So a slow subscription costs one flag,
// and the writer's part is to note the streams of a group.
type hub struct {
	count atomic.Int64 // of subscriptions

	mu      sync.Mutex // guards dirty and all
	dirty   map[events.Stream]struct{}
	all     bool          // dirty overflowed
	signal  chan struct{} // of capacity 1: dirty is not empty
	stopped chan struct{}

	subs     sync.Mutex // guards what follows; never held by the writer
	byStream map[events.Stream]map[*waiter]struct{}
	byLog    map[*waiter]struct{}
}

// waiter is one subscription's bell.
type waiter struct {
	stream events.Stream // "" follows the log
	filter events.Filter
	bell   chan struct{} // of capacity 1: it stays rung until heard
}

func (h *hub) init() {
	h.dirty = make(map[events.Stream]struct{})
	h.signal = make(chan struct{}, 1)
	h.stopped = make(chan struct{})
	h.byStream = make(map[events.Stream]map[*waiter]struct{})
	h.byLog = make(map[*waiter]struct{})
}

// publish notes that streams have new durable events. It is the writer's only
// call and never waits for a subscription.
func (h *hub) publish(streams []events.Stream) {
	if h.count.Load() == 0 || len(streams) == 0 {
		return
	}
	h.mu.Lock()
	for _, s := range streams {
		h.dirty[s] = struct{}{}
	}
	if len(h.dirty) > maxDirty {
		h.all = true
		clear(h.dirty)
	}
	h.mu.Unlock()
	ring(h.signal)
}

// publishAll notes that any stream may have new durable events.
func (h *hub) publishAll() {
	h.mu.Lock()
	h.all = true
	h.mu.Unlock()
	ring(h.signal)
}

// ring leaves a signal that one receiver will find.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // rung already
	}
}

// run is the hub's goroutine; stop ends it.
func (h *hub) run() {
	for {
		select {
		case <-h.signal:
		case <-h.stopped:
			return
		}
		h.mu.Lock()
		dirty, all := h.dirty, h.all
		h.dirty, h.all = make(map[events.Stream]struct{}), false
		h.mu.Unlock()
		h.wake(dirty, all)
	}
}

func (h *hub) stop() { close(h.stopped) }

func (h *hub) wake(dirty map[events.Stream]struct{}, all bool) {
	h.subs.Lock()
	defer h.subs.Unlock()
	if all {
		for _, ws := range h.byStream {
			for w := range ws {
				ring(w.bell)
			}
		}
		for w := range h.byLog {
			ring(w.bell)
		}
		return
	}
	categories := make(map[events.Category]struct{})
	for s := range dirty {
		categories[s.Category()] = struct{}{}
		for w := range h.byStream[s] {
			ring(w.bell)
		}
	}
	for w := range h.byLog {
		if w.wants(categories) {
			ring(w.bell)
		}
	}
}

// wants reports whether a category that w follows is among those given. Types
// are not looked at: a bell too many is harmless.
func (w *waiter) wants(categories map[events.Category]struct{}) bool {
	if len(w.filter.Categories) == 0 {
		return true
	}
	for _, c := range w.filter.Categories {
		if _, ok := categories[c]; ok {
			return true
		}
	}
	return false
}

// join registers w. What becomes durable after it returned rings w's bell.
func (h *hub) join(w *waiter) {
	h.subs.Lock()
	defer h.subs.Unlock()
	h.count.Add(1)
	if w.stream == "" {
		h.byLog[w] = struct{}{}
		return
	}
	if h.byStream[w.stream] == nil {
		h.byStream[w.stream] = make(map[*waiter]struct{})
	}
	h.byStream[w.stream][w] = struct{}{}
}

// part forgets w.
func (h *hub) part(w *waiter) {
	h.subs.Lock()
	defer h.subs.Unlock()
	h.count.Add(-1)
	delete(h.byLog, w)
	if ws := h.byStream[w.stream]; ws != nil {
		delete(ws, w)
		if len(ws) == 0 {
			delete(h.byStream, w.stream)
		}
	}
}
