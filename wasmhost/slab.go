package wasmhost

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"golang.org/x/sys/unix"
)

// slabs holds the linear memories of all guests outside the Go heap: the
// collector neither scans nor is paced by them, and what a guest never touches
// costs address space, not memory. Sizes are powers of two; a chunk is one
// mapping that is cut into slots of one size.
//
// Invariant: a free slot reads as zeros and has no page in memory.
//
// All methods may be called from any goroutine.
type slabs struct {
	mu      sync.Mutex // guards the rest; no system call but mmap, mremap and munmap is made under it
	classes [slabClasses]slabClass
	mapped  int64 // bytes of address space
	taken   int64 // of them in slots that are in use
	lost    int64 // of them that the system did not take back; never used again
	closed  bool
}

const (
	// minSlotBits is the smallest slot, one WebAssembly page. Slots lie side by
	// side, so 32 of them share one page of the processor's tables.
	minSlotBits = 16
	// maxSlotBits is the largest memory that WebAssembly can address, 4 GiB.
	maxSlotBits = 32
	slabClasses = maxSlotBits - minSlotBits + 1
	// maxSharedBits is the largest slot that shares its mapping with others,
	// 4 MiB: a chunk of those is 256 MiB of addresses. Larger ones have a mapping
	// of their own, which goes with them, and which the system enlarges without a
	// copy: so it is also the most that a guest's memory.grow copies, which takes
	// about a millisecond, and no guest is stopped within that.
	maxSharedBits = 22
	// chunkSlots is what one word can mark.
	chunkSlots = 64
	// spareChunks of a size stay mapped though empty: an agent that restarts
	// needs no new mapping. Empty chunks hold addresses only.
	spareChunks = 1
)

// slabClass is the chunks of one size of slot.
type slabClass struct {
	chunks []*slabChunk
	first  int // no chunk before this index has a free slot
	empty  int // chunks without a slot in use
}

// slabChunk is one mapping.
type slabChunk struct {
	class  int
	index  int // in its class
	memory []byte
	slots  int
	used   uint64 // a bit for each slot
}

// slot is a piece of a chunk. Its zero value is no memory.
type slot struct {
	chunk *slabChunk
	index int
}

var errNoSlot = errors.New("no address space for a guest's memory")

// take returns a slot that holds size bytes (1 byte to 4 GiB) and reads as
// zeros. Errors wrap errNoSlot.
func (s *slabs) take(size uint64) (slot, error) {
	if size == 0 || size > 1<<maxSlotBits {
		return slot{}, fmt.Errorf("%w: %d bytes", errNoSlot, size)
	}
	class := classOf(size)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return slot{}, fmt.Errorf("%w: closed", errNoSlot)
	}
	list := &s.classes[class]
	for ; list.first < len(list.chunks); list.first++ {
		if c := list.chunks[list.first]; bits.OnesCount64(c.used) < c.slots {
			return s.mark(c), nil
		}
	}
	c, err := newChunk(class)
	if err != nil {
		return slot{}, err
	}
	list.add(c)
	list.empty++
	s.mapped += int64(len(c.memory))
	return s.mark(c), nil
}

// classOf is the class of the smallest slot that holds size bytes.
func classOf(size uint64) int { return max(bits.Len64(size-1), minSlotBits) - minSlotBits }

// extend makes a slot hold size bytes, more than it does, with its content and
// without copying it: pages move to other addresses in the system's tables, and
// those that do not exist still do not. Whoever reads the old addresses faults. It
// is false for a slot that shares its mapping, and when there is no address space.
func (s *slabs) extend(p slot, size uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := p.chunk
	if c == nil || c.slots != 1 || s.closed || size > 1<<maxSlotBits {
		return false
	}
	class := classOf(size)
	memory, err := unix.Mremap(c.memory, 1<<(class+minSlotBits), unix.MREMAP_MAYMOVE)
	if err != nil {
		return false
	}
	more := int64(len(memory) - len(c.memory))
	s.mapped, s.taken = s.mapped+more, s.taken+more
	s.classes[c.class].remove(c)
	c.memory, c.class = memory, class
	s.classes[class].add(c)
	return true
}

func (list *slabClass) add(c *slabChunk) {
	c.index = len(list.chunks)
	list.chunks = append(list.chunks, c)
}

