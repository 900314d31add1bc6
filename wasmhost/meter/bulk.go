package meter

// bulkChunk is the most memory that one instruction fills or copies: 0.25 ms of
// work, in which a guest is not stopped and the host's collector waits for it.
// (memory.init is bounded by its segment, and tables by tableCeiling.)
const bulkChunk = 1 << 20

// A memory.fill or memory.copy of more than bulkChunk bytes goes through a function
// that the meter adds behind the module's own. It takes the instruction's three
// operands, does the work but for the last chunk, with a look of the host before
// each, and returns operands for the rest, which the instruction itself then does.
//
// What lies out of bounds it returns as it is: so the instruction traps, where it
// always did and before any byte is written. Of a copy it begins at the end that
// overlapping allows, as the specification wants of the whole. The size was charged
// for before, so that fuel ends before the work begins.
type bulkFunction struct {
	name string // in the name section, where a guest's function may have it too
	body func(w *writer, refill uint32)
}

// bulkType is their type.
var bulkType = funcType{params: []byte{typeI32, typeI32, typeI32}, results: []byte{typeI32, typeI32, typeI32}}

// bulkFunctions returns those that a module needs, in order of their numbers.
func (m *module) bulkFunctions() (list []bulkFunction) {
	if m.fills {
		list = append(list, bulkFunction{FillName, fillBody})
	}
	if m.copies {
		list = append(list, bulkFunction{CopyName, copyBody})
	}
	return list
}

// bulkFunction returns the number of the one for an instruction.
func (m *module) bulkFunction(sub uint32) uint32 {
	n := m.renumbered(uint32(len(m.funcs)))
	if sub == miscMemoryCopy && m.fills {
		n++
	}
	return n
}

// Locals of both functions: the operands.
const (
	bulkTo   = iota
	bulkFrom // of memory.fill: the value
	bulkSize
)

func fillBody(w *writer, refill uint32) {
	bulkBegin(w, func() { w.op1(opLocalGet, bulkTo) })
	bulkLook(w, refill)
	w.op1(opLocalGet, bulkTo)
	w.op1(opLocalGet, bulkFrom)
	w.i32(bulkChunk)
	w.byte(opMisc, miscMemoryFill, 0)
	w.bulkMove(bulkTo)
	bulkFinish(w)
}

func copyBody(w *writer, refill uint32) {
	bulkBegin(w, func() { // what ends last
		w.op1(opLocalGet, bulkTo)
		w.op1(opLocalGet, bulkFrom)
		w.op1(opLocalGet, bulkTo)
		w.op1(opLocalGet, bulkFrom)
		w.byte(opI32GeU, opSelect)
	})
	bulkLook(w, refill)
	w.op1(opLocalGet, bulkTo)
	w.op1(opLocalGet, bulkFrom)
	w.byte(opI32LeU, opIf, typeVoid)
	w.op1(opLocalGet, bulkTo)
	w.op1(opLocalGet, bulkFrom)
	w.i32(bulkChunk)
	w.byte(opMisc, miscMemoryCopy, 0, 0)
	w.bulkMove(bulkTo)
	w.bulkMove(bulkFrom)
	w.byte(opElse)
	for _, end := range []uint32{bulkTo, bulkFrom} {
		w.op1(opLocalGet, end)
		w.op1(opLocalGet, bulkSize)
		w.i32(bulkChunk)
		w.byte(opI32Sub, opI32Add)
	}
	w.i32(bulkChunk)
	w.byte(opMisc, miscMemoryCopy, 0, 0, opEnd)
	bulkFinish(w)
}

// bulkBegin leaves when what begins at last, and is as long as the third operand,
// ends beyond the memory; then it opens the loop.
func bulkBegin(w *writer, last func()) {
	w.u32(0) // no more locals
	last()
	w.byte(opI64ExtendU)
	w.op1(opLocalGet, bulkSize)
	w.byte(opI64ExtendU, opI64Add, opMemorySize, 0, opI64ExtendU)
	w.i64(16) // pages have 2^16 bytes
	w.byte(opI64Shl, opI64GtU, opIf, typeVoid)
	bulkOperands(w)
	w.byte(opReturn, opEnd, opLoop, typeVoid)
}

// bulkLook lets the host stop the guest.
func bulkLook(w *writer, refill uint32) {
	w.i64(Look)
	w.op1(opCall, refill)
	w.byte(opDrop)
}

func (w *writer) bulkMove(local uint32) {
	w.op1(opLocalGet, local)
	w.i32(bulkChunk)
	w.byte(opI32Add)
	w.op1(opLocalSet, local)
}

// bulkFinish goes round the loop while more than a chunk is left, and returns the rest.
func bulkFinish(w *writer) {
	w.op1(opLocalGet, bulkSize)
	w.i32(bulkChunk)
	w.byte(opI32Sub)
	w.op1(opLocalTee, bulkSize)
	w.i32(bulkChunk)
	w.byte(opI32GtU, opBrIf, 0, opEnd)
	bulkOperands(w)
	w.byte(opEnd)
}

func bulkOperands(w *writer) {
	w.op1(opLocalGet, bulkTo)
	w.op1(opLocalGet, bulkFrom)
	w.op1(opLocalGet, bulkSize)
}

// rewriteFunctions adds the types of the bulk functions to the section.
func (m *module) rewriteFunctions(body []byte) []byte {
	added := m.bulkFunctions()
	if len(added) == 0 {
		return body
	}
	n, rest := split(body)
	w := writer{b: make([]byte, 0, len(body)+8)}
	w.u32(n + uint32(len(added)))
	w.raw(rest)
	for range added {
		w.u32(m.addType(bulkType))
	}
	return w.b
}
