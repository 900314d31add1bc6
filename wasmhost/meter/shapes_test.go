package meter

// shape writes a function that takes much more of the engine's stack than it
// seems to.
type shape struct {
	writer
	locals int
	typ    byte // of the locals
}

const opI32WrapI64 = 0xa7

func (s *shape) get(i int) { s.op1(opLocalGet, uint32(i)) }
func (s *shape) set(i int) { s.op1(opLocalSet, uint32(i)) }

// again calls the function itself.
func (s *shape) again() { s.op1(opCall, 0) }

// load pushes an i64 from where a local points, and an offset.
func (s *shape) load(base, offset int) {
	s.get(base)
	s.byte(opI32WrapI64, 0x29, 0)
	s.u32(uint32(offset))
}

// fill sets all locals, so that each is a value of its own.
func (s *shape) fill() {
	for i := range s.locals {
		s.load(i, i)
		s.set(i)
	}
}

// vector pushes the result of an instruction on the two topmost vectors.
func (s *shape) vector(sub uint32) {
	s.byte(opVector)
	s.u32(sub)
}

// keep stores the locals: the engine leaves out what nobody sees.
func (s *shape) keep() {
	for i := range s.locals {
		s.i32(0)
		s.get(i)
		if s.typ == typeV128 {
			s.byte(opVector, 11, 0, 0)
		} else {
			s.byte(0x37, 0, 0)
		}
	}
}

const (
	shapeVectors  = 128 // results of function 1
	shapeIntegers = 120 // results of function 2

	// Types of a shape's module.
	shapeOfIntegers = 3 // (i64 ...) -> ()
	shapeThrough    = 4 // (v128 ...) -> (v128 ...)
)

// module makes function f, of type () -> (), with locals and code.
func shapeModule(locals int, typ byte, code func(s *shape)) []byte {
	s := &shape{locals: locals, typ: typ}
	s.u32(1)
	s.u32(uint32(locals))
	s.byte(typ)
	code(s)
	s.keep()
	s.byte(opEnd)
	body := writer{}
	body.sized(s.b)
	vectors, integers := repeat(shapeVectors, typeV128)[2:], repeat(shapeIntegers, typeI64)[1:]
	typeOf := func(p, r []byte) []byte {
		w := writer{}
		w.byte(0x60)
		w.sized(p)
		w.sized(r)
		return w.b
	}
	zero := join([]byte{opVector, 12}, make([]byte, 16))
	return wasm(
		sec{secType, vec(typeOf(nil, nil), typeOf(nil, vectors), typeOf(nil, integers), typeOf(integers, nil), typeOf(vectors, vectors))},
		sec{secFunction, vec(leb(0), leb(1), leb(2))}, sec{secTable, vec([]byte{0x70, 0, 8})}, sec{secMemory, vec([]byte{0, 1})},
		sec{secExport, vec(exported("f", kindFunction, 0))},
		sec{secCode, vec(body.b, fn(times(shapeVectors, zero...)...), fn(times(shapeIntegers, opI64Const, 3)...))})
}

// frameShapes are recursive functions with large frames, for each reason that the
// engine has to make one large.
func frameShapes() map[string][]byte {
	return map[string][]byte{
		"rotating locals":   shapeModule(900, typeI64, rotatingLocals),
		"vector results":    shapeModule(2, typeV128, func(s *shape) { manyResults(s, 1, 60*shapeVectors, opVector, 81) }),
		"results":           shapeModule(2, typeI64, func(s *shape) { manyResults(s, 2, 100*shapeIntegers, 0x85) }),
		"deep operands":     shapeModule(40, typeI64, deepStack),
		"few operands":      shapeModule(7, typeI64, fewOperands),
		"divisions":         shapeModule(7, typeI64, divisions),
		"meeting paths":     shapeModule(400, typeI64, func(s *shape) { meetingPaths(s, 100) }),
		"loops":             shapeModule(300, typeI64, loopsInLoops),
		"block parameters":  shapeModule(2, typeV128, func(s *shape) { through(s, opBlock, 200) }),
		"loop parameters":   shapeModule(2, typeV128, func(s *shape) { through(s, opLoop, 60) }),
		"many arguments":    shapeModule(2, typeI64, manyArguments),
		"long copies":       shapeModule(40, typeI64, longCopies),
		"addresses":         shapeModule(6, typeI64, addresses),
		"vector arithmetic": shapeModule(12, typeV128, vectorArithmetic),
	}
}

