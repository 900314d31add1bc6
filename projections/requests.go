package projections

import (
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// RequestLifetime is how long a request under an Idempotency-Key is one that may be
// repeated: as long as its agent remembers the key.
const RequestLifetime = 24 * time.Hour

// maxRequests bounds the requests of one generation; the newest as many are found. They
// take some 100 bytes each, so 100 MB when both generations are full. An agent forgets
// its keys from the 100,000th on as well.
const maxRequests = 1 << 19

// Requests finds the agent that has a request under an Idempotency-Key whose receiver
// was written as a capability. The message's id follows from how that was written; of any
// other request it follows from the agent, which is found without this.
//
// Two generations take turns instead of a list in order of age: what is in neither is
// older than RequestLifetime, or maxRequests newer ones are known.
type Requests struct {
	mu    sync.RWMutex // guards all below
	young map[events.MessageID]placed
	old   map[events.MessageID]placed
	since time.Time // recorded time of the first in young
	most  int
}

type placed struct {
	agent events.AgentID
	at    time.Time // recorded time of the newest event about it
}

// NewRequests returns the fold of an empty log.
func NewRequests() *Requests {
	return &Requests{young: make(map[events.MessageID]placed), most: maxRequests}
}

// Apply implements Fold.
func (x *Requests) Apply(rec events.Recorded, p events.Payload) {
	var m *events.Message
	var key string
	switch e := p.(type) {
	case events.MessageReceived:
		m, key = &e.Message, e.IdempotencyKey
	case events.MessageHandled:
		m, key = &e.Message, e.IdempotencyKey
	case events.MessageFailed:
		m, key = &e.Message, e.IdempotencyKey
	case events.AgentQuarantined:
		m, key = &e.Message, e.IdempotencyKey
	case events.MessageDeadLettered:
		m, key = &e.Message, e.IdempotencyKey
	}
	if key == "" {
		return
	}
	id, ok := rec.Stream.AgentID()
	if !ok || m.ID == events.KeyedMessageID(key, id.String()) {
		return
	}
	x.put(m.ID, placed{agent: id, at: rec.RecordedAt})
}

func (x *Requests) put(id events.MessageID, p placed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.young) >= x.most || len(x.young) > 0 && p.at.Sub(x.since) > RequestLifetime {
		x.young, x.old = make(map[events.MessageID]placed), x.young
	}
	if len(x.young) == 0 {
		x.since = p.at
	}
	x.young[id] = p
	delete(x.old, id)
}

// Find returns the agent that has a request; ok is false for one that is unknown, or of
// which nothing was recorded within RequestLifetime before now.
func (x *Requests) Find(id events.MessageID, now time.Time) (to events.AgentID, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	p, ok := x.young[id]
	if !ok {
		p, ok = x.old[id]
	}
	if !ok || now.Sub(p.at) > RequestLifetime {
		return events.AgentID{}, false
	}
	return p.agent, true
}
