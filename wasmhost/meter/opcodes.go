package meter

// Opcodes that the decoder or the instrumenter treats by name
// (WebAssembly Core Specification 2.0, section 5.4).
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32Ne        = 0x47
	opI32LtS       = 0x48
	opI32GtU       = 0x4b
	opI32LeU       = 0x4d
	opI32GeS       = 0x4e
	opI32GeU       = 0x4f
	opI64GtU       = 0x56
	opI64GeS       = 0x59
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Mul       = 0x7e
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd

	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17

	typeVoid    = 0x40
	typeI32     = 0x7f
	typeI64     = 0x7e
	typeF32     = 0x7d
	typeF64     = 0x7c
	typeV128    = 0x7b
	typeFuncref = 0x70
)

// Shifts from a bulk operation's size to its charge: 16 bytes of memory that no
// cache holds, or 8 table entries, cost about as much as one instruction.
const (
	memoryShift = 4
	tableShift  = 3
	// growCharge is the charge of one page that memory.grow adds: as a fill.
	growCharge = 65536 >> memoryShift
)

// cost is the charge of one instruction, in the order of what it takes an
// optimising compiler's output: divisions, square roots and calls a few times
// an addition, structure nothing. It is part of Version.
func cost(op byte) uint32 {
	switch op {
	case 0x01, opBlock, opLoop, opElse, opEnd, opDrop:
		return 0
	case opCall:
		return 4
	case opCallIndirect:
		return 6
	case 0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82, // integer division, remainder
		0x91, 0x95, 0x9f, 0xa3: // square root, float division
		return 4
	case opMemorySize, opMemoryGrow:
		return 16
	}
	return 1
}
