package meter

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/caxton-run/caxton/fixtures"
)

// frameProgram makes functions that are hard on the engine's stack: many locals
// of all types, deep operand stacks, blocks and calls with many parameters and
// results, and few of their values dead.
type frameProgram struct {
	r      *rand.Rand
	w      writer
	locals []byte // types
	stack  []byte // types of the operands of the innermost block
	labels [][]byte
	room   int
	types  []funcType
	funcs  []uint32 // type of each function
}

var frameTypes = []byte{typeI32, typeI64, typeF32, typeF64, typeV128}

func (g *frameProgram) pick(n int) int { return g.r.IntN(n) }

func (g *frameProgram) someTypes(n int) []byte {
	kinds := frameTypes[:1+g.pick(len(frameTypes))]
	list := make([]byte, g.pick(n+1))
	for i := range list {
		list[i] = kinds[g.pick(len(kinds))]
	}
	return list
}

// value pushes an operand of a type, most often from a local.
func (g *frameProgram) value(t byte) {
	g.stack = append(g.stack, t)
	var of []int
	for i, l := range g.locals {
		if l == t {
			of = append(of, i)
		}
	}
	if len(of) > 0 && g.pick(8) > 0 {
		g.w.op1(opLocalGet, uint32(of[g.pick(len(of))]))
		return
	}
	switch t {
	case typeI32:
		g.w.i32(int32(g.pick(1000)))
	case typeI64:
		g.w.i64(int64(g.pick(1000)))
	case typeF32:
		g.w.byte(opF32Const, 0, 0, 0, byte(g.pick(64)))
	case typeF64:
		g.w.byte(opF64Const, 0, 0, 0, 0, 0, 0, 0, byte(g.pick(64)))
	case typeV128:
		g.w.byte(opVector, 12)
		for range 16 {
			g.w.byte(byte(g.pick(256)))
		}
	}
}

// combine replaces the two topmost operands, which have one type, by one.
func (g *frameProgram) combine() bool {
	n := len(g.stack)
	if n < 2 || g.stack[n-1] != g.stack[n-2] {
		return false
	}
	switch g.stack[n-1] {
	case typeI32: // add, mul, div_u, xor, shl, rotl
		g.w.byte([]byte{0x6a, 0x6c, 0x6e, 0x73, 0x74, 0x77}[g.pick(6)])
	case typeI64:
		g.w.byte([]byte{0x7c, 0x7e, 0x80, 0x85, 0x86, 0x89}[g.pick(6)])
	case typeF32:
		g.w.byte([]byte{0x92, 0x94, 0x96}[g.pick(3)])
	case typeF64:
		g.w.byte([]byte{0xa0, 0xa2, 0xa4}[g.pick(3)])
	case typeV128: // xor, i32x4.add, i32x4.mul
		g.w.byte(opVector)
		g.w.u32([]uint32{81, 174, 181}[g.pick(3)])
	}
	g.stack = g.stack[:n-1]
	return true
}

// access loads from or stores to where an i32 points, at offsets that tempt the
// engine to keep the address.
func (g *frameProgram) access() {
	g.value(typeI32)
	g.w.byte(opI32Const, 0xff, 0x00) // 127
	g.w.byte(0x71)                   // and
	g.stack = g.stack[:len(g.stack)-1]
	t := frameTypes[g.pick(len(frameTypes))]
	offset := uint32(g.pick(60_000))
	if g.pick(2) == 0 {
		switch t {
		case typeV128:
			g.w.byte(opVector, 0, 0)
		default:
			g.w.byte(map[byte]byte{typeI32: 0x28, typeI64: 0x29, typeF32: 0x2a, typeF64: 0x2b}[t], 0)
		}
		g.w.u32(offset)
		g.stack = append(g.stack, t)
		return
	}
	g.stack = append(g.stack, typeI32)
	g.value(t)
	switch t {
	case typeV128:
		g.w.byte(opVector, 11, 0)
	default:
		g.w.byte(map[byte]byte{typeI32: 0x36, typeI64: 0x37, typeF32: 0x38, typeF64: 0x39}[t], 0)
	}
	g.w.u32(offset)
	g.stack = g.stack[:len(g.stack)-2]
}

