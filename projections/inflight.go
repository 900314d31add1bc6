package projections

import (
	"sync"

	"github.com/caxton-run/caxton/events"
)

// Pair is a sender and a receiver: the unit in which order is kept.
type Pair struct{ From, To events.AgentID }

// Sent says where a send stands in the log: as the Index-th of the sends in the
// event at Revision of the sender's stream.
type Sent struct {
	Sequence uint64
	Revision events.Revision
	Index    int
}

// InFlight is what agents have sent and nobody has handled or given up: sent
// minus handled, by pair, in order. It is the dispatcher's only list of work, so
// what is in flight after a crash is the same as what was before it.
type InFlight struct {
	changed func(Pair)

	mu    sync.Mutex
	pairs map[Pair][]Sent                            // guarded by mu; ascending sequences
	to    map[events.AgentID]map[events.AgentID]bool // guarded by mu; receiver → senders with sends in flight
	total int                                        // guarded by mu
}

// NewInFlight returns the fold of an empty log. changed is called after a send
// was added, and after its receiver was resumed or removed, without locks held,
// from the goroutine that applies; it must not block.
func NewInFlight(changed func(Pair)) *InFlight {
	return &InFlight{
		changed: changed,
		pairs:   make(map[Pair][]Sent), to: make(map[events.AgentID]map[events.AgentID]bool),
	}
}

// Apply implements Fold.
func (f *InFlight) Apply(rec events.Recorded, p events.Payload) {
	id, ok := rec.Stream.AgentID()
	if !ok {
		return
	}
	switch e := p.(type) {
	case events.MessageHandled:
		f.ended(id, &e.Message)
		f.added(id, rec.Revision, e.Sends)
	case events.MessageFailed:
		f.ended(id, &e.Message)
		f.added(id, rec.Revision, e.Sends)
	case events.AgentQuarantined:
		f.ended(id, &e.Message)
		f.added(id, rec.Revision, e.Sends)
	case events.MessageDeadLettered:
		f.gaveUp(id, &e.Message)
	case events.AgentResumed, events.AgentRemoved:
		f.wake(id)
	}
}

// added records the sends of one event. A receiver may have handled a send
// before this fold sees it as sent only if the log were out of order, which it
// is not: effects follow their append.
func (f *InFlight) added(from events.AgentID, rev events.Revision, sends []events.Message) {
	for i := range sends {
		to, err := events.ParseAgentID(sends[i].Receiver)
		if err != nil {
			continue
		}
		pair := Pair{from, to}
		f.mu.Lock()
		f.pairs[pair] = append(f.pairs[pair], Sent{sends[i].Sequence, rev, i})
		if f.to[to] == nil {
			f.to[to] = make(map[events.AgentID]bool, 1)
		}
		f.to[to][from] = true
		f.total++
		f.mu.Unlock()
		f.changed(pair)
	}
}

// ended removes what the receiver has dealt with. Sends of a pair are handled in
// order, so everything up to this sequence is done.
func (f *InFlight) ended(receiver events.AgentID, m *events.Message) {
	from, ok := m.FromAgent()
	if !ok || m.Sequence == 0 {
		return
	}
	f.drop(Pair{from, receiver}, func(s Sent) bool { return s.Sequence <= m.Sequence })
}

// gaveUp removes one send that became a dead letter, and no other.
func (f *InFlight) gaveUp(sender events.AgentID, m *events.Message) {
	to, err := events.ParseAgentID(m.Receiver)
	if err != nil || m.Sequence == 0 {
		return
	}
	f.drop(Pair{sender, to}, func(s Sent) bool { return s.Sequence == m.Sequence })
}

func (f *InFlight) drop(pair Pair, gone func(Sent) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.pairs[pair]
	kept := make([]Sent, 0, len(list))
	for _, s := range list {
		if !gone(s) {
			kept = append(kept, s)
		}
	}
	f.total -= len(list) - len(kept)
	if len(kept) > 0 {
		f.pairs[pair] = kept
		return
	}
	delete(f.pairs, pair)
	delete(f.to[pair.To], pair.From)
	if len(f.to[pair.To]) == 0 {
		delete(f.to, pair.To)
	}
}

func (f *InFlight) wake(receiver events.AgentID) {
	f.mu.Lock()
	senders := make([]events.AgentID, 0, len(f.to[receiver]))
	for from := range f.to[receiver] {
		senders = append(senders, from)
	}
	f.mu.Unlock()
	for _, from := range senders {
		f.changed(Pair{from, receiver})
	}
}

// Next returns up to limit sends of a pair with sequences above after, in order.
func (f *InFlight) Next(pair Pair, after uint64, limit int) []Sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Sent
	for _, s := range f.pairs[pair] {
		if s.Sequence > after && len(out) < limit {
			out = append(out, s)
		}
	}
	return out
}

// Len is the number of sends in flight.
func (f *InFlight) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}
