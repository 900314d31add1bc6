package projections

import (
	"sync"

	"github.com/caxton-run/caxton/events"
)

// Inboxes knows which agents have messages in their inbox that were accepted and
// not yet handled: after a start they must be woken for them.
type Inboxes struct {
	mu      sync.Mutex              // guards below
	living  map[events.AgentID]bool // true: it runs; false: it does not, and its inbox waits with it
	waiting map[events.AgentID]map[events.Revision]struct{}
	total   int
}

// NewInboxes returns the fold of an empty log.
func NewInboxes() *Inboxes {
	return &Inboxes{
		living:  make(map[events.AgentID]bool),
		waiting: make(map[events.AgentID]map[events.Revision]struct{}),
	}
}

// Apply implements Fold. An entry always comes before the event that ends its
// message: a turn names an entry only once that is durable.
func (b *Inboxes) Apply(rec events.Recorded, p events.Payload) {
	id, ok := rec.Stream.AgentID()
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := p.(type) {
	case events.MessageReceived:
		if _, ok := b.living[id]; !ok {
			return // it was removed while the message was on its way: nobody will close the entry
		}
		if b.waiting[id] == nil {
			b.waiting[id] = make(map[events.Revision]struct{}, 1)
		}
		b.waiting[id][rec.Revision] = struct{}{}
		b.total++
	case events.MessageHandled:
		b.done(id, e.Inbox)
	case events.MessageFailed:
		b.done(id, e.Inbox)
	case events.AgentQuarantined:
		b.done(id, e.Inbox)
	case events.InboxSkipped:
		b.done(id, &e.Inbox)
	case events.MessageDeadLettered:
		b.done(id, e.Inbox)
	case events.AgentDeployed, events.AgentResumed, events.AgentRestarted:
		b.living[id] = true
	case events.AgentSuspended, events.AgentStopped, events.AgentFailed:
		b.living[id] = false
	case events.AgentRemoved:
		b.total -= len(b.waiting[id])
		delete(b.waiting, id)
		delete(b.living, id)
	}
}

func (b *Inboxes) done(id events.AgentID, rev *events.Revision) {
	if rev == nil {
		return
	}
	if _, ok := b.waiting[id][*rev]; !ok {
		return
	}
	b.total--
	if delete(b.waiting[id], *rev); len(b.waiting[id]) == 0 {
		delete(b.waiting, id)
	}
}

// Waiting returns the agents that are able to run and have messages in their
// inbox, in no particular order.
func (b *Inboxes) Waiting() []events.AgentID {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]events.AgentID, 0, len(b.waiting))
	for id := range b.waiting {
		if b.living[id] {
			out = append(out, id)
		}
	}
	return out
}

// Runnable is the number of messages in inboxes of agents that are able to run.
func (b *Inboxes) Runnable() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for id, list := range b.waiting {
		if b.living[id] {
			n += len(list)
		}
	}
	return n
}

// Len is the number of messages waiting in all inboxes.
func (b *Inboxes) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}
