package wasmhost

// Instructions that have operands, as the specification numbers them:
// https://webassembly.github.io/spec/core/binary/instructions.html
//
// Of arithmetic only floats have names here, first and last of each type.
const (
	opF32Ceil, opF32Max       = 0x8d, 0x97
	opF64Ceil, opF64Max       = 0x9b, 0xa5
	opF32Demote, opF64Promote = 0xb6, 0xbb

	opBlock, opLoop, opIf = 0x02, 0x03, 0x04
	opEnd                 = 0x0b
	opBr, opBrIf          = 0x0c, 0x0d
	opBrTable             = 0x0e
	opCall                = 0x10
	opCallIndirect        = 0x11
	opReturnCall          = 0x12
	opReturnCallIndirect  = 0x13
	opSelectTyped         = 0x1c
	opLocalGet            = 0x20 // first of those with one index
	opGlobalGet           = 0x23
	opTableSet            = 0x26 // last of them
	opLoad                = 0x28 // first of those with alignment and offset
	opStore               = 0x3e // last of them
	opMemorySize          = 0x3f
	opMemoryGrow          = 0x40
	opI32Const            = 0x41
	opI64Const            = 0x42
	opF32Const            = 0x43
	opF64Const            = 0x44
	opRefNull             = 0xd0
	opRefFunc             = 0xd2
	opMisc                = 0xfc
	opVector              = 0xfd

	miscMemoryInit, miscDataDrop = 8, 9
	miscMemoryCopy, miscFill     = 10, 11
	miscTableInit, miscTableCopy = 12, 14
	miscTableLast                = 17
)

// skip passes over n numbers of variable length.
func (r *moduleReader) skip(n int) {
	for ; n > 0 && !r.bad; n-- {
		for r.byte()&0x80 != 0 && !r.bad {
		}
	}
}

// uses is what a code section has of some kinds of instructions.
type uses struct {
	data   bool // those that refer to a data segment by its number
	floats bool // those whose NaN has bits that the processor chooses
}

// uses reads a code section. Of one that cannot be read it says yes to all.
func (r *moduleReader) uses() (u uses) {
	for range r.uint() {
		body := moduleReader{b: r.bytes(r.uint())}
		for n := body.uint(); n > 0 && !body.bad; n-- {
			body.uint()
			body.byte() // a type of locals
		}
		for len(body.b) > 0 && !body.bad {
			body.instruction(&u)
		}
		if r.bad = r.bad || body.bad; r.bad {
			return uses{true, true}
		}
	}
	return u
}

// computesFloat tells arithmetic from what moves floats about: abs, neg and copysign
// do to bits what they are told to.
func computesFloat(op byte) bool {
	switch {
	case op >= opF32Ceil && op <= opF32Max, op >= opF64Ceil && op <= opF64Max:
		return true
	}
	return op == opF32Demote || op == opF64Promote
}

// instruction passes over one, and notes what it is.
func (r *moduleReader) instruction(u *uses) {
	switch op := r.byte(); {
	case computesFloat(op):
		u.floats = true
	case op == opBrTable:
		r.skip(int(min(r.uint(), uint64(len(r.b)))) + 1)
	case op == opSelectTyped:
		r.bytes(r.uint())
	case op == opCallIndirect, op == opReturnCallIndirect, op >= opLoad && op <= opStore:
		r.skip(2)
	case op == opBlock, op == opLoop, op == opIf, op == opBr, op == opBrIf, op == opCall, op == opReturnCall,
		op >= opLocalGet && op <= opTableSet, op >= opMemorySize && op <= opI64Const, op == opRefNull, op == opRefFunc:
		r.skip(1)
	case op == opF32Const:
		r.bytes(4)
	case op == opF64Const:
		r.bytes(8)
	case op == opMisc:
		r.misc(u)
	case op == opVector:
		r.vector(u)
	}
}

func (r *moduleReader) misc(u *uses) {
	switch sub := r.uint(); {
	case sub == miscMemoryInit:
		u.data = true
		r.skip(2)
	case sub == miscDataDrop:
		u.data = true
		r.skip(1)
	case sub == miscMemoryCopy, sub == miscTableInit, sub == miscTableCopy:
		r.skip(2)
	case sub >= miscFill && sub <= miscTableLast:
		r.skip(1)
	}
}

func (r *moduleReader) vector(u *uses) {
	sub := r.uint()
	u.floats = u.floats || vectorFloats(sub)
	switch {
	case sub <= 11, sub == 92, sub == 93: // loads and stores
		r.skip(2)
	case sub == 12, sub == 13: // v128.const, i8x16.shuffle
		r.bytes(16)
	case sub >= 21 && sub <= 34: // lanes
		r.byte()
	case sub >= 84 && sub <= 91: // loads and stores of lanes
		r.skip(2)
		r.byte()
	}
}

// vectorFloats is computesFloat for vectors, by the number after their prefix: demote
// and promote, rounding, and from sqrt on f32x4 and f64x2. Theirs of abs and neg are
// among them, which costs nothing.
func vectorFloats(sub uint64) bool {
	switch sub {
	case 0x5e, 0x5f, 0x67, 0x68, 0x69, 0x6a, 0x74, 0x75, 0x7a, 0x94:
		return true
	}
	return sub >= 0xe0 && sub <= 0xf7
}
