package actors

import "github.com/caxton-run/caxton/events"

// oldestEvery is how often, in messages taken, the one that has waited longest goes
// first, whatever its priority: a flood of critical messages slows others down and
// does not stop them.
const oldestEvery = 8

// queue holds waiting messages by priority, each in the order of arrival. The
// critical ones go first, then high, normal and low.
type queue struct {
	class [4]fifo
	taken int // since one went first for its age
}

// rank of a message: 0 goes first.
func rank(e *envelope) int {
	switch e.message.Class() {
	case events.Critical:
		return 0
	case events.High:
		return 1
	case events.Low:
		return 3
	}
	return 2
}

func (q *queue) push(e *envelope) { q.class[rank(e)].push(e) }

func (q *queue) len() int {
	n := 0
	for i := range q.class {
		n += q.class[i].len()
	}
	return n
}

// pop takes the next message; there is one.
func (q *queue) pop() *envelope {
	first, oldest := -1, -1
	for i := range q.class {
		if q.class[i].len() == 0 {
			continue
		}
		if first < 0 {
			first, oldest = i, i
		}
		if q.class[i].items()[0].arrived.Before(q.class[oldest].items()[0].arrived) {
			oldest = i
		}
	}
	if q.taken++; q.taken >= oldestEvery {
		q.taken, first = 0, oldest
	}
	return q.class[first].pop()
}

// unpop puts messages back, each at the head of its priority, in this order.
func (q *queue) unpop(list []*envelope) {
	var back [len(q.class)][]*envelope
	for _, e := range list {
		back[rank(e)] = append(back[rank(e)], e)
	}
	for i := range back {
		q.class[i].unpop(back[i])
	}
}

// lists returns what waits, by priority, the first to go first.
func (q *queue) lists() [][]*envelope {
	out := make([][]*envelope, 0, len(q.class))
	for i := range q.class {
		out = append(out, q.class[i].items())
	}
	return out
}
