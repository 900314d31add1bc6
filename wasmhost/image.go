package wasmhost

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// blockBytes is the grain at which memories are compared: small, because a
// message of a Go guest dirties a few bytes in many places.
const blockBytes = 1024

// maxImageBytes bounds the blocks of a kept image, per module. Config.ImageMemory
// bounds those of all modules.
const maxImageBytes = 64 << 20

// maxIdleImage is the largest image that a module without an agent keeps: those of
// common guests, which make them again in a few milliseconds at the most. Others take
// longer, and much memory from those who have agents.
const maxIdleImage = 1 << 20

// image is a guest's whole state, memory and globals, without the blocks that
// are zero. It is immutable.
type image struct {
	size       uint64   // bytes of memory, a multiple of pageBytes
	at         []uint32 // by block: its place in data plus 1, in blocks; 0 for a zero block
	data       []byte
	wipe       []uint32 // blocks that are not zero in a blank instance and zero here
	globals    []uint64
	clock      int64    // nanoseconds since the Unix epoch
	registered []string // capabilities
}

// block returns a block's bytes, nil when it is zero or beyond the memory.
func (g *image) block(i int) []byte {
	if g == nil || i >= len(g.at) || g.at[i] == 0 {
		return nil
	}
	from := int(g.at[i]-1) * blockBytes
	return g.data[from : from+blockBytes]
}

var zeroBlock [blockBytes]byte

// sameBlock reports whether b is what g has as block i.
func (g *image) sameBlock(i int, b []byte) bool {
	want := g.block(i)
	if want == nil {
		want = zeroBlock[:]
	}
	return bytes.Equal(b, want)
}

// imageSize is how many blocks an image of the guest has, and how many bytes it takes
// (image.bytes): known before any of it is copied. filled is what filled said before.
func (in *Instance) imageSize(filled []uint32) (blocks int, bytes int64) {
	wiped := 0
	for _, i := range filled {
		if in.zero(int(i)) {
			wiped++
		}
	}
	all := len(in.linear.buf) / blockBytes
	for i := range all {
		if !in.zero(i) {
			blocks++
		}
	}
	return blocks, int64(blocks)*blockBytes + 4*int64(all+wiped) + 8*int64(len(in.state))
}

// zero reports whether a block of the guest's memory is.
func (in *Instance) zero(i int) bool {
	return bytes.Equal(in.linear.buf[i*blockBytes:(i+1)*blockBytes], zeroBlock[:])
}

// capture copies the guest's state, of so many blocks that are not zero.
func (in *Instance) capture(blocks int) *image {
	mem := in.linear.buf
	g := &image{size: uint64(len(mem)), at: make([]uint32, len(mem)/blockBytes), globals: in.globals(), clock: in.clock, registered: in.registered}
	g.data = make([]byte, 0, blocks*blockBytes)
	for i := range g.at {
		if in.zero(i) {
			continue
		}
		g.data = append(g.data, mem[i*blockBytes:(i+1)*blockBytes]...)
		g.at[i] = uint32(len(g.data) / blockBytes)
	}
	return g
}

// filled returns the blocks that are not zero. Of a blank instance these are its
// data segments.
func (in *Instance) filled() []uint32 {
	var list []uint32
	for i := range len(in.linear.buf) / blockBytes {
		if !in.zero(i) {
			list = append(list, uint32(i))
		}
	}
	return list
}

// wipeOnly sets which blocks of a blank instance, those in filled, the image does
// not have: installing it looks at no others.
func (g *image) wipeOnly(filled []uint32) {
	for _, i := range filled {
		if g.block(int(i)) == nil {
			g.wipe = append(g.wipe, i)
		}
	}
}

// install makes the state of a blank guest that of g, and touches no page that is
// zero in both. The memory is at least as large.
func (in *Instance) install(g *image) {
	mem := in.linear.buf
	for i, at := range g.at {
		if at != 0 {
			copy(mem[i*blockBytes:], g.block(i))
		}
	}
	for _, i := range g.wipe {
		clear(mem[int(i)*blockBytes:][:blockBytes])
	}
	for i, v := range g.globals {
		in.state[i].Set(v)
	}
	in.clock, in.registered = g.clock, g.registered
}

// resize grows the memory to size bytes; false when the limit forbids it.
func (in *Instance) resize(size uint64) bool {
	have := in.MemoryBytes()
	if size < have || in.mem == nil && size > 0 {
		return false
	}
	if size == have {
		return true
	}
	_, ok := in.mem.Grow(uint32((size - have) / pageBytes))
	return ok && in.MemoryBytes() == size
}

func (in *Instance) globals() []uint64 {
	list := make([]uint64, len(in.state))
	for i, g := range in.state {
		list[i] = g.Get()
	}
	return list
}

// StateHash returns the SHA-256 of the guest's memory size, clock (8 bytes each,
// little-endian), mutable globals (8 bytes each, in the module's order) and
// memory: equal for an instance, its replay and its restored snapshot. Of one that is
// in use or closed it is all 0.
func (in *Instance) StateHash() (hash [sha256.Size]byte) {
	if !in.claim() {
		return hash
	}
	defer in.unclaim()
	h := sha256.New()
	head := binary.LittleEndian.AppendUint64(nil, in.MemoryBytes())
	head = binary.LittleEndian.AppendUint64(head, uint64(in.clock))
	for _, v := range in.globals() {
		head = binary.LittleEndian.AppendUint64(head, v)
	}
	_, _ = h.Write(head) // documented never to fail
	_, _ = h.Write(in.linear.buf)
	return [sha256.Size]byte(h.Sum(nil))
}