// bulk fills or copies memory.
func (g *frameProgram) bulk() {
	for range 3 {
		g.value(typeI32)
	}
	if g.pick(2) == 0 {
		g.w.byte(opMisc, miscMemoryFill, 0)
	} else {
		g.w.byte(opMisc, miscMemoryCopy, 0, 0)
	}
	g.stack = g.stack[:len(g.stack)-3]
}

// shape makes the operands be of the given types, and no others.
func (g *frameProgram) shape(want []byte) {
	for len(g.stack) > 0 {
		g.keep()
	}
	for _, t := range want {
		g.value(t)
	}
}

// keep takes the topmost operand into a local, or drops it.
func (g *frameProgram) keep() {
	n := len(g.stack)
	t := g.stack[n-1]
	g.stack = g.stack[:n-1]
	for try := range g.locals {
		i := (try + g.pick(len(g.locals))) % len(g.locals)
		if g.locals[i] == t {
			g.w.op1(opLocalSet, uint32(i))
			return
		}
	}
	g.w.byte(opDrop)
}

func (g *frameProgram) callOne() {
	f := g.pick(len(g.funcs))
	t := g.types[g.funcs[f]]
	for _, p := range t.params {
		g.value(p)
	}
	if g.pick(3) == 0 {
		g.w.i32(int32(g.pick(8)))
		g.w.op1(opCallIndirect, g.funcs[f])
		g.w.u32(0)
	} else {
		g.w.op1(opCall, uint32(f))
	}
	g.stack = append(g.stack[:len(g.stack)-len(t.params)], t.results...)
}

func (g *frameProgram) block() {
	typ := g.pick(len(g.types))
	t := g.types[typ]
	op := []byte{opBlock, opLoop, opIf}[g.pick(3)]
	for _, p := range t.params {
		g.value(p)
	}
	outer := g.stack[: len(g.stack)-len(t.params) : len(g.stack)-len(t.params)]
	if op == opIf {
		g.value(typeI32)
	}
	g.w.byte(op)
	g.w.b = appendSigned(g.w.b, int64(typ))
	label := t.results
	if op == opLoop {
		label = t.params
	}
	g.labels = append(g.labels, label)
	g.stack = append([]byte{}, t.params...)
	g.statements(6)
	g.shape(t.results)
	if op == opIf {
		g.w.byte(opElse)
		g.stack = append([]byte{}, t.params...)
		g.statements(3)
		g.shape(t.results)
	}
	g.w.byte(opEnd)
	g.labels = g.labels[:len(g.labels)-1]
	g.stack = append(outer, t.results...)
}

func (g *frameProgram) branch() {
	if len(g.labels) == 0 {
		return
	}
	label := g.pick(len(g.labels))
	types := g.labels[len(g.labels)-1-label]
	for _, t := range types {
		g.value(t)
	}
	g.value(typeI32)
	g.w.op1(opBrIf, uint32(label))
	g.stack = g.stack[:len(g.stack)-1]
}

func (g *frameProgram) statements(n int) {
	for range n {
		if g.room--; g.room < 0 {
			return
		}
		switch k := g.pick(18); {
		case k > 15:
			g.bulk()
		case k < 3 && len(g.labels) < 8:
			g.block()
		case k == 3:
			g.branch()
		case k < 6:
			g.callOne()
		case k < 8:
			g.access()
		case k < 10:
			for _, t := range g.someTypes(12) {
				g.value(t)
			}
		case k < 13:
			for g.pick(6) > 0 && g.combine() {
			}
		default:
			for g.pick(4) > 0 && len(g.stack) > 0 {
				g.keep()
			}
		}
	}
}

