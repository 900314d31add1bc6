package projections

import (
	"container/heap"
	"container/list"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// maxOpenConversations bounds those that are watched for their timeout. Beyond it
// the oldest is no longer watched: it goes on, and has no timeout. Some 850 bytes
// each.
const maxOpenConversations = 100_000

// Conversations watches those in which one agent waits for another, so that they
// time out. What was said in them, and how they stand, is in the log: see
// Transcript.
type Conversations struct {
	timeout time.Duration
	changed chan struct{} // holds a token when the earliest timeout may have changed

	mu   sync.Mutex      // guards all below
	from events.Position // events before it are passed over: see Settle
	next events.Position // one beyond the last event applied
	byID map[string]*watched
	age  *list.List // of *watched, the oldest first
	due  watchHeap
}

// watched is an open conversation.
type watched struct {
	id   string
	talk dialogue
	from events.Position // of the event that began it
	last time.Time       // recorded time of the last event in it
	at   time.Time       // when to look at it; it may have gone on by then
	age  *list.Element

	index int // in due; -1 when it was given out
}

// NewConversations returns the fold of an empty log. A conversation times out after
// so long without a word, > 0.
func NewConversations(timeout time.Duration) *Conversations {
	return &Conversations{
		timeout: timeout, changed: make(chan struct{}, 1),
		byID: make(map[string]*watched), age: list.New(),
	}
}

// Apply implements Fold.
func (c *Conversations) Apply(rec events.Recorded, p events.Payload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next = rec.Position + 1; rec.Position < c.from {
		return
	}
	if e, ok := p.(events.ConversationTimedOut); ok {
		if w := c.byID[e.ConversationID]; w != nil {
			c.timedOut(w, e)
		}
		return
	}
	spoken(p, func(m *events.Message) { c.said(m, rec) })
	if m, state := closes(p); m != nil {
		if w := c.byID[m.ConversationID]; w != nil {
			w.talk.end(m, state, rec.RecordedAt)
			c.keep(w, rec.RecordedAt)
		}
	}
}

// said takes what one agent says to another into account.
func (c *Conversations) said(m *events.Message, rec events.Recorded) {
	w := c.byID[m.ConversationID]
	if _, _, opens := opening(m.Performative); w == nil && !opens {
		return
	}
	if _, ok := m.FromAgent(); !ok {
		return
	}
	if _, err := events.ParseAgentID(m.Receiver); err != nil {
		return // a reply to somebody outside, or a send that leads nowhere
	}
	if w == nil {
		w = c.begin(m.ConversationID, rec)
	}
	w.talk.says(m, rec.RecordedAt)
	c.keep(w, rec.RecordedAt)
}

func (c *Conversations) begin(id string, rec events.Recorded) *watched {
	if len(c.byID) >= maxOpenConversations {
		c.forget(c.age.Front().Value.(*watched))
	}
	w := &watched{id: id, from: rec.Position, at: rec.RecordedAt.Add(c.timeout), index: -1}
	c.byID[id] = w
	w.age = c.age.PushBack(w)
	c.watch(w)
	return w
}

// keep notes when something happened, and forgets a conversation that nobody waits
// in.
func (c *Conversations) keep(w *watched, at time.Time) {
	w.last = at
	if w.talk.open == 0 {
		c.forget(w)
	}
}

// timedOut forgets a conversation, unless it went on while its timeout was being
// recorded.
func (c *Conversations) timedOut(w *watched, e events.ConversationTimedOut) {
	if !w.last.After(e.LastActivity) {
		c.forget(w)
		return
	}
	if w.index < 0 {
		w.at = w.last.Add(c.timeout)
		c.watch(w)
	}
}

func (c *Conversations) forget(w *watched) {
	delete(c.byID, w.id)
	c.age.Remove(w.age)
	if w.index >= 0 {
		heap.Remove(&c.due, w.index)
	}
}

func (c *Conversations) watch(w *watched) {
	heap.Push(&c.due, w)
	if c.due[0] == w {
		select {
		case c.changed <- struct{}{}:
		default: // a token lies there already
		}
	}
}

// Expired is a conversation that has timed out: the event to be recorded, in which
// agent's stream.
type Expired struct {
	Agent events.AgentID
	Event events.ConversationTimedOut
}

// Changed yields a token when Next may have another answer than before.
func (c *Conversations) Changed() <-chan struct{} { return c.changed }

// Next returns when TakeExpired may have something to give; ok is false while no
// conversation is open.
func (c *Conversations) Next() (at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.due) == 0 {
		return time.Time{}, false
	}
	return c.due[0].at, true
}

// TakeExpired returns, once each, up to limit conversations in which nothing has
// happened for the timeout at now.
func (c *Conversations) TakeExpired(now time.Time, limit int) []Expired {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Expired
	for len(out) < limit && len(c.due) > 0 && !c.due[0].at.After(now) {
		w := heap.Pop(&c.due).(*watched)
		if end := w.last.Add(c.timeout); end.After(now) {
			w.at = end
			heap.Push(&c.due, w)
			continue
		}
		from, to, x := w.talk.waits()
		if x == nil {
			c.forget(w)
			continue
		}
		out = append(out, Expired{from, events.ConversationTimedOut{
			ConversationID: w.id, Protocol: string(x.Protocol), State: string(x.State),
			Awaited: to, Open: w.talk.open, LastActivity: w.last,
		}})
	}
	return out
}

// Return gives back one whose event could not be recorded: it is given out again at
// the time named, if nothing has happened in it.
func (c *Conversations) Return(e Expired, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.byID[e.Event.ConversationID]; w != nil && w.index < 0 {
		w.at = at
		c.watch(w)
	}
}

// Len is the number of conversations that are watched.
func (c *Conversations) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byID)
}

// watchHeap implements heap.Interface: the earliest first.
type watchHeap []*watched

// Len implements heap.Interface.
func (h watchHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h watchHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

// Swap implements heap.Interface.
func (h watchHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *watchHeap) Push(x any) {
	w := x.(*watched)
	w.index = len(*h)
	*h = append(*h, w)
}

// Pop implements heap.Interface.
func (h *watchHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.index = -1
	return w
}
