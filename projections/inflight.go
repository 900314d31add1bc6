package projections

import (
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Pair is a sender, a receiver and a priority: the unit in which order is kept.
type Pair struct {
	From, To events.AgentID
	Class    events.Priority // never empty
}

// Sent says where a send stands in the log: as the Index-th of the sends in the
// event at Revision of the sender's stream.
type Sent struct {
	Sequence uint64
	Revision events.Revision
	Index    int
	Deadline time.Time // to be delivered by: its reply_by, or SendTimeout after it was sent
}

// DefaultSendTimeout is how long a send may stay in flight: a week, in which an
// operator comes across an agent that is held.
const DefaultSendTimeout = 7 * 24 * time.Hour

// InFlight is what agents have sent and nobody has handled or given up: sent
// minus handled, by pair, in order. It is the dispatcher's only list of work, so
// what is in flight after a crash is the same as what was before it.
type InFlight struct {
	// SendTimeout is for sends without a reply_by, and the most for those with one.
	// It is not changed once the fold has begun.
	SendTimeout time.Duration

	changed chan struct{} // holds a token while dirty is not empty
	sooner  chan struct{} // holds a token when soonest may have become earlier

	mu      sync.Mutex                           // guards all below
	pairs   map[Pair][]Sent                      // ascending sequences, never empty
	senders map[events.AgentID]map[Pair]struct{} // receiver → pairs with sends in flight
	dirty   map[Pair]struct{}                    // pairs worth a look since TakeChanged
	late    map[Pair]struct{}                    // pairs in which Expire found a deadline that had passed
	total   int
	from    map[events.AgentID]int // of total, by sender; never 0
	soonest time.Time              // no deadline is earlier; zero when none may come
}

// NewInFlight returns the fold of an empty log.
func NewInFlight() *InFlight {
	return &InFlight{
		SendTimeout: DefaultSendTimeout,
		changed:     make(chan struct{}, 1),
		sooner:      make(chan struct{}, 1),
		pairs:       make(map[Pair][]Sent),
		senders:     make(map[events.AgentID]map[Pair]struct{}),
		dirty:       make(map[Pair]struct{}),
		late:        make(map[Pair]struct{}),
		from:        make(map[events.AgentID]int),
	}
}

// Apply implements Fold.
func (f *InFlight) Apply(rec events.Recorded, p events.Payload) {
	id, ok := rec.Stream.AgentID()
	if !ok || rec.Stream.Category() != events.CategoryAgent {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch e := p.(type) {
	case events.MessageHandled:
		f.ended(id, &e.Message)
		f.added(id, rec, e.Sends)
	case events.MessageFailed:
		f.ended(id, &e.Message)
		f.added(id, rec, e.Sends)
	case events.AgentQuarantined:
		f.ended(id, &e.Message)
		f.added(id, rec, e.Sends)
	case events.MessageDeadLettered:
		f.gaveUp(id, &e.Message)
	case events.HistoryTrimmed:
		for _, s := range e.Seen { // the events that ended them may be gone
			pair := Pair{s.From, id, s.Class}
			f.cut(pair, 0, f.above(pair, s.Sequence))
		}
	case events.AgentResumed, events.AgentRestarted, events.AgentRemoved:
		for pair := range f.senders[id] {
			f.mark(pair)
		}
	}
}

// added records the sends of one event. No receiver can have handled one before
// this: effects follow their append, so the log has them in this order.
func (f *InFlight) added(from events.AgentID, rec events.Recorded, sends []events.Message) {
	for i := range sends {
		to, err := events.ParseAgentID(sends[i].Receiver)
		if err != nil {
			continue
		}
		pair := Pair{from, to, sends[i].Class()}
		f.pairs[pair] = append(f.pairs[pair], Sent{sends[i].Sequence, rec.Revision, i, f.deadline(&sends[i], rec.RecordedAt)})
		if f.senders[to] == nil {
			f.senders[to] = make(map[Pair]struct{}, 1)
		}
		f.senders[to][pair] = struct{}{}
		f.total++
		f.from[from]++
		f.mark(pair)
	}
}

// ended removes what the receiver has dealt with. Sends of a pair are handled in
// order, so everything up to this sequence is done.
func (f *InFlight) ended(receiver events.AgentID, m *events.Message) {
	if from, ok := m.FromAgent(); ok && m.Sequence > 0 {
		pair := Pair{from, receiver, m.Class()}
		f.cut(pair, 0, f.above(pair, m.Sequence))
	}
}

// gaveUp removes one send that became a dead letter, and no other.
func (f *InFlight) gaveUp(sender events.AgentID, m *events.Message) {
	to, err := events.ParseAgentID(m.Receiver)
	if err != nil || m.Sequence == 0 {
		return // it never had a receiver, so it never was in flight
	}
	pair := Pair{sender, to, m.Class()}
	f.cut(pair, f.above(pair, m.Sequence-1), f.above(pair, m.Sequence))
}

// above returns the index of the first send of pair with a sequence > seq.
func (f *InFlight) above(pair Pair, seq uint64) int {
	list := f.pairs[pair]
	return sort.Search(len(list), func(i int) bool { return list[i].Sequence > seq })
}

func (f *InFlight) cut(pair Pair, from, to int) {
	if from >= to {
		return
	}
	f.total -= to - from
	if f.from[pair.From] -= to - from; f.from[pair.From] == 0 {
		delete(f.from, pair.From)
	}
	list := f.pairs[pair]
	if from == 0 {
		list = list[to:] // the common case costs nothing; append reallocates in time
	} else {
		list = slices.Delete(list, from, to)
	}
	if len(list) > 0 {
		f.pairs[pair] = list
		return
	}
	delete(f.pairs, pair)
	delete(f.late, pair)
	delete(f.dirty, pair) // or a rebuild would end with every pair that ever was
	delete(f.senders[pair.To], pair)
	if len(f.senders[pair.To]) == 0 {
		delete(f.senders, pair.To)
	}
}

func (f *InFlight) deadline(m *events.Message, sent time.Time) time.Time {
	by := sent.Add(f.SendTimeout)
	if m.ReplyBy != nil && m.ReplyBy.Before(by) {
		by = *m.ReplyBy
	}
	if f.soonest.IsZero() || by.Before(f.soonest) {
		f.soonest = by
		select {
		case f.sooner <- struct{}{}:
		default: // a token lies there already
		}
	}
	return by
}

// Sooner yields a token when Soonest may have become earlier.
func (f *InFlight) Sooner() <-chan struct{} { return f.sooner }

// Soonest returns a time before which Expire has nothing to do; ok is false when no
// send is in flight. It may be that of a send that has been handled.
func (f *InFlight) Soonest() (at time.Time, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.soonest, !f.soonest.IsZero()
}

// Expire makes TakeChanged give every pair with a send whose deadline has passed at
// now. It looks at all that is in flight.
func (f *InFlight) Expire(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.soonest = time.Time{}
	for pair, list := range f.pairs {
		for _, s := range list {
			switch {
			case !s.Deadline.After(now):
				f.late[pair] = struct{}{}
				f.mark(pair)
			case f.soonest.IsZero() || s.Deadline.Before(f.soonest):
				f.soonest = s.Deadline
			}
		}
	}
}

// Overdue returns the first send of a pair whose deadline has passed at now, of those
// that Expire has come across, wherever it stands; ok is false without any.
func (f *InFlight) Overdue(pair Pair, now time.Time) (s Sent, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.late[pair]; !ok {
		return Sent{}, false // without a look at what may be very many
	}
	list := f.pairs[pair]
	if i := slices.IndexFunc(list, func(s Sent) bool { return !s.Deadline.After(now) }); i >= 0 {
		return list[i], true
	}
	delete(f.late, pair)
	return Sent{}, false
}

// MarkAll makes TakeChanged give every pair that has sends in flight.
func (f *InFlight) MarkAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pair := range f.pairs {
		f.mark(pair)
	}
}

func (f *InFlight) mark(pair Pair) {
	f.dirty[pair] = struct{}{}
	select {
	case f.changed <- struct{}{}:
	default: // a token lies there already
	}
}

// Changed yields a token when TakeChanged has something to give. It may yield one
// for what has been handled meanwhile; TakeChanged then gives nothing.
func (f *InFlight) Changed() <-chan struct{} { return f.changed }

// TakeChanged returns, once each, the pairs that got a send, or whose receiver
// was resumed, restarted or removed, since the last call, and that still have sends in
// flight. Their order means nothing.
func (f *InFlight) TakeChanged() []Pair {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Pair, 0, len(f.dirty))
	for pair := range f.dirty {
		out = append(out, pair)
	}
	clear(f.dirty)
	return out
}

// Next returns up to limit (≥ 0) sends of a pair with sequences above after, in
// order.
func (f *InFlight) Next(pair Pair, after uint64, limit int) []Sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.pairs[pair][f.above(pair, after):]
	return slices.Clone(list[:min(limit, len(list))])
}

// Len is the number of sends in flight.
func (f *InFlight) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// LenFrom is how many of them one agent has sent.
func (f *InFlight) LenFrom(sender events.AgentID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.from[sender]
}

// Receivers returns how many sends are in flight to each agent that has any.
func (f *InFlight) Receivers() map[events.AgentID]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[events.AgentID]int, len(f.senders))
	for to, pairs := range f.senders {
		for pair := range pairs {
			out[to] += len(f.pairs[pair])
		}
	}
	return out
}
