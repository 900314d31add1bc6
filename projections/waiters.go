package projections

import "github.com/caxton-run/caxton/events"

// waiter is one call of WaitFor.
type waiter struct {
	position events.Position
	reached  chan struct{}
	index    int // in the heap; -1 once it has left it
}

// waiters is a heap (container/heap) of waiters, the lowest position first: an
// event that satisfies nobody is known to by one look, however many wait.
type waiters []*waiter

// Len implements heap.Interface.
func (w waiters) Len() int { return len(w) }

// Less implements heap.Interface.
func (w waiters) Less(i, j int) bool { return w[i].position < w[j].position }

// Swap implements heap.Interface.
func (w waiters) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push implements heap.Interface.
func (w *waiters) Push(x any) {
	one := x.(*waiter)
	one.index = len(*w)
	*w = append(*w, one)
}

// Pop implements heap.Interface.
func (w *waiters) Pop() any {
	last := len(*w) - 1
	one := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	one.index = -1
	return one
}