func (g *frameProgram) function(t funcType) []byte {
	g.w, g.stack, g.labels = writer{}, nil, nil
	declared := g.someTypes([]int{0, 6, 20, 60}[g.pick(4)])
	g.w.u32(uint32(len(declared)))
	for _, l := range declared {
		g.w.byte(1, l)
	}
	g.locals = append(append([]byte{}, t.params...), declared...)
	g.room = []int{8, 40, 150}[g.pick(3)]
	g.statements(g.room)
	g.shape(t.results)
	g.w.byte(opEnd)
	w := writer{}
	w.sized(g.w.b)
	return w.b
}

func frameModule(seed uint64) []byte {
	g := &frameProgram{r: rand.New(rand.NewPCG(seed, 2))}
	var types [][]byte
	for range 5 {
		limit := []int{1, 3, 10, 40}[g.pick(4)]
		t := funcType{params: g.someTypes(limit), results: g.someTypes(limit)}
		g.types = append(g.types, t)
		w := writer{}
		w.byte(0x60)
		w.sized(t.params)
		w.sized(t.results)
		types = append(types, w.b)
	}
	var indices, table [][]byte
	for i := range 4 {
		g.funcs = append(g.funcs, uint32(g.pick(len(g.types))))
		indices = append(indices, leb(g.funcs[i]))
		table = append(table, leb(uint32(i)))
	}
	var bodies [][]byte
	for _, f := range g.funcs {
		bodies = append(bodies, g.function(g.types[f]))
	}
	return wasm(
		sec{secType, vec(types...)}, sec{secFunction, vec(indices...)},
		sec{secTable, vec([]byte{0x70, 0, 8})}, sec{secMemory, vec([]byte{0, 1})},
		sec{secElement, vec(join([]byte{0, opI32Const, 0, opEnd}, vec(table...)))},
		sec{secCode, vec(bodies...)})
}

// frameBounds returns what the meter says of each function's frame, in bytes.
func frameBounds(t testing.TB, src []byte) (metered []byte, bounds []int64) {
	t.Helper()
	caps := widest()
	metered, _, err := Instrument(src, Options{Caps: caps})
	if err != nil {
		t.Fatal(err)
	}
	m := decode(src, caps)
	_, weights := m.emitBodies(len(src), make([]bool, len(m.bodies)), caps)
	for _, w := range weights {
		bounds = append(bounds, w*FrameUnit)
	}
	for range m.bulkFunctions() {
		bounds = append(bounds, bulkBytes)
	}
	return metered, bounds
}

// checkFrames compares bounds with the machine code of a module, made with
// listeners and without unless modes says otherwise.
func checkFrames(t testing.TB, name string, src []byte, modes ...bool) {
	t.Helper()
	metered, bounds := frameBounds(t, src)
	if modes == nil {
		modes = []bool{false, true}
	}
	for _, profiled := range modes {
		for i, native := range nativeFrames(t, metered, profiled) {
			if int64(native) > bounds[i] {
				t.Errorf("%s: function %d takes %d bytes of stack, the bound is %d (profiled: %v)", name, i, native, bounds[i], profiled)
			}
		}
	}
}

// TestFramesAreBounded: no function of any guest, of random programs or of shapes
// made for it takes more of the stack than it weighs.
func TestFramesAreBounded(t *testing.T) {
	for name, src := range frameShapes() {
		checkFrames(t, name, src)
	}
	for seed := range uint64(40) {
		checkFrames(t, fmt.Sprint("random ", seed), frameModule(seed))
	}
	checkFrames(t, "kernels", kernels(t))
	for seed := range uint64(20) {
		checkFrames(t, fmt.Sprint("program ", seed), program(seed))
	}
	for _, g := range guests() {
		switch {
		case g.name != "go.wasm.gz":
			checkFrames(t, g.name, guestModule(t, g.name))
		case !testing.Short() && !fixtures.RaceDetector: // profiled it differs as the others do
			checkFrames(t, g.name, guestModule(t, g.name), false)
		}
	}
}

func FuzzFrames(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkFrames(t, "program", frameModule(seed)) })
}
