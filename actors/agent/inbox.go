package agent

import "github.com/caxton-run/caxton/events"

// inbox remembers which entries of the agent's inbox stream are handled: all
// below next, and those ahead of it that a turn took out of order.
//
// Invariant: next is not in ahead.
type inbox struct {
	next  events.Revision
	ahead map[events.Revision]struct{}
}

func (i *inbox) done(r events.Revision) bool {
	_, ahead := i.ahead[r]
	return r < i.next || ahead
}

func (i *inbox) finish(r *events.Revision) {
	if r == nil || i.done(*r) {
		return
	}
	if i.ahead == nil {
		i.ahead = make(map[events.Revision]struct{})
	}
	i.ahead[*r] = struct{}{}
	for {
		if _, ok := i.ahead[i.next]; !ok {
			return
		}
		delete(i.ahead, i.next)
		i.next++
	}
}
