package meter

// emitter writes one instrumented body from its plan. In a function with a loop
// that does not call, the fuel left lives in a local between calls ("cached"),
// because engines keep locals in registers; elsewhere the global is charged
// directly, since storing and loading it around each call would cost more.
type emitter struct {
	w      writer
	m      *module
	p      *planner
	f      funcType
	cached bool
	weight int32 // call depth that the function takes; 0 when it does not count

	fuel      uint32 // the local, when cached
	size, got uint32 // locals of bulk operations: size, result of grow
	bulk      uint32 // bulkType, when the module has bulk functions
}

// function appends the instrumented body of defined function i to the writer, and
// returns what a call of it weighs, whether it counts depth or not.
func (e *emitter) function(i int, counts bool) (weight int64) {
	body := e.m.bodies[i]
	e.f = e.m.types[e.m.funcs[e.m.importedFunc+i]]
	r := &reader{b: body}
	groups := r.u32()
	groupsAt := r.p
	next := len(e.f.params)
	wide := false
	for range groups {
		next += int(r.u32())
		wide = r.valueType() == typeV128 || wide
	}
	declared := body[groupsAt:r.p]
	start := r.p
	e.p.size.begin(e.m, e.f, next)
	e.p.size.wide = e.p.size.wide || wide
	e.p.plan(r, e.f)

	e.cached = e.p.tight
	weight, e.weight = e.p.size.weight(), 0
	if counts {
		e.weight = int32(weight) // rewriteBodies refuses what does not fit
	}
	e.locals(groups, declared, uint32(next))
	e.prologue()
	at := start
	for i := range e.p.patches {
		x := &e.p.patches[i]
		e.w.raw(body[at:x.pos])
		at = x.pos + x.cut
		e.patch(x)
	}
	e.w.raw(body[at:])
	return weight
}

func (e *emitter) locals(groups uint32, declared []byte, next uint32) {
	if e.cached {
		groups++
	}
	if e.p.bulk {
		groups++
	}
	e.w.u32(groups)
	e.w.raw(declared)
	if e.cached {
		e.w.byte(1, typeI64)
		e.fuel = next
		next++
	}
	if e.p.bulk {
		e.w.byte(2, typeI32)
		e.size, e.got = next, next+1
	}
}

// prologue counts depth and loads the fuel. The body goes into a block of the
// function's results, so that a branch to the outermost label reaches the
// epilogue; labels need no renumbering, because the block takes its place.
func (e *emitter) prologue() {
	if e.weight > 0 {
		e.w.op1(opGlobalGet, e.m.depthGlobal())
		e.w.i32(e.weight)
		e.w.byte(opI32Sub)
		e.w.op1(opGlobalSet, e.m.depthGlobal())
		e.w.op1(opGlobalGet, e.m.depthGlobal())
		e.w.i32(0)
		e.w.byte(opI32GeS, opIf, typeVoid, opElse, opUnreachable, opEnd)
	}
	if e.cached {
		e.load()
	}
	if !e.wrapped() {
		return
	}
	e.w.byte(opBlock)
	switch len(e.f.results) {
	case 0:
		e.w.byte(typeVoid)
	case 1:
		e.w.raw(e.f.results)
	default:
		e.w.b = appendSigned(e.w.b, int64(e.m.addType(funcType{results: e.f.results})))
	}
}

func (e *emitter) wrapped() bool { return e.cached || e.weight > 0 }

// epilogue undoes the prologue before the function is left.
func (e *emitter) epilogue() {
	e.store()
	if e.weight > 0 {
		e.w.op1(opGlobalGet, e.m.depthGlobal())
		e.w.i32(e.weight)
		e.w.byte(opI32Add)
		e.w.op1(opGlobalSet, e.m.depthGlobal())
	}
}

