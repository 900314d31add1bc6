package projections

import (
	"maps"
	"slices"
	"sync"

	"github.com/caxton-run/caxton/events"
)

// Inboxes knows which agents have messages in their inbox that were accepted and
// not yet ended: after a start they must be woken for them.
type Inboxes struct {
	mu      sync.Mutex // guards below
	moods   map[events.AgentID]mood
	waiting map[events.AgentID]map[events.Revision]struct{} // entries not yet ended; never empty
	total   int
}

// mood says what an agent does with its inbox.
type mood uint8

// An agent that is not known was removed, and what was accepted for it becomes dead
// letters; or it never was, as whoever reads its history finds (Disown).
const (
	handles mood = iota + 1 // it runs
	holds                   // suspended or failed, its inbox waits with it
	nobody                  // never was: there is no stream in which anything could end
)

// NewInboxes returns the fold of an empty log.
func NewInboxes() *Inboxes {
	return &Inboxes{
		moods:   make(map[events.AgentID]mood),
		waiting: make(map[events.AgentID]map[events.Revision]struct{}),
	}
}

// Apply implements Fold. An entry always comes before the event that ends its
// message: a turn names an entry only once that is durable.
func (b *Inboxes) Apply(rec events.Recorded, p events.Payload) {
	id, ok := rec.Stream.AgentID()
	_, received := p.(events.MessageReceived)
	if !ok || received != (rec.Stream.Category() == events.CategoryInbox) {
		return // somebody else wrote it there
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := p.(type) {
	case events.MessageReceived:
		b.received(id, rec.Revision)
	case events.MessageHandled:
		b.done(id, e.Inbox)
	case events.MessageFailed:
		b.done(id, e.Inbox)
	case events.AgentQuarantined:
		b.done(id, e.Inbox)
	case events.MessageDeadLettered:
		b.done(id, e.Inbox)
	case events.InboxSkipped:
		b.done(id, &e.Inbox)
	case events.AgentDeployed, events.AgentResumed, events.AgentRestarted:
		b.moods[id] = handles
	case events.AgentSuspended, events.AgentStopped, events.AgentFailed:
		b.moods[id] = holds
	case events.AgentRemoved:
		delete(b.moods, id)
	case events.HistoryTrimmed:
		b.moods[id] = handles // only an agent that runs is trimmed
		b.trimmed(id, e)
	}
}

// trimmed ends entries whose ends may be gone from the log.
func (b *Inboxes) trimmed(id events.AgentID, e events.HistoryTrimmed) {
	for rev := range b.waiting[id] {
		if rev < e.InboxNext {
			b.done(id, &rev)
		}
	}
	for _, rev := range e.InboxAhead {
		b.done(id, &rev)
	}
}

// Disown says that there is no such agent in the log, so that what stands in its inbox is
// waited for no more. It counts as waiting in Len and LenOf: nothing has ended it. That an
// entry's agent was removed, the fold forgets, and it cannot tell this by itself.
func (b *Inboxes) Disown(id events.AgentID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.moods[id]; !known && len(b.waiting[id]) > 0 {
		b.moods[id] = nobody
	}
}

// idle reports whether an agent does nothing with its inbox.
func (m mood) idle() bool { return m == holds || m == nobody }

func (b *Inboxes) received(id events.AgentID, rev events.Revision) {
	if b.waiting[id] == nil {
		b.waiting[id] = make(map[events.Revision]struct{}, 1)
	}
	b.waiting[id][rev] = struct{}{}
	b.total++
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

// Waiting returns the agents that have messages in their inbox and are able to
// do something about them, in no particular order.
func (b *Inboxes) Waiting() []events.AgentID {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]events.AgentID, 0, len(b.waiting))
	for id := range b.waiting {
		if !b.moods[id].idle() {
			out = append(out, id)
		}
	}
	return out
}

// Entries returns where an agent's waiting messages stand in its inbox, in order.
func (b *Inboxes) Entries(id events.AgentID) []events.Revision {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.waiting[id]))
}

// Runnable is the number of messages in inboxes that somebody can see to.
func (b *Inboxes) Runnable() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for id, list := range b.waiting {
		if !b.moods[id].idle() {
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

// LenOf is the number of messages waiting in one agent's inbox.
func (b *Inboxes) LenOf(id events.AgentID) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting[id])
}

// Open reports whether an entry of an agent's inbox waits.
func (b *Inboxes) Open(id events.AgentID, rev events.Revision) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.waiting[id][rev]
	return ok
}
