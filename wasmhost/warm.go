package wasmhost

import (
	"reflect"
	"sync/atomic"

	"github.com/tetratelabs/wazero/api"
)

// entries are the functions by which messages reach a guest. Each has a stack of
// its own, of 10 KiB and more, which is most of what the engine needs for a
// guest: so only the guests that were called lately have them.
type entries struct {
	alloc, handle api.Function
	message       []byte // room for a message's JSON, at most maxWarmMessage; the owner's
}

// warmGuest is what a host can take from a guest that rests. It is apart from
// the Instance, so that the ring keeps no closed one alive.
type warmGuest struct {
	entries atomic.Pointer[entries] // nil: made anew at the next call
	stacks  atomic.Int64            // bytes of the entries' stacks and room after the last call
}

func (g *warmGuest) cool() {
	g.entries.Store(nil)
	g.stacks.Store(0)
}

// maxWarmStack is the largest stack that a guest keeps between calls. It grows
// with a guest's recursion, to 11 MiB in the worst module, and never shrinks.
const maxWarmStack = 64 << 10

// maxWarmMessage is the largest room for a message that a guest keeps between calls:
// a common message with what it says, and little beside the stacks.
const maxWarmMessage = 2 << 10

// warmRing holds the guests that have entries, as many as Config.WarmGuests:
// each new one takes the place of the oldest. A guest that is called all the
// time pays for new entries once in that many others' turns, and nothing else.
type warmRing struct {
	places []atomic.Pointer[warmGuest]
	next   atomic.Uint64
	stacks atomic.Pointer[stackField] // of the kind of function seen last
}

// entries returns the ways into a guest, for its owner.
func (in *Instance) entries() *entries {
	if e := in.warm.entries.Load(); e != nil {
		return e
	}
	e := &entries{alloc: in.guest.ExportedFunction(exportAlloc), handle: in.guest.ExportedFunction(exportHandle)}
	in.warm.entries.Store(e)
	ring := &in.host.warm
	place := &ring.places[ring.next.Add(1)%uint64(len(ring.places))]
	if old := place.Swap(in.warm); old != nil && old != in.warm {
		old.cool() // if it is being called now, the call keeps its own
	}
	return e
}

// rest is the end of a call: a stack that grew large is not kept.
func (in *Instance) rest() {
	e := in.warm.entries.Load()
	if e == nil {
		return
	}
	n := in.host.warm.stackBytes(e.alloc) + in.host.warm.stackBytes(e.handle) + cap(e.message)
	if n > maxWarmStack {
		in.warm.cool()
		return
	}
	if in.warm.stacks.Load() != int64(n) {
		in.warm.stacks.Store(int64(n))
	}
}

// cool takes the entries of all guests.
func (r *warmRing) cool() {
	for i := range r.places {
		if g := r.places[i].Swap(nil); g != nil {
			g.cool()
		}
	}
}

// size returns how many guests have entries, and the bytes of their stacks.
func (r *warmRing) size() (guests int, stacks int64) {
	for i := range r.places {
		if g := r.places[i].Load(); g != nil && g.entries.Load() != nil {
			guests++
			stacks += g.stacks.Load()
		}
	}
	return guests, stacks
}

// stackField is where a kind of the engine's functions has its stack.
type stackField struct {
	kind  reflect.Type
	index int // -1: it has none
}

func findStack(kind reflect.Type) *stackField {
	f := &stackField{kind, -1}
	if kind.Kind() != reflect.Pointer || kind.Elem().Kind() != reflect.Struct {
		return f
	}
	field, ok := kind.Elem().FieldByName("stack")
	if ok && field.Type.Kind() == reflect.Slice && len(field.Index) == 1 {
		f.index = field.Index[0]
	}
	return f
}

// stackBytes reads how large the stack behind a function is, which must not run
// meanwhile. The engine does not tell, so the field is looked up by its name;
// where there is none (the interpreter, a function of the host that a guest
// exports again) it is 0. TestStackIsFound fails when a new version of the engine
// calls it otherwise.
func (r *warmRing) stackBytes(f api.Function) int {
	v := reflect.ValueOf(f)
	found := r.stacks.Load()
	if found == nil || found.kind != v.Type() {
		found = findStack(v.Type())
		r.stacks.Store(found)
	}
	if found.index < 0 {
		return 0
	}
	stack := v.Elem().Field(found.index)
	return stack.Len() * int(stack.Type().Elem().Size())
}
