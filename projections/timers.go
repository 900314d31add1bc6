package projections

import (
	"container/heap"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// DueTimer is a timer whose time has come: where its TimerSet stands in the
// agent's stream says the rest.
type DueTimer struct {
	Agent    events.AgentID
	Timer    events.TimerID
	Revision events.Revision
	Due      time.Time
}

// Timers are the pending timers of all agents, by time. A timer is given out once
// (TakeDue) and forgotten at the event that ends it; it is given out again when its
// agent, which was held, goes on, and when whoever took it returns it. Timers of
// agents that are held wait with them.
type Timers struct {
	changed chan struct{} // holds a token when the earliest timer may have changed

	mu     sync.Mutex // guards all below
	agents map[events.AgentID]*agentTimers
	armed  timerHeap
	total  int
}

// agentTimers is one agent with pending timers.
type agentTimers struct {
	held    bool
	pending map[events.TimerID]*armedTimer
}

type armedTimer struct {
	DueTimer
	at    time.Time // when it is to be given out: Due, or later after Return
	index int       // in armed; -1 when it was given out or waits with its agent
}

// NewTimers returns the fold of an empty log.
func NewTimers() *Timers {
	return &Timers{changed: make(chan struct{}, 1), agents: make(map[events.AgentID]*agentTimers)}
}

// Apply implements Fold.
func (t *Timers) Apply(rec events.Recorded, p events.Payload) {
	id, ok := rec.Stream.AgentID()
	if !ok || rec.Stream.Category() != events.CategoryAgent {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e := p.(type) {
	case events.TimerSet:
		t.set(id, rec.Revision, e)
	case events.TimerFired:
		t.end(id, e.Timer)
	case events.TimerCancelled:
		t.end(id, e.Timer)
	case events.AgentSuspended, events.AgentFailed, events.AgentStopRequested, events.AgentStopped:
		t.hold(id)
	case events.AgentResumed, events.AgentRestarted:
		t.release(id)
	case events.AgentRemoved:
		if a := t.agents[id]; a != nil {
			for timer := range a.pending {
				t.end(id, timer)
			}
		}
	}
}

func (t *Timers) set(id events.AgentID, rev events.Revision, e events.TimerSet) {
	a := t.agents[id]
	if a == nil {
		a = &agentTimers{pending: make(map[events.TimerID]*armedTimer, 1)}
		t.agents[id] = a
	}
	if a.pending[e.Timer] != nil {
		return
	}
	x := &armedTimer{DueTimer: DueTimer{id, e.Timer, rev, e.DueAt}, at: e.DueAt, index: -1}
	a.pending[e.Timer] = x
	t.total++
	if !a.held {
		t.arm(x)
	}
}

func (t *Timers) end(id events.AgentID, timer events.TimerID) {
	a := t.agents[id]
	if a == nil || a.pending[timer] == nil {
		return
	}
	t.disarm(a.pending[timer])
	t.total--
	if delete(a.pending, timer); len(a.pending) == 0 {
		delete(t.agents, id)
	}
}

func (t *Timers) hold(id events.AgentID) {
	if a := t.agents[id]; a != nil {
		a.held = true
		for _, x := range a.pending {
			t.disarm(x)
		}
	}
}

// release arms all of an agent's timers anew: one that was given out and met the
// agent while it was held has come to nothing. One that is on its way all the same
// comes twice, and the agent takes it once.
func (t *Timers) release(id events.AgentID) {
	if a := t.agents[id]; a != nil {
		a.held = false
		for _, x := range a.pending {
			x.at = x.Due
			t.arm(x)
		}
	}
}

func (t *Timers) arm(x *armedTimer) {
	if x.index >= 0 {
		return
	}
	heap.Push(&t.armed, x)
	if t.armed[0] == x {
		select {
		case t.changed <- struct{}{}:
		default: // a token lies there already
		}
	}
}

func (t *Timers) disarm(x *armedTimer) {
	if x.index >= 0 {
		heap.Remove(&t.armed, x.index)
	}
}

// Changed yields a token when the earliest timer may be another one than before.
func (t *Timers) Changed() <-chan struct{} { return t.changed }

// Next returns when TakeDue will have something to give; ok is false while
// nothing waits.
func (t *Timers) Next() (at time.Time, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.armed) == 0 {
		return time.Time{}, false
	}
	return t.armed[0].at, true
}

// TakeDue returns, the earliest first, up to limit timers that are due at now.
func (t *Timers) TakeDue(now time.Time, limit int) []DueTimer {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []DueTimer
	for len(out) < limit && len(t.armed) > 0 && !t.armed[0].at.After(now) {
		out = append(out, heap.Pop(&t.armed).(*armedTimer).DueTimer)
	}
	return out
}

// Return gives back a timer that could not be delivered: it is given out again at
// the time named. One that has ended meanwhile stays ended.
func (t *Timers) Return(d DueTimer, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.agents[d.Agent]
	if a == nil || a.held || a.pending[d.Timer] == nil {
		return
	}
	x := a.pending[d.Timer]
	if x.index < 0 {
		x.at = at
		t.arm(x)
	}
}

// Len is the number of pending timers.
func (t *Timers) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// timerHeap implements heap.Interface: the earliest first; of two at one time the
// order means nothing.
type timerHeap []*armedTimer

// Len implements heap.Interface.
func (h timerHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

// Swap implements heap.Interface.
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) {
	e := x.(*armedTimer)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}
