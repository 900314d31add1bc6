package actors

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Bounds of what is known about agents' latencies.
const (
	latencyFloor  = time.Millisecond // what is below counts and is not told apart: an agent is slow from here on
	latencyWindow = 5 * time.Minute  // a generation; answers are of the present one and the one before
	latencySteps  = 8                // buckets for each doubling: values are right to 9 %
	latencyOctave = 20               // doublings above the floor, to 17 minutes
	maxRecent     = 1024             // slow agents that are remembered while they hibernate
)

// latency is how long one agent's messages took, from mailbox to durable. Most
// agents are never slow, and for them it is two counts: the buckets are made at the
// first message at or above latencyFloor, so a hundred thousand agents awake cost
// some megabytes.
type latency struct {
	mu        sync.Mutex // guards below
	now, past generation
}

// generation is one window's messages.
type generation struct {
	began   time.Time
	count   uint64
	sum     time.Duration
	buckets []uint32 // of those at or above the floor, as latencyBucket numbers them; nil: none
}

// add counts one message.
func (l *latency) add(d time.Duration, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(at)
	l.now.count++
	l.now.sum += d
	if d < latencyFloor {
		return
	}
	if l.now.buckets == nil {
		l.now.buckets = make([]uint32, latencySteps*latencyOctave)
	}
	l.now.buckets[latencyBucket(d)]++
}

// turn begins a new generation when the present one is over. Caller holds mu.
func (l *latency) turn(at time.Time) {
	switch age := at.Sub(l.now.began); {
	case age >= 2*latencyWindow:
		l.now, l.past = generation{began: at}, generation{}
	case age >= latencyWindow:
		l.now, l.past = generation{began: at}, l.now
	}
}

// stats is the mean and the 99th percentile of the last 5 to 10 minutes. slow says
// whether any message was at or above the floor; if none was, p99 is below it.
func (l *latency) stats(at time.Time) (mean, p99 time.Duration, slow bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(at)
	count := l.now.count + l.past.count
	if count == 0 {
		return 0, 0, false
	}
	mean = (l.now.sum + l.past.sum) / time.Duration(count)
	beyond := count - (count*99+99)/100 // messages that may be above the percentile
	for i := latencySteps*latencyOctave - 1; i >= 0; i-- {
		n := l.now.in(i) + l.past.in(i)
		slow = slow || n > 0
		if n > beyond {
			return mean, latencyValue(i), true
		}
		beyond -= n
	}
	return mean, latencyFloor, slow
}

func (g *generation) in(bucket int) uint64 {
	if g.buckets == nil {
		return 0
	}
	return uint64(g.buckets[bucket])
}

// latencyBucket numbers buckets by the floor's doublings, each in latencySteps equal
// parts. d is at or above the floor.
func latencyBucket(d time.Duration) int {
	times := uint64(d / latencyFloor)
	octave := bits.Len64(times) - 1
	part := (d - latencyFloor<<octave) * latencySteps / (latencyFloor << octave)
	return min(octave*latencySteps+int(part), latencySteps*latencyOctave-1)
}

// latencyValue is the upper end of a bucket.
func latencyValue(bucket int) time.Duration {
	base := latencyFloor << (bucket / latencySteps)
	return base + base*time.Duration(bucket%latencySteps+1)/latencySteps
}

// SlowAgent is one agent's latency over the last 5 to 10 minutes: from the mailbox
// until its messages' events are durable.
type SlowAgent struct {
	Agent events.AgentID
	Mean  time.Duration
	P99   time.Duration // right to 13 %
}

// recents remembers the latencies of slow agents that hibernate: the last maxRecent.
type recents struct {
	mu    sync.Mutex // guards below
	known map[events.AgentID]*latency
	order []events.AgentID // oldest first; holds each of known once
}

// keep remembers an agent that falls asleep, if it was slow.
func (r *recents) keep(id events.AgentID, l *latency) {
	if _, _, slow := l.stats(time.Now()); !slow {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[events.AgentID]*latency)
	}
	if r.known[id] == nil {
		r.order = append(r.order, id)
	}
	r.known[id] = l
	if len(r.order) > maxRecent {
		delete(r.known, r.order[0])
		r.order = slices.Delete(r.order, 0, 1)
	}
}

// take gives back what was kept of an agent that wakes, or a new latency.
func (r *recents) take(id events.AgentID) *latency {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.known[id]
	if l == nil {
		return new(latency)
	}
	delete(r.known, id)
	r.order = slices.DeleteFunc(r.order, func(other events.AgentID) bool { return other == id })
	return l
}

func (r *recents) all(into map[events.AgentID]*latency) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, l := range r.known {
		into[id] = l
	}
}

// Slow returns the agents whose mean or 99th percentile is at or above threshold,
// the slowest first: those that are awake, and the last ones that were. Below
// latencyFloor nothing is told apart.
func (s *System) Slow(threshold time.Duration) []SlowAgent {
	known := make(map[events.AgentID]*latency)
	s.recents.all(known)
	for id, box := range s.registry.all() {
		known[id] = box.latency
	}
	var out []SlowAgent
	now := time.Now()
	for id, l := range known {
		mean, p99, slow := l.stats(now)
		if slow && max(mean, p99) >= threshold {
			out = append(out, SlowAgent{Agent: id, Mean: mean, P99: p99})
		}
	}
	slices.SortFunc(out, func(a, b SlowAgent) int {
		return cmp.Or(cmp.Compare(b.P99, a.P99), cmp.Compare(b.Mean, a.Mean), slices.Compare(a.Agent[:], b.Agent[:]))
	})
	return out
}