func (e *emitter) patch(x *patch) {
	switch x.kind {
	case atSegment:
		e.segment(&e.p.segs[x.n])
	case atCall, atTrap:
		e.store()
	case afterCall:
		if e.cached {
			e.load()
		}
	case atReturn:
		e.epilogue()
	case atLast:
		if e.wrapped() {
			e.w.byte(opEnd)
			e.epilogue()
		}
	case atBulk:
		e.w.op1(opLocalTee, e.size)
		e.get()
		e.w.op1(opLocalGet, e.size)
		e.w.byte(opI64ExtendU)
		e.w.i64(int64(x.n))
		e.w.byte(opI64ShrU)
		e.subtractChecked()
	case atMove:
		e.move(x.n)
	case atGrow:
		e.w.op1(opLocalTee, e.size)
	case afterGrow:
		e.grown(x)
	case loopOpen:
		e.w.byte(opLoop)
		e.w.raw(e.p.raw.b[x.from:x.to])
		e.unlessFuel()
		e.refill()
		e.w.op1(opBr, 1)
		e.w.byte(opEnd)
	case loopClose:
		e.w.byte(opEnd)
	case replaceU32:
		e.w.u32(x.n)
	case replaceRaw:
		e.w.raw(e.p.raw.b[x.from:x.to])
	case replaceBranch:
		e.w.byte(opIf, typeVoid)
		e.w.op1(opBr, x.n)
		e.w.byte(opEnd)
	}
}

// segment charges a segment. At the head of a strip-mined loop the check comes
// first and leaves for the outer loop, which refills and comes back: the call
// then lies outside the inner loop, whose variables it would spill.
func (e *emitter) segment(s *segment) {
	if s.strip {
		e.unlessFuel()
		e.w.op1(opBr, 2)
		e.w.byte(opEnd)
	}
	if s.cost == 0 {
		return
	}
	e.get()
	e.w.i64(int64(s.cost))
	if s.head && !s.strip && (!s.entry || e.p.calls || e.p.bulk || e.p.total > smallLeaf) {
		e.subtractChecked()
		return
	}
	e.w.byte(opI64Sub)
	e.set()
}

// move lets the function for long operations do most of this one. What happens to be
// cached is stored first: the guest may be stopped there, and then tells what it
// used.
func (e *emitter) move(sub uint32) {
	e.w.op1(opLocalGet, e.size)
	e.w.i32(bulkChunk)
	e.w.byte(opI32GtU, opIf)
	e.w.b = appendSigned(e.w.b, int64(e.bulk))
	e.store()
	e.w.op1(opCall, e.m.bulkFunction(sub))
	e.w.byte(opEnd)
}

// grown charges what memory.grow or table.grow added, when it did: the size of
// a refused request is any number.
func (e *emitter) grown(x *patch) {
	e.w.op1(opLocalTee, e.got)
	e.get()
	e.w.op1(opLocalGet, e.size)
	e.w.byte(opI64ExtendU)
	if x.table {
		e.w.i64(tableShift)
		e.w.byte(opI64ShrU)
	} else {
		e.w.i64(growCharge)
		e.w.byte(opI64Mul)
	}
	e.w.i64(0)
	e.w.op1(opLocalGet, e.got)
	e.w.i32(-1)
	e.w.byte(opI32Ne, opSelect)
	e.subtractChecked()
}

// subtractChecked takes fuel and charge from the stack and refills if need be.
func (e *emitter) subtractChecked() {
	e.w.byte(opI64Sub)
	e.set()
	e.check()
}

// check calls refill when fuel is negative. The parameter carries the fuel, so
// that a cached value needs no store to the global first: what the global shows
// at a trap must not depend on where slices happened to end.
func (e *emitter) check() {
	e.unlessFuel()
	e.refill()
	e.w.byte(opEnd)
}

// unlessFuel opens the else of an if that asks whether fuel is left. The path
// that has fuel comes first: the engine lays registers out for the first path to
// a place, and the other one, with its call, has to restore them.
func (e *emitter) unlessFuel() {
	e.get()
	e.w.i64(0)
	e.w.byte(opI64GeS, opIf, typeVoid, opElse)
}

func (e *emitter) refill() {
	e.get()
	e.w.op1(opCall, uint32(e.m.importedFunc))
	e.set()
}

func (e *emitter) get() {
	if e.cached {
		e.w.op1(opLocalGet, e.fuel)
	} else {
		e.w.op1(opGlobalGet, e.m.fuelGlobal())
	}
}

func (e *emitter) set() {
	if e.cached {
		e.w.op1(opLocalSet, e.fuel)
	} else {
		e.w.op1(opGlobalSet, e.m.fuelGlobal())
	}
}

// load and store move the fuel between global and local.
func (e *emitter) load() {
	e.w.op1(opGlobalGet, e.m.fuelGlobal())
	e.w.op1(opLocalSet, e.fuel)
}

func (e *emitter) store() {
	if e.cached {
		e.w.op1(opLocalGet, e.fuel)
		e.w.op1(opGlobalSet, e.m.fuelGlobal())
	}
}
