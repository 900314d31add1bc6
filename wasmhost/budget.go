package wasmhost

import (
	"fmt"
	"sync/atomic"
	"time"
)

// memoryBudget counts the linear memories of all guests of a host, and keeps the
// process from having more memory than it may. Three things can be used up; then
// memory.grow answers -1 and its call fails as the host's fault, and a guest that
// would begin is events.ErrOverloaded, which passes as others rest:
//
//   - addresses: limit bounds the sum of all sizes, touched or not.
//   - large memories: a guest of more than wholeAbove may write all it has in the time
//     between two looks, so all of it counts as written.
//   - what is in memory: small guests write an eighth of what they have, and where they
//     write more, the process is seen to have too much before it has all.
//
// Why not count all in full: a small guest has 64 KiB and writes 8, and a node would
// hold an eighth of its agents.
type memoryBudget struct {
	slabs slabs
	limit int64        // bytes, Config.GuestMemory
	used  atomic.Int64 // bytes that guests have, touched or not

	most      int64        // bytes, Config.ProcessMemory; 0 is no bound
	promised  atomic.Int64 // bytes that guests are reckoned to write
	residence residence
}

const (
	// wholeAbove is the largest memory that counts in part. Guests that run at the
	// same time are few, as many as processors at the most, and so are the bytes that
	// they may write between two looks.
	wholeAbove = 1 << maxSharedBits
	// smallShare of a small guest's memory counts, measured on C and Rust guests.
	smallShare = 8
	// promisedShare of the process's memory is for guests. The node's collector is
	// always given a quarter.
	promisedShare = 0.75
	// residentShare of the process's memory is where guests get no more. The rest is
	// for what those that run write until the next look, and idle agents were asked
	// to rest well before.
	residentShare = 0.95
	// residentEvery is how old a look may be. A look takes some microseconds.
	residentEvery = 5 * time.Millisecond
)

// promise is what a memory of size bytes counts.
func promise(size int64) int64 {
	if size > wholeAbove {
		return size
	}
	return size / smallShare
}

// reserve makes a memory of have bytes one of want, which is more, or says no.
func (b *memoryBudget) reserve(have, want int64) bool {
	if b.most > 0 && b.residence.over(int64(residentShare*float64(b.most))) {
		return false
	}
	used, promised := b.used.Add(want-have), b.promised.Add(promise(want)-promise(have))
	if used > b.limit || b.most > 0 && promised > b.promisable() {
		b.release(want, have)
		return false
	}
	return true
}

// holds reports whether a memory of size bytes could be had if it were the only one.
func (b *memoryBudget) holds(size int64) bool {
	return size <= b.limit && (b.most == 0 || promise(size) <= b.promisable())
}

// release makes a memory of have bytes one of want, which is less.
func (b *memoryBudget) release(have, want int64) {
	b.used.Add(want - have)
	b.promised.Add(promise(want) - promise(have))
}

func (b *memoryBudget) promisable() int64 { return int64(promisedShare * float64(b.most)) }

// state says what of the budget is used.
func (b *memoryBudget) state() string {
	s := fmt.Sprintf("guests have %d of guest_memory, %d", b.used.Load(), b.limit)
	if b.most > 0 {
		s += fmt.Sprintf("; they are reckoned to write %d of %d, and the process has %d of %d in memory",
			b.promised.Load(), b.promisable(), b.residence.last.Load(), b.most)
	}
	return s
}

// residence is what the process has in memory, as it was seen a moment ago.
type residence struct {
	measure func() int64 // nil: the system's count for this process
	at      atomic.Int64 // of the last look, nanoseconds since the Unix epoch
	last    atomic.Int64 // bytes that it saw
}

// over reports whether the process has more than limit in memory. Who asks when a
// look is due, looks; the others take what was seen before.
func (r *residence) over(limit int64) bool {
	now, at := time.Now().UnixNano(), r.at.Load()
	if (now-at >= int64(residentEvery) || now < at) && r.at.CompareAndSwap(at, now) {
		if n := r.look(); n > 0 { // 0: the system does not tell, as where this process has no descriptor left
			r.last.Store(n)
		}
	}
	return r.last.Load() > limit
}

func (r *residence) look() int64 {
	if r.measure != nil {
		return r.measure()
	}
	return statm(1)
}

// PromisedMemory is how much guests are reckoned to write, and how much of that the
// process may promise; 0 without Config.ProcessMemory. Near it, idle guests should
// rest.
func (h *Host) PromisedMemory() (bytes, most int64) {
	return h.memory.promised.Load(), h.memory.promisable()
}
