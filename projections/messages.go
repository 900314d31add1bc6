package projections

import (
	"sync"

	"github.com/caxton-run/caxton/events"
)

// maxIndexed bounds the messages that are found by their id: the newest ones. They
// take some 70 bytes each, so 75 MB when there were that many. Older ones are found
// in their conversation.
const maxIndexed = 1 << 20

// Messages finds where in the log the newest word about a message stands.
type Messages struct {
	mu   sync.RWMutex // guards all below
	at   map[events.MessageID]events.Position
	ring []events.MessageID // in order of their first event; full when its length is most
	next int                // of ring, the oldest
	most int
}

// NewMessages returns the fold of an empty log.
func NewMessages() *Messages {
	return &Messages{at: make(map[events.MessageID]events.Position), most: maxIndexed}
}

// Apply implements Fold.
func (x *Messages) Apply(rec events.Recorded, p events.Payload) {
	x.mu.Lock()
	defer x.mu.Unlock()
	sends := func(list []events.Message, reply *events.Message) {
		for i := range list {
			x.put(list[i].ID, rec.Position)
		}
		if reply != nil {
			x.put(reply.ID, rec.Position)
		}
	}
	switch e := p.(type) {
	case events.MessageReceived:
		if _, ok := x.at[e.Message.ID]; !ok { // one that was handled before says more
			x.put(e.Message.ID, rec.Position)
		}
	case events.MessageHandled:
		x.put(e.Message.ID, rec.Position)
		sends(e.Sends, e.Reply)
	case events.MessageFailed:
		x.put(e.Message.ID, rec.Position)
		sends(e.Sends, e.Reply)
	case events.AgentQuarantined:
		x.put(e.Message.ID, rec.Position)
		sends(e.Sends, e.Reply)
	case events.MessageDeadLettered:
		x.put(e.Message.ID, rec.Position)
	}
}

func (x *Messages) put(id events.MessageID, at events.Position) {
	if _, known := x.at[id]; !known {
		if len(x.ring) < x.most {
			x.ring = append(x.ring, id)
		} else {
			delete(x.at, x.ring[x.next])
			x.ring[x.next] = id
			x.next = (x.next + 1) % x.most
		}
	}
	x.at[id] = at
}

// Find returns the position of the newest event about a message; ok is false for
// one that is unknown, or that maxIndexed newer ones have replaced.
func (x *Messages) Find(id events.MessageID) (at events.Position, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	at, ok = x.at[id]
	return at, ok
}

// Whole reports whether Find knows every message of the log that it has seen.
func (x *Messages) Whole() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.ring) < x.most
}

// Len is the number of messages that Find knows.
func (x *Messages) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.at)
}
