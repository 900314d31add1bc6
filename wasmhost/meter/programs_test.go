package meter

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// Random programs of all control structures: what they compute, and where they
// trap, must not depend on metering.

// Globals and locals of a program. Every function takes steps at its entry and
// at its loop heads and returns when none are left, so every program ends.
const (
	programFuncs  = 4
	programLocals = 4 // two of them parameters
	stepsGlobal   = 0
	programSteps  = 400
	typeStep      = 0 // (i32 i32) -> i32: all functions
	typeThrough   = 1 // (i32) -> i32: loops and blocks that take a value
	maxNest       = 6
)

type generator struct {
	r      *rand.Rand
	w      writer
	labels []bool // open blocks, outermost first: whether a branch to it takes a value
	room   int    // statements left
}

func (g *generator) pick(n int) int { return g.r.IntN(n) }

func (g *generator) local() uint32 { return uint32(g.pick(programLocals)) }

func (g *generator) open(op byte, typ byte, value bool) {
	g.w.byte(op, typ)
	g.labels = append(g.labels, value)
}

func (g *generator) close() {
	g.w.byte(opEnd)
	g.labels = g.labels[:len(g.labels)-1]
}

// step ends the function when the program has run for long enough.
func (g *generator) step() {
	g.w.op1(opGlobalGet, stepsGlobal)
	g.w.i32(1)
	g.w.byte(opI32Sub)
	g.w.op1(opGlobalSet, stepsGlobal)
	g.w.op1(opGlobalGet, stepsGlobal)
	g.w.i32(0)
	g.w.byte(opI32LtS, opIf, typeVoid)
	g.w.i32(7)
	g.w.byte(opReturn, opEnd)
}

// expression leaves an i32.
func (g *generator) expression(depth int) {
	switch k := g.pick(9); {
	case depth <= 0 || k < 2:
		g.w.op1(opLocalGet, g.local())
	case k == 2:
		g.w.i32(int32(g.pick(2000) - 1000))
	case k == 3: // a load, of the low 64 KiB or beyond the end
		g.expression(depth - 1)
		g.w.i32(0x1fff)
		g.w.byte(0x71, 0x28, 2, 0)
	case k == 4 && len(g.labels) < maxNest:
		g.open(opBlock, typeI32, true)
		g.statements(2)
		g.expression(depth - 1)
		g.close()
	case k == 5 && len(g.labels) < maxNest:
		g.expression(depth - 1)
		op := [...]byte{opBlock, opLoop}[g.pick(2)]
		g.open(op, typeThrough, true)
		if op == opLoop {
			g.step()
		}
		g.w.op1(opLocalSet, g.local())
		g.statements(2)
		g.expression(depth - 1)
		g.close()
	case k == 6:
		g.expression(depth - 1)
		g.expression(depth - 1)
		g.w.op1(opCall, uint32(g.pick(programFuncs)))
	default: // add, sub, mul, div_s (may trap), and, xor, shl, lt_s
		g.expression(depth - 1)
		g.expression(depth - 1)
		g.w.byte([...]byte{0x6a, 0x6b, 0x6c, 0x6d, 0x71, 0x73, 0x74, 0x48}[g.pick(8)])
	}
}

func (g *generator) statements(n int) {
	for range n {
		if g.room--; g.room < 0 {
			return
		}
		g.statement()
	}
}

func (g *generator) statement() {
	nested := len(g.labels) < maxNest
	switch k := g.pick(14); {
	case k == 0 && nested:
		g.open(opBlock, typeVoid, false)
		g.statements(3)
		g.close()
	case k == 1 && nested:
		g.open(opLoop, typeVoid, false)
		g.step()
		g.statements(3)
		g.close()
	case k == 2 && nested:
		g.expression(1)
		g.open(opIf, typeVoid, false)
		g.statements(2)
		if g.pick(2) == 0 {
			g.w.byte(opElse)
			g.statements(2)
		}
		g.close()
	case k < 6 && len(g.labels) > 0:
		g.branch()
	case k == 6 && len(g.labels) > 0:
		g.branchTable()
	case k == 7 && g.pick(4) == 0:
		g.expression(1)
		g.w.byte(opReturn)
	case k == 8:
		g.w.i32(int32(g.pick(4096)))
		g.expression(2)
		g.w.byte(0x36, 2, 0) // i32.store
	case k == 9:
		g.w.i32(int32(g.pick(4096)))
		g.expression(0)
		g.w.i32(int32(g.pick(3000)))
		g.w.byte(opMisc, miscMemoryFill, 0)
	case k == 10 && g.pick(10) == 0:
		g.w.i32(int32(g.pick(3)))
		g.w.byte(opMemoryGrow, 0)
		g.w.op1(opLocalSet, g.local())
	case k == 11 && g.pick(20) == 0:
		g.w.byte(opUnreachable)
	default:
		g.expression(3)
		g.w.op1(opLocalSet, g.local())
	}
}

