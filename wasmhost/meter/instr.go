package meter

import "fmt"

// instr is one decoded instruction of a body.
type instr struct {
	op    byte
	sub   uint32 // of opMisc and opVector
	imm   uint32 // first index or label; the number of labels of br_table without the default
	pos   int    // of the opcode in the body
	immAt int    // of the first immediate
	block int64  // block type: ≥ 0 is a type index, < 0 an inline type
}

// next decodes the instruction at r into in: a result of this size would be
// copied, in wide words right after narrow writes, which stalls the processor for
// longer than the decoding takes. Unknown opcodes are malformed; those of
// features that are not admitted are refused by the feature's name.
func (r *reader) next(in *instr) {
	in.pos = r.p
	in.op = r.byte()
	in.immAt = r.p
	in.sub, in.imm, in.block = 0, 0, 0
	switch op := in.op; { // the most frequent first
	case op >= 0x45 && op <= 0xc4:
	case op >= opLocalGet && op <= opTableSet:
		if r.short() {
			in.imm = uint32(r.b[in.immAt])
		} else {
			in.imm = r.longU32()
		}
	case op >= 0x28 && op <= 0x3e:
		r.memoryArgument()
	case op == opI32Const || op == opRefNull:
		if !r.short() {
			r.skipLEB(5)
		}
	case op == opI64Const:
		if !r.short() {
			r.skipLEB(10)
		}
	case op == opBlock || op == opLoop || op == opIf:
		in.block = r.blockType()
	case op <= 0x01 || op == opElse || op == opEnd || op == opReturn || op == opDrop ||
		op == opSelect || op == opRefIsNull:
	case op == opBr || op == opBrIf || op == opCall || op == opRefFunc:
		in.imm = r.u32()
	case op == opBrTable:
		in.imm = r.u32()
		if int64(in.imm) >= int64(len(r.b)-r.p) {
			malformed("br_table of %d labels in %d bytes", in.imm, len(r.b)-r.p)
		}
		for range int(in.imm) + 1 {
			r.u32()
		}
	case op == opCallIndirect:
		in.imm = r.u32()
		r.u32()
	case op == opSelectTyped:
		if n := r.u32(); n != 1 {
			malformed("select of %d types", n)
		}
		r.valueType()
	case op == opMemorySize || op == opMemoryGrow:
		in.imm = r.u32()
	case op == opF32Const:
		r.take(4)
	case op == opF64Const:
		r.take(8)
	case op == opMisc:
		in.sub = r.misc()
	case op == opVector:
		in.sub = r.vector()
	default:
		r.unknownOpcode(op)
	}
}

func (r *reader) unknownOpcode(op byte) {
	switch {
	case op == 0x12 || op == 0x13:
		unsupported("tail call")
	case op >= 0x06 && op <= 0x0a || op == 0x18 || op == 0x19 || op == 0x1f:
		unsupported("exception handling")
	case op == 0x14 || op == 0x15 || op >= 0xd3 && op <= 0xd6:
		unsupported("typed function references")
	case op == 0xfb:
		unsupported("garbage collection")
	case op == 0xfe:
		unsupported("threads")
	}
	malformed("unknown opcode %#x", op)
}

// blockType returns the type index, or a negative number for an inline type.
func (r *reader) blockType() int64 {
	if r.more() {
		if c := r.b[r.p]; c == typeVoid || c > 0x40 && c < 0x80 {
			r.p++
			if c != typeVoid {
				r.p--
				r.valueType()
			}
			return -1
		}
	}
	v := r.s33()
	if v < 0 {
		malformed("block type %d", v)
	}
	return v
}

func (r *reader) memoryArgument() {
	if align := r.u32(); align >= 0x40 {
		unsupported("multiple memories")
	}
	if !r.short() {
		r.skipLEB(5)
	}
}

func (r *reader) misc() uint32 {
	sub := r.u32()
	switch {
	case sub <= 7: // saturating truncation
	case sub == miscMemoryInit || sub == miscMemoryCopy || sub == miscTableInit || sub == miscTableCopy:
		r.u32()
		r.u32()
	case sub <= miscTableFill:
		r.u32()
	default:
		malformed("unknown opcode 0xfc %d", sub)
	}
	return sub
}

func (r *reader) vector() uint32 {
	sub := r.u32()
	switch {
	case sub <= 11 || sub == 92 || sub == 93: // loads, stores
		r.memoryArgument()
	case sub == 12 || sub == 13: // v128.const, i8x16.shuffle
		r.take(16)
	case sub >= 21 && sub <= 34: // lane access
		r.byte()
	case sub >= 84 && sub <= 91: // lane loads, stores
		r.memoryArgument()
		r.byte()
	case sub >= 0x100 && sub <= 0x113:
		unsupported("relaxed vector")
	case sub > 0xff:
		malformed("unknown opcode %s", fmt.Sprintf("0xfd %d", sub))
	}
	return sub
}
