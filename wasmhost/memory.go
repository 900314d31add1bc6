package wasmhost

import (
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

// linearMemory is one instance's memory: a Go slice that grows up to the
// agent's limit. It belongs to the instance's goroutine.
type linearMemory struct {
	limit  uint64        // bytes
	total  *atomic.Int64 // bytes of all memories of the host
	buf    []byte
	denied bool // a growth was refused since the flag was cleared
}

// Allocate implements experimental.MemoryAllocator. The engine's suggested
// capacity may be gigabytes that the module merely declares: it is ignored.
func (l *linearMemory) Allocate(_, _ uint64) experimental.LinearMemory { return l }

// Reallocate implements experimental.LinearMemory: nil refuses, and memory.grow
// answers -1.
func (l *linearMemory) Reallocate(size uint64) []byte {
	if size > l.limit {
		l.denied = true
		return nil
	}
	if size <= uint64(cap(l.buf)) {
		l.buf = l.buf[:size]
		return l.buf
	}
	// A quarter more than asked, so that growing page by page copies each byte
	// a few times only.
	room := size
	if len(l.buf) > 0 {
		room = min(size+size/4, l.limit)
	}
	grown := make([]byte, size, room)
	copy(grown, l.buf)
	l.total.Add(int64(cap(grown) - cap(l.buf)))
	l.buf = grown
	return l.buf
}

// Free implements experimental.LinearMemory.
func (l *linearMemory) Free() {
	l.total.Add(-int64(cap(l.buf)))
	l.buf = nil
}
