package wasmhost

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"

	"github.com/caxton-run/caxton/events"
)

// linearMemory is one instance's memory, which grows up to the agent's limit. It
// belongs to the instance's goroutine; only size and place may be read by
// others.
type linearMemory struct {
	budget *memoryBudget
	limit  uint64 // bytes
	slot   slot
	buf    []byte

	denied    bool // a growth beyond the limit was refused since the flag was cleared
	exhausted bool // a growth was refused for want of the node's memory: no fault of the guest's
	pressed   bool // such a growth would be given to a guest that is alone

	// For those who ask how much of it is in memory.
	size  atomic.Int64
	place atomic.Uintptr
}

// Allocate implements experimental.MemoryAllocator. The engine's suggested
// capacity may be gigabytes that the module merely declares: it is ignored.
func (l *linearMemory) Allocate(_, _ uint64) experimental.LinearMemory { return l }

// Reallocate implements experimental.LinearMemory: nil refuses, and memory.grow
// answers -1. Memory never shrinks.
func (l *linearMemory) Reallocate(size uint64) []byte {
	if size > l.limit {
		l.denied = true
		return nil
	}
	if size == uint64(len(l.buf)) {
		if l.buf == nil {
			l.buf = []byte{} // none, but not refused
		}
		return l.buf
	}
	have := int64(len(l.buf))
	if !l.budget.reserve(have, int64(size)) {
		return l.refuse(size)
	}
	if size > uint64(cap(l.buf)) && !l.move(size) {
		l.budget.release(int64(size), have)
		return l.refuse(size)
	}
	l.buf = l.buf[:size]
	l.size.Store(int64(size))
	return l.buf
}

// move makes the slot one that holds size bytes: a large one grows as it is, a small
// one is copied. Pages of zeros are not copied: they would become resident.
func (l *linearMemory) move(size uint64) bool {
	if l.budget.slabs.extend(l.slot, size) {
		l.buf = l.slot.bytes()
		l.place.Store(addressOf(l.buf))
		return true
	}
	to, err := l.budget.slabs.take(size)
	if err != nil {
		return false
	}
	buf := to.bytes()
	for from := 0; from < len(l.buf); from += blockBytes {
		if b := l.buf[from : from+blockBytes]; !bytes.Equal(b, zeroBlock[:]) {
			copy(buf[from:], b)
		}
	}
	l.budget.slabs.give(l.slot)
	l.slot, l.buf = to, buf
	l.place.Store(addressOf(buf))
	return true
}

// refuse notes that the node has no room for size bytes.
func (l *linearMemory) refuse(size uint64) []byte {
	l.exhausted = true
	l.pressed = l.pressed || l.budget.holds(int64(size))
	return nil
}

// short is why a growth was refused; nil when this node could give no guest as much,
// however little the others had.
func (l *linearMemory) short() error {
	if !l.pressed {
		return nil
	}
	return l.overloaded(0)
}

// begin reserves what a module has at its start, so that the engine, which
// cannot be refused that, finds it. Errors wrap events.ErrOverloaded.
func (l *linearMemory) begin(size uint64) error {
	if l.Reallocate(size) == nil {
		return l.overloaded(size)
	}
	return nil
}

func (l *linearMemory) overloaded(size uint64) error {
	return fmt.Errorf("wasmhost: a guest of %d bytes asks for more memory; %s: %w",
		max(size, uint64(len(l.buf))), l.budget.state(), events.ErrOverloaded)
}

// Free implements experimental.LinearMemory. It is safe twice.
func (l *linearMemory) Free() {
	l.budget.release(int64(len(l.buf)), 0)
	l.size.Store(0)
	l.place.Store(0)
	l.budget.slabs.give(l.slot)
	l.slot, l.buf = slot{}, nil
}
