package wasmhost

import (
	"encoding/binary"
	"runtime"
)

// MemoryUsage is what a host's guests take. All but Mapped and Budget is memory
// that the machine has to have.
type MemoryUsage struct {
	Guests     int   // live instances
	Linear     int64 // bytes of their linear memories, touched or not
	Resident   int64 // of Linear: bytes in memory, rounded up to pages of the system
	Engine     int64 // bytes that the engine takes for them on the Go heap, without stacks
	WarmGuests int   // of Guests: those that keep stacks, at most Config.WarmGuests
	Stacks     int64 // bytes of these stacks, and of large ones of guests that run
	Images     int64 // bytes of initial images, one for each module
	Code       int64 // bytes of machine code, outside of the Go heap
	Decoded    int64 // bytes that the engine keeps of modules on the Go heap beside it
	Modules    int   // compiled
	Idle       int   // of Modules: those without an instance, at most Config.IdleModules
	Mapped     int64 // bytes of address space for linear memories
	Lost       int64 // of Mapped: bytes that the system did not take back; 0 unless something is wrong
	Budget     int64 // Config.GuestMemory, the limit of Linear
}

// Total is the bytes of memory that guests take.
func (u MemoryUsage) Total() int64 {
	return u.OffHeap() + u.Engine + u.Stacks + u.Images + u.Decoded
}

// OffHeap is the part of Total that Go's collector does not know of.
func (u MemoryUsage) OffHeap() int64 { return u.Resident + u.Code }

// MemoryUsage measures what the guests take. It reads 8 bytes of the system's
// tables for each page of address space: about 5 ms for 1 GiB. Errors: the
// system does not show its tables (Resident then is Linear, its upper bound).
func (h *Host) MemoryUsage() (MemoryUsage, error) {
	u := MemoryUsage{
		Guests: int(h.live.Load()), Linear: h.memory.used.Load(), Engine: h.engine.Load(), Budget: h.memory.limit,
	}
	u.WarmGuests, u.Stacks = h.warm.size()
	u.Stacks += h.deep.Load()
	var ranges []memoryRange
	ranges, u.Mapped, u.Lost = h.memory.slabs.ranges() // together, or more might be resident than mapped
	h.mu.Lock()
	u.Modules, u.Idle = len(h.modules), h.idle.Len()
	for _, m := range h.modules {
		u.Images += m.image.Load().bytes()
		u.Code += m.native.Load()
		u.Decoded += m.decodedBytes()
	}
	h.mu.Unlock()
	u.Resident = u.Linear
	p, err := openPagemap()
	if err != nil {
		return u, err
	}
	defer p.close()
	var sum int64
	for _, r := range ranges {
		n, err := p.resident(r.at, r.size)
		if err != nil {
			return u, err
		}
		sum += n
	}
	u.Resident = sum
	return u, nil
}

// InstanceUsage is what one guest takes.
type InstanceUsage struct {
	Linear   int64 // bytes of linear memory, touched or not
	Resident int64 // of Linear: bytes in memory
	Engine   int64 // bytes that the engine takes on the Go heap
	Stacks   int64 // bytes of stacks; 0 for a guest that rests
}

// Total is the bytes of memory that the guest takes.
func (u InstanceUsage) Total() int64 { return u.Resident + u.Engine + u.Stacks }

// MemoryUsage measures what the instance takes. It may be called from any
// goroutine, while a call runs too; of a closed instance it is all 0. Errors are
// those of Host.MemoryUsage.
func (in *Instance) MemoryUsage() (InstanceUsage, error) {
	u := InstanceUsage{Linear: in.linear.size.Load(), Stacks: in.warm.stacks.Load() + in.deep.Load()}
	if in.use.Load() != useClosed {
		u.Engine = in.mod.engineBytes()
	}
	u.Resident = u.Linear
	p, err := openPagemap()
	if err != nil {
		return u, err
	}
	defer p.close()
	resident, err := p.resident(in.linear.place.Load(), u.Linear)
	if err == nil {
		u.Resident = resident
	}
	return u, err
}

// Freed is what Trim gave back.
type Freed struct {
	Modules int   // compiled modules that no instance used
	Guests  int   // guests whose stacks went
	Stacks  int64 // bytes of these stacks, which the next collection frees
	Mapped  int64 // bytes of address space
}

// Trim gives back what the host keeps for speed: stacks of guests that rest,
// empty slabs and, with modules, compiled modules that no instance uses. The next
// calls and deployments pay for it. With collect the collector runs, so that what
// was freed on its heap is free.
func (h *Host) Trim(modules, collect bool) Freed {
	var f Freed
	f.Guests, f.Stacks = h.warm.size()
	h.warm.cool()
	if modules {
		h.mu.Lock()
		f.Modules = h.dropIdle(0)
		h.mu.Unlock()
	}
	f.Mapped = h.memory.slabs.trim()
	if collect {
		runtime.GC()
	}
	return f
}

// What the engine takes for an instance on 64-bit machines, measured
// (TestEngineBytes holds it to what the heap says).
const (
	instanceBytes = 2200 // instance, its surroundings and ours
	importBytes   = 48   // a function
	globalBytes   = 80   // and half as much for the host's way to a mutable one
	tableBytes    = 8    // an entry
	elementBytes  = 38   // the function that an entry points to
	segmentBytes  = 24
)

// engineBytes estimates what the engine takes for an instance of the module.
func (m *Module) engineBytes() int64 {
	s := &m.size
	return instanceBytes + int64(s.imports)*importBytes + int64(s.globals)*globalBytes +
		int64(m.report.StateGlobals)*globalBytes/2 + int64(s.tables)*tableBytes +
		int64(s.elements)*elementBytes + int64(s.segments)*segmentBytes
}

// What the engine keeps of a module on the heap: the module itself, of which it
// copies most, and descriptions of its functions.
const (
	decodedBase     = 5000
	decodedFunction = 150
	decodedShare    = 115 // percent of the module's size
)

// decodedBytes estimates what the engine keeps of a module beside its code; 0
// before it is compiled.
func (m *Module) decodedBytes() int64 {
	select {
	case <-m.ready:
	default:
		return 0
	}
	return decodedBase + decodedFunction*int64(m.report.Functions) + int64(m.size.bytes)*decodedShare/100
}

// bytes of an image, on the heap; nil has none.
func (g *image) bytes() int64 {
	if g == nil {
		return 0
	}
	return int64(len(g.data) + 4*len(g.at) + 4*len(g.wipe) + binary.Size(g.globals))
}
