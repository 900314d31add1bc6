package wasmhost

import (
	"math"
	"time"

	"github.com/caxton-run/caxton/events"
)

// AgentReader is what an agent had before the message, as far as the host needs
// it to answer its guest.
type AgentReader interface {
	LastTimer() events.TimerID       // the highest number given so far; 0 before the first
	HasTimer(id events.TimerID) bool // pending
	Timers() int                     // pending in all

	HasCapability(name string) bool
	Capabilities() int // registered in all
}

// TimerChange is one timer_set or timer_cancel.
type TimerChange struct {
	Timer   events.TimerID
	Cancel  bool
	After   time.Duration // events.MinTimerAfter to events.MaxTimerAfter
	Content []byte
}

// timerChanges are what a message has done to timers so far. The numbers of new
// ones follow from the agent's state, so a replay gives the guest the same.
type timerChanges struct {
	before AgentReader    // nil has none
	fires  events.TimerID // the timer that the message is of, which is no longer pending; or 0
	list   []TimerChange
	set    int // of list, timers set
	gone   map[events.TimerID]struct{}
}

func (t *timerChanges) next() events.TimerID {
	next := events.TimerID(t.set + 1)
	if t.before != nil {
		next += t.before.LastTimer()
	}
	return next
}

func (t *timerChanges) pending() int {
	n := t.set - len(t.gone)
	if t.before != nil {
		n += t.before.Timers()
		if t.before.HasTimer(t.fires) {
			n--
		}
	}
	return n
}

func (t *timerChanges) has(id events.TimerID) bool {
	if _, gone := t.gone[id]; gone || id <= 0 || id == t.fires || id >= t.next() {
		return false
	}
	return id >= t.next()-events.TimerID(t.set) || t.before != nil && t.before.HasTimer(id)
}

func (t *timerChanges) cancel(id events.TimerID) {
	if t.gone == nil {
		t.gone = make(map[events.TimerID]struct{})
	}
	t.gone[id] = struct{}{}
	t.list = append(t.list, TimerChange{Timer: id, Cancel: true})
}

// timerAfter bounds what a guest asks for: what is too short is made longer, what
// is negative or too long is refused.
func timerAfter(micros int64) (after time.Duration, ok bool) {
	if micros < 0 || micros > int64(events.MaxTimerAfter/time.Microsecond) {
		return 0, false
	}
	return max(time.Duration(micros)*time.Microsecond, events.MinTimerAfter), true
}

func hostTimerSet(in *Instance, stack []uint64) {
	after, ok := timerAfter(int64(stack[0]))
	ptr, n := arg(stack, 1), arg(stack, 2)
	in.charge(copyCost(n))
	wide := func(v int64) { stack[0] = uint64(v) }
	t := &in.call.timers
	b, inside := in.view(ptr, n)
	switch {
	case !in.call.handling:
		wide(int64(codeUnavailable))
	case !ok:
		wide(int64(codeInvalid))
	case !inside:
		wide(int64(codeBadPointer))
	case n > events.MaxMessageContent || t.pending() >= events.MaxTimers || t.next() == math.MaxInt64:
		wide(int64(codeTooLarge))
	default:
		in.room(1, len(b))
		id := t.next()
		t.list = append(t.list, TimerChange{Timer: id, After: after, Content: append(make([]byte, 0, len(b)), b...)})
		t.set++
		wide(int64(id))
	}
}

func hostTimerCancel(in *Instance, stack []uint64) {
	id := events.TimerID(stack[0])
	in.charge(costCall)
	switch {
	case !in.call.handling:
		answer(stack, codeUnavailable)
	case !in.call.timers.has(id):
		answer(stack, codeAbsent)
	default:
		in.room(1, 0)
		in.call.timers.cancel(id)
		answer(stack, 0)
	}
}
