package wasmhost

// Instructions that have operands, as the specification numbers them:
// https://webassembly.github.io/spec/core/binary/instructions.html
const (
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

// refersToData reports whether a code section has an instruction that refers to
// a data segment by its number.
func (r *moduleReader) refersToData() bool {
	for range r.uint() {
		body := moduleReader{b: r.bytes(r.uint())}
		for n := body.uint(); n > 0 && !body.bad; n-- {
			body.uint()
			body.byte() // a type of locals
		}
		for len(body.b) > 0 && !body.bad {
			if body.instruction() {
				return true
			}
		}
		if r.bad = r.bad || body.bad; r.bad {
			return true
		}
	}
	return false
}

// instruction passes over one, and reports whether it refers to a data segment.
func (r *moduleReader) instruction() bool {
	switch op := r.byte(); {
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
		return r.misc()
	case op == opVector:
		r.vector()
	}
	return false
}

func (r *moduleReader) misc() bool {
	switch sub := r.uint(); {
	case sub == miscMemoryInit, sub == miscDataDrop:
		return true
	case sub == miscMemoryCopy, sub == miscTableInit, sub == miscTableCopy:
		r.skip(2)
	case sub >= miscFill && sub <= miscTableLast:
		r.skip(1)
	}
	return false
}

func (r *moduleReader) vector() {
	switch sub := r.uint(); {
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
