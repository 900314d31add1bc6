package raftstore

import "sync"

// lock is a mutex for what is held while the disk or another member is waited for.
// Whoever waits for it waits on a condition, which the simulated time of tests passes
// over; a sync.Mutex would hold it up. The zero lock is free.
type lock struct {
	mu   sync.Mutex // guards held
	held bool
	free *sync.Cond // nil until somebody waits
}

// Lock implements sync.Locker.
func (l *lock) Lock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.held {
		if l.free == nil {
			l.free = sync.NewCond(&l.mu)
		}
		l.free.Wait()
	}
	l.held = true
}

// Unlock implements sync.Locker.
func (l *lock) Unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	if l.free != nil {
		l.free.Signal()
	}
}

// uses counts who may use something until it is over.
type uses struct {
	mu   sync.Mutex // guards what follows
	now  int
	over bool
	idle *sync.Cond // nil until somebody waits in finish
}

// begin reports whether it is not over; if so end follows.
func (u *uses) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return false
	}
	u.now++
	return true
}

func (u *uses) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now--; u.now == 0 && u.idle != nil {
		u.idle.Broadcast()
	}
}

// finish lets nobody begin any more, and returns when all have ended.
func (u *uses) finish() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for u.now > 0 {
		if u.idle == nil {
			u.idle = sync.NewCond(&u.mu)
		}
		u.idle.Wait()
	}
}