func (list *slabClass) remove(c *slabChunk) {
	end := len(list.chunks) - 1
	last := list.chunks[end]
	list.chunks[c.index], last.index = last, c.index
	list.chunks[end] = nil
	list.chunks = list.chunks[:end]
	list.first = min(list.first, c.index)
}

// mark takes the first free slot of a chunk that has one. The caller holds mu.
func (s *slabs) mark(c *slabChunk) slot {
	if c.used == 0 {
		s.classes[c.class].empty--
	}
	i := bits.TrailingZeros64(^c.used)
	c.used |= 1 << i
	s.taken += c.slotBytes()
	return slot{c, i}
}

func (c *slabChunk) slotBytes() int64 { return 1 << (c.class + minSlotBits) }

// newChunk maps memory. No swap is reserved for it, because most of it is never
// touched; no huge pages, which would make 2 MiB of one touched byte.
func newChunk(class int) (*slabChunk, error) {
	c := &slabChunk{class: class, slots: chunkSlots}
	if class+minSlotBits > maxSharedBits {
		c.slots = 1
	}
	size := int(c.slotBytes()) * c.slots
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("%w: map %d bytes: %w", errNoSlot, size, err)
	}
	// A kernel without huge pages says EINVAL, and is right.
	if err := unix.Madvise(memory, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%w: %w", errNoSlot, errors.Join(err, unix.Munmap(memory)))
	}
	c.memory = memory
	return c, nil
}

// bytes is the slot's memory, of the size of its class.
func (p slot) bytes() []byte {
	if p.chunk == nil {
		return nil
	}
	n := int(p.chunk.slotBytes())
	from := p.index * n
	return p.chunk.memory[from : from+n : from+n]
}

// give returns a slot; nothing may read or write it any more. Its pages go back
// to the system at once: the next guest must find zeros there, and an agent that
// hibernates must cost nothing. A slot whose pages stay is lost: its content must
// not reach another guest.
func (s *slabs) give(p slot) {
	if p.chunk == nil {
		return
	}
	err := unix.Madvise(p.bytes(), unix.MADV_DONTNEED)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := p.chunk
	s.taken -= c.slotBytes()
	if err != nil {
		s.lost += c.slotBytes()
		return
	}
	list := &s.classes[c.class]
	c.used &^= 1 << p.index
	list.first = min(list.first, c.index)
	if c.used != 0 {
		return
	}
	list.empty++
	if list.empty > spareChunks || c.slots == 1 || s.closed {
		s.unmap(c)
	}
}

// unmap gives an empty chunk back. The caller holds mu.
func (s *slabs) unmap(c *slabChunk) {
	list := &s.classes[c.class]
	list.remove(c)
	list.empty--
	size := int64(len(c.memory))
	s.mapped -= size
	memory := c.memory
	c.memory = nil // whoever still has the slot gets a panic, not another's memory
	if unix.Munmap(memory) != nil {
		s.lost += size
	}
}

// trim unmaps every empty chunk and returns how many bytes of addresses that
// freed.
func (s *slabs) trim() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.mapped
	for i := range s.classes {
		list := &s.classes[i]
		for j := len(list.chunks) - 1; j >= 0 && list.empty > 0; j-- {
			if c := list.chunks[j]; c.used == 0 {
				s.unmap(c)
			}
		}
	}
	return before - s.mapped
}

// close unmaps the chunks that are empty, and hands out no more. Slots in use
// are never pulled from under a guest: they go when they are given back.
func (s *slabs) close() {
	s.trim()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// sizes returns the bytes of address space, those in slots in use, and those
// that are lost.
func (s *slabs) sizes() (mapped, taken, lost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mapped, s.taken, s.lost
}

// memoryRange is a piece of address space.
type memoryRange struct {
	at   uintptr
	size int64
}

// ranges returns the chunks in which slots are in use, and what sizes says at the same
// moment.
func (s *slabs) ranges() (list []memoryRange, mapped, lost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.classes {
		for _, c := range s.classes[i].chunks {
			if c.used != 0 {
				list = append(list, memoryRange{addressOf(c.memory), int64(len(c.memory))})
			}
		}
	}
	return list, s.mapped, s.lost
}
