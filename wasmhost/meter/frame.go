package meter

// What a call takes of the engine's stack, bounded.
//
// The engine (wazero 1.12, whose register allocator was read for this) keeps
// values in registers. One that it cannot keep there for all its life gets a
// place of its own in the frame, which no other value uses after it. That
// happens to values that are alive across a call, and to any value where more
// are alive than there are registers. A frame is these places, the registers that
// the function saves, and room for the parameters and results of its largest
// call.
//
// frameSize counts the places. Forward, along with the planner, it follows the
// operand stack and notes what happens to locals; backward, in liveness, it finds
// which locals are alive where. Each value counts once, at what defines it: an
// instruction, or a place where paths of control meet with different values.
//
// The result depends on the module alone, so that a guest's stack ends at the
// same call on every machine. TestFramesAreBounded holds it against the machine
// code; a third of it is what common functions take.
type frameSize struct {
	m *module

	slots int  // places counted so far
	wide  bool // the function may hold vectors, so that a place has 16 bytes
	area  int  // bytes of parameters and results of the largest call
	high  int  // most values alive at a time

	constant bool // the instruction before was a constant

	height  int // operands on the stack
	counted int // of them, from the bottom: those with a place
	before  step
	steps   []step

	liveness
}

// step is something that matters to locals, and what the operand stack did
// since the step before it.
type step struct {
	kind stepKind
	n    uint32 // local or block
	high int32  // most operands at a time
}

type stepKind uint8

const (
	stepGet    stepKind = iota
	stepSet             // of a local
	stepCall            // or whatever else uses all registers
	stepOpen            // block
	stepLoop            // open
	stepMined           // open a strip-mined loop, which is two
	stepIf              // open
	stepElse            //
	stepEnd             // of a block that nothing branches to
	stepMeet            // end of a block where paths meet
	stepBack            // end of a loop
	stepBranch          // for good
	stepMaybe           // branch, or not
	stepStop            // return, trap
)

const (
	slotBytes   = 8
	vectorBytes = 16

	// FrameUnit is the bytes of a frame that weigh 1 of a call depth limit: what
	// nine of ten functions of a C or Rust guest stay below.
	FrameUnit = 512

	// frameBase is what every frame has: return address, frame pointer, what the
	// check of the stack itself may push, and what a listener of profiles takes.
	frameBase = 192
	// savedRegisters are the registers that a function saves for its caller when
	// it uses them, 16 bytes each: at most 13 on amd64, 24 on arm64. One with few
	// values alive at a time uses few, spareRegisters more than that.
	savedRegisters = 24
	spareRegisters = 4
	// enoughRegisters is the number of values that the engine surely keeps in
	// registers at a time: it has 14 and uses some of them for the memory's base
	// and length, its contexts, addresses and the meter's fuel.
	enoughRegisters = 8
	// deepOperands is the number of operands from which on all have a place.
	deepOperands = 6
	// renewed are the values that the engine and the meter define anew at calls
	// and where paths meet: the memory's base and length, and the fuel.
	renewed = 3
	// Loops meet more often than they seem to: the engine copies what their heads
	// take on the way there, and a strip-mined loop is two.
	loopMeets, minedMeets = 2, 3
	// slack is the part of the places that is added for what the engine invents
	// in between: a quarter.
	slack = 4
)

func typeBytes(t byte) int {
	if t == typeV128 {
		return vectorBytes
	}
	return slotBytes
}

func typesBytes(types []byte) (n int) {
	for _, t := range types {
		n += typeBytes(t)
	}
	return n
}

// begin starts a function of n locals, parameters included.
func (s *frameSize) begin(m *module, t funcType, n int) {
	s.m = m
	s.slots, s.area, s.high, s.height, s.counted = 0, 0, 0, 0, 0
	s.wide, s.before = false, step{}
	s.steps = s.steps[:0]
	s.liveness.begin(n)
	s.called(t)
}