func rotatingLocals(s *shape) {
	s.fill()
	for k := range 4000 {
		s.get(k * 7 % s.locals)
		s.get(k * 13 % s.locals)
		s.byte(0x7c)
		s.set(k * 11 % s.locals)
	}
	s.again()
}

// manyResults leaves the results of calls on the stack across one more.
func manyResults(s *shape, callee uint32, n int, combine ...byte) {
	per := shapeVectors
	if callee == 2 {
		per = shapeIntegers
	}
	for range n / per {
		s.op1(opCall, callee)
	}
	s.again()
	for range n - 1 {
		s.byte(combine...)
	}
	s.set(0)
}

func deepStack(s *shape) {
	const n = 4000
	for k := range n {
		s.load(k%s.locals, k)
	}
	for k := range n - 1 {
		s.byte([]byte{0x7c, 0x85, 0x7e}[k%3])
	}
	s.set(0)
	s.again()
}

// fewOperands and locals fill the registers together.
func fewOperands(s *shape) {
	s.fill()
	for k := range 1000 {
		for j := range 6 {
			s.load((k+j)%7, k)
		}
		s.byte(times(5, 0x85)...)
		s.get(k % 7)
		s.byte(0x7c)
		s.set(k % 7)
	}
	s.again()
}

// divisions and shifts want certain registers.
func divisions(s *shape) {
	s.again() // before it divides by zero
	s.fill()
	for k := range 3000 {
		s.get(k % 7)
		s.get((k + 3) % 7)
		s.get((k + 5) % 7)
		s.byte(0x86, 0x80)
		s.set((k + 1) % 7)
	}
}

// meetingPaths leaves blocks with each number of locals set, and calls between
// their ends, so that all locals have a value of their own at each.
func meetingPaths(s *shape, blocks int) {
	s.byte(times(blocks, opBlock, typeVoid)...)
	for i := range s.locals {
		s.get(0)
		s.byte(opI32WrapI64)
		s.op1(opBrIf, uint32(i%blocks))
		s.load(i, i)
		s.set(i)
	}
	for range blocks {
		s.again()
		s.byte(opEnd)
	}
	s.eachAcrossCall()
}

// eachAcrossCall uses the locals one by one, with a call between.
func (s *shape) eachAcrossCall() {
	for i := range s.locals {
		s.get(i)
		s.set(0)
		s.again()
	}
}

// loopsInLoops carry all locals, each through all loops.
func loopsInLoops(s *shape) {
	const nest = 60
	s.byte(times(nest, opLoop, typeVoid)...)
	s.fill()
	for i := range nest {
		s.again()
		s.get(i)
		s.byte(opI32WrapI64)
		s.op1(opBrIf, 0)
		s.byte(opEnd)
	}
	s.eachAcrossCall()
}

// through takes vectors through blocks with a call in each.
func through(s *shape, op byte, n int) {
	s.again() // before it goes another way
	s.op1(opCall, 1)
	for range n {
		s.byte(op, shapeThrough)
		if op == opBlock {
			s.i32(1)
			s.op1(opBrIf, 0)
		}
		s.again()
		if op == opLoop {
			s.i32(0)
			s.op1(opBrIf, 0)
		}
		s.byte(opEnd)
	}
	for range shapeVectors - 1 {
		s.vector(81)
	}
	s.set(0)
}

func manyArguments(s *shape) {
	s.again() // before it finds the table empty
	for range 50 {
		for range shapeIntegers {
			s.load(0, 0)
		}
		s.i32(1)
		s.op1(opCallIndirect, shapeOfIntegers)
		s.u32(0)
	}
}

// addresses are what the engine remembers of accesses.
func addresses(s *shape) {
	for k := range 1000 {
		s.load(k%6, k%50)
		s.load((k+1)%6, k%50)
		s.byte(0x85)
		s.set((k + 2) % 6)
	}
	s.again()
}

// longCopies copy memory with all locals alive, and go down.
func longCopies(s *shape) {
	s.fill()
	for i := range s.locals {
		for range 3 {
			s.get(i)
			s.byte(opI32WrapI64)
		}
		s.byte(opMisc, miscMemoryCopy, 0, 0)
	}
	s.again()
	s.keep()
}

func vectorArithmetic(s *shape) {
	for k := range 2000 {
		s.get(k % 12)
		s.get((k + 5) % 12)
		s.vector([]uint32{181, 213, 174, 149, 186}[k%5])
		s.set((k + 7) % 12)
	}
	s.again()
}