func (g *generator) branch() {
	label := g.pick(len(g.labels))
	value := g.labels[len(g.labels)-1-label]
	if value {
		g.expression(1)
	}
	if g.pick(3) == 0 {
		g.w.op1(opBr, uint32(label))
		return
	}
	g.expression(1)
	g.w.op1(opBrIf, uint32(label))
	if value {
		g.w.byte(opDrop)
	}
}

// branchTable branches to any labels that take no value.
func (g *generator) branchTable() {
	var labels []byte
	for i := range g.labels {
		if !g.labels[len(g.labels)-1-i] {
			labels = append(labels, byte(i))
		}
	}
	if len(labels) == 0 {
		return
	}
	n := g.pick(4)
	g.expression(1)
	g.w.op1(opBrTable, uint32(n))
	for range n + 1 {
		g.w.byte(labels[g.pick(len(labels))])
	}
}

func (g *generator) function() []byte {
	g.w = writer{}
	g.w.byte(1, programLocals-2, typeI32)
	g.room, g.labels = 25, nil
	g.step()
	g.statements(8)
	g.expression(2)
	g.w.byte(opEnd)
	w := writer{}
	w.sized(g.w.b)
	return w.b
}

func program(seed uint64) []byte {
	g := &generator{r: rand.New(rand.NewPCG(seed, 1))}
	var bodies [][]byte
	for range programFuncs {
		bodies = append(bodies, g.function())
	}
	steps := writer{}
	steps.byte(typeI32, 1)
	steps.i32(programSteps)
	steps.byte(opEnd)
	return wasm(
		sec{secType, vec([]byte{0x60, 2, typeI32, typeI32, 1, typeI32}, []byte{0x60, 1, typeI32, 1, typeI32})},
		sec{secFunction, repeat(programFuncs, typeStep)}, sec{secMemory, vec([]byte{1, 1, 3})},
		sec{secGlobal, vec(steps.b)},
		sec{secExport, vec(exported("f", kindFunction, 0), exported("memory", kindMemory, 0))},
		sec{secCode, vec(bodies...)})
}

// compare runs one program metered and not; reports whether it trapped.
func compare(t *testing.T, seed uint64) (trapped bool) {
	t.Helper()
	src := program(seed)
	plain := newMachine(t, engines()[1], src, false, 0)
	want, _, wantErr := plain.run("f", 0, 3, 5)
	fuel := int64(-1)
	for i, slice := range []int64{1, 50, 1 << 40} {
		m := newMachine(t, engines()[i%2], src, true, slice)
		got, used, err := m.run("f", plenty, 3, 5)
		if got != want || reason(err) != reason(wantErr) {
			t.Errorf("seed %d, slice %d: %d (%s), unmetered %d (%s)", seed, slice, got, reason(err), want, reason(wantErr))
		}
		if m.memory() != plain.memory() {
			t.Errorf("seed %d, slice %d: memories differ", seed, slice)
		}
		if fuel >= 0 && used != fuel {
			t.Errorf("seed %d, slice %d: %d fuel, before %d", seed, slice, used, fuel)
		}
		fuel = used
		_ = m.rt.Close(t.Context())
	}
	_ = plain.rt.Close(t.Context())
	return wantErr != nil
}

func reason(err error) string {
	if err == nil {
		return "no trap"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func TestPrograms(t *testing.T) {
	trapped := 0
	n := 300
	if testing.Short() {
		n = 30
	}
	for seed := range n {
		if compare(t, uint64(seed)) {
			trapped++
		}
	}
	if trapped == 0 || trapped > n/2 {
		t.Errorf("%d of %d programs trap: the generator makes too few or too many", trapped, n)
	}
}

func FuzzPrograms(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { compare(t, seed) })
}