func (s *frameSize) step(kind stepKind, n uint32) {
	if s.height > deepOperands {
		s.slots += s.height - s.counted
		s.counted = s.height
	}
	s.before.kind, s.before.n = kind, n
	s.steps = append(s.steps, s.before)
	s.before = step{high: int32(s.height)}
}

func (s *frameSize) pop(n int) {
	s.height -= n
	s.counted = min(s.counted, s.height)
}

func (s *frameSize) push(n int) {
	s.height += n
	s.before.high = max(s.before.high, int32(s.height))
}

// spill counts all operands on the stack: they are alive across a call.
func (s *frameSize) spill() {
	s.slots += s.height - s.counted
	s.counted = s.height
	s.step(stepCall, 0)
}

// called notes the type of a function that is called, or is the one counted.
func (s *frameSize) called(t funcType) {
	s.area = max(s.area, s.types(t))
}

// types notes whether there are vectors among the types, and returns their bytes.
func (s *frameSize) types(t funcType) int {
	n := typesBytes(t.params) + typesBytes(t.results)
	s.wide = s.wide || n > slotBytes*(len(t.params)+len(t.results))
	return n
}

// openBlock and closeBlock follow a block's operands; kind says what the block
// is, or how it ends.
func (s *frameSize) openBlock(kind stepKind, t funcType) (id uint32, below int) {
	s.types(t)
	if kind == stepIf {
		s.pop(1)
	}
	id = s.enter()
	s.step(kind, id)
	return id, s.height - len(t.params)
}

func (s *frameSize) elseBlock(id uint32, below, params int) {
	s.step(stepElse, id)
	s.restore(below)
	s.push(params)
}

func (s *frameSize) closeBlock(kind stepKind, below, results int) {
	s.step(kind, s.leave())
	s.restore(below)
	s.push(results)
}

func (s *frameSize) restore(height int) {
	s.height = max(0, height)
	s.counted = min(s.counted, s.height)
}

func (s *frameSize) call(t funcType) {
	s.called(t)
	s.pop(len(t.params))
	s.spill()
	s.push(len(t.results))
}

// local notes the use of a local, and its effect on the operands.
func (s *frameSize) local(in *instr) {
	switch in.op {
	case opLocalGet:
		s.step(stepGet, in.imm)
		s.push(1)
	case opLocalSet:
		s.pop(1)
		s.set(in.imm)
		s.step(stepSet, in.imm)
	case opLocalTee:
		s.set(in.imm)
		s.step(stepSet, in.imm)
	}
}

// instr follows an instruction that is neither control nor a call.
func (s *frameSize) instr(in *instr) {
	switch op := in.op; {
	case op >= opLocalGet && op <= opLocalTee:
		s.local(in)
	case op >= 0x45 && op <= 0xc4:
		if takesTwo(op) {
			s.pop(1)
			s.slots += s.evicted(op)
		}
		s.pop(1)
		s.push(1)
	case op >= 0x28 && op <= 0x35: // loads
		s.pop(1)
		s.push(1)
	case op >= 0x36 && op <= 0x3e: // stores
		s.pop(2)
	case op >= opI32Const && op <= opF64Const, op == opGlobalGet, op == opMemorySize, op == opRefNull, op == opRefFunc:
		if op == opGlobalGet && s.m.vectorGlobals {
			s.wide = true
		}
		s.push(1)
	case op == opDrop || op == opGlobalSet:
		s.pop(1)
	case op == opSelect || op == opSelectTyped:
		s.pop(3)
		s.push(1)
	case op == opTableGet || op == opMemoryGrow || op == opRefIsNull:
		s.pop(1)
		s.spill()
		s.push(1)
	case op == opTableSet:
		s.pop(2)
		s.spill()
	case op == opMisc:
		s.misc(in.sub)
	case op == opVector:
		s.wide = true
		s.vector(in.sub)
	}
	s.constant = in.op == opI32Const || in.op == opI64Const
	if s.height < 0 {
		s.height = 0 // of an invalid module, which nobody runs
	}
}

