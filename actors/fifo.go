package actors

import "slices"

// fifo is a queue in a slice that gives its memory back when it runs empty.
type fifo struct {
	list []*envelope
	head int
}

func (q *fifo) push(e *envelope) { q.list = append(q.list, e) }

func (q *fifo) pop() *envelope {
	e := q.list[q.head]
	q.list[q.head] = nil // let the collector have it
	q.head++
	switch {
	case q.head == len(q.list):
		*q = fifo{}
	case q.head >= 64 && q.head*2 >= len(q.list):
		q.list = append([]*envelope(nil), q.list[q.head:]...)
		q.head = 0
	}
	return e
}

func (q *fifo) len() int { return len(q.list) - q.head }

func (q *fifo) items() []*envelope { return q.list[q.head:] }

// unpop puts envelopes back at the head, in this order.
func (q *fifo) unpop(list []*envelope) {
	if len(list) > 0 {
		*q = fifo{list: append(list[:len(list):len(list)], q.items()...)}
	}
}

// remove takes an envelope out of the queue and reports whether it was there.
func (q *fifo) remove(e *envelope) bool {
	i := slices.Index(q.items(), e)
	if i >= 0 {
		q.list = slices.Delete(q.list, q.head+i, q.head+i+1)
	}
	return i >= 0
}