// evicted is how many values an instruction drives out of the registers that it
// insists on (on amd64): a division out of two, a shift by no constant out of one.
func (s *frameSize) evicted(op byte) int {
	switch {
	case op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82: // div, rem
		return 2
	case op >= 0x74 && op <= 0x78, op >= 0x86 && op <= 0x8a: // shl, shr, rotl, rotr
		if !s.constant {
			return 1
		}
	}
	return 0
}

func (s *frameSize) misc(sub uint32) {
	switch {
	case sub < miscMemoryInit: // saturating truncation
		s.pop(1)
		s.push(1)
	case sub == miscDataDrop || sub == miscElemDrop:
		s.spill()
	case sub == miscTableGrow:
		s.pop(2)
		s.spill()
		s.push(1)
	case sub == miscTableSize:
		s.push(1)
	default:
		s.pop(3)
		s.spill()
		if sub == miscMemoryFill || sub == miscMemoryCopy { // a call, where it is long, and then a meeting of operands
			s.called(bulkType)
			s.slots += len(bulkType.params) + renewed
		}
	}
}

// takesTwo reports whether a numeric instruction has two operands.
func takesTwo(op byte) bool {
	switch {
	case op == 0x45 || op == 0x50: // eqz
		return false
	case op <= 0x66: // comparisons
		return true
	case op >= 0x67 && op <= 0x69, op >= 0x79 && op <= 0x7b: // bit counts
		return false
	case op >= 0x8b && op <= 0x91, op >= 0x99 && op <= 0x9f: // float signs, roundings, roots
		return false
	}
	return op < 0xa7 // conversions, sign extensions
}

// vector follows an instruction on vectors. Those with one operand are told
// apart from those with two; of three there is only bitselect.
func (s *frameSize) vector(sub uint32) {
	switch {
	case sub == 11 || sub >= 88 && sub <= 91: // stores
		s.pop(2)
		return
	case sub == 12: // const
	case sub == 82: // bitselect
		s.pop(3)
	case unaryVector(sub):
		s.pop(1)
	default:
		s.pop(2)
	}
	s.push(1)
}

func unaryVector(sub uint32) bool {
	switch {
	case sub <= 10, sub == 92, sub == 93: // loads
		return true
	case sub >= 15 && sub <= 20, sub == 21, sub == 22, sub == 24, sub == 25, sub == 27, sub == 29, sub == 31, sub == 33: // splat, extract
		return true
	case sub == 77, sub == 83, sub == 94, sub == 95: // not, any_true, demote, promote
		return true
	case sub >= 96 && sub <= 100, sub >= 103 && sub <= 106, sub == 116, sub == 117, sub == 122, sub >= 124 && sub <= 129:
		return true
	case sub == 131, sub == 132, sub >= 135 && sub <= 138, sub == 148, sub == 160, sub == 161, sub == 163, sub == 164:
		return true
	case sub >= 167 && sub <= 170, sub == 192, sub == 193, sub == 195, sub == 196, sub >= 199 && sub <= 202:
		return true
	case sub == 224, sub == 225, sub == 227, sub == 236, sub == 237, sub == 239, sub >= 248:
		return true
	}
	return false
}

// bytes bounds the frame, when the function has ended.
func (s *frameSize) bytes() int64 {
	slot := slotBytes
	if s.wide {
		slot = vectorBytes
	}
	places := int64(slot) * int64(s.slots)
	saved := int64(16 * min(savedRegisters, s.high+spareRegisters))
	return frameBase + saved + int64(s.area) + places + places/slack
}

// weight is what a call takes of the depth limit, when the function has ended.
func (s *frameSize) weight() int64 { return (s.bytes() + FrameUnit - 1) / FrameUnit }
