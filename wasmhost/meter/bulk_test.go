package meter

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// bulkPages is the memory of bulkModule: some chunks, and not a whole number of them.
const bulkPages = 5*bulkChunk/65536 + 3

// bulkModule exports "fill" and "copy" with the operands as parameters, each also as
// "cachedfill" and "cachedcopy", from a function that has its fuel in a local.
func bulkModule() []byte {
	instruction := func(sub byte, rest ...byte) []byte {
		return join([]byte{opLocalGet, 0, opLocalGet, 1, opLocalGet, 2, opMisc, sub}, rest)
	}
	loop := []byte{ // three times round
		opLoop, typeVoid, opLocalGet, 3, opI32Const, 1, opI32Add, opLocalTee, 3, opI32Const, 3, opI32LtS, opBrIf, 0, opEnd,
	}
	fill, copying := instruction(miscMemoryFill, 0), instruction(miscMemoryCopy, 0, 0)
	return wasm(
		sec{secType, vec([]byte{0x60, 3, typeI32, typeI32, typeI32, 0})}, sec{secFunction, repeat(4, 0)},
		sec{secMemory, vec(join([]byte{0}, leb(bulkPages)))},
		sec{secExport, vec(exported("fill", kindFunction, 0), exported("copy", kindFunction, 1),
			exported("cachedfill", kindFunction, 2), exported("cachedcopy", kindFunction, 3))},
		sec{secCode, vec(fn(fill...), fn(copying...), fnLocals(1, join(loop, fill)...), fnLocals(1, join(loop, copying)...))})
}

// pattern writes bytes of which none is where another is.
func (m *machine) pattern() {
	b, _ := m.mod.Memory().Read(0, m.mod.Memory().Size())
	for i := 0; i < len(b); i += 61 {
		b[i], b[min(i+1, len(b)-1)] = byte(i), byte(i>>8)
	}
}

// bulkCase is one operation: to, from or value, size.
type bulkCase [3]uint32

func bulkCases() []bulkCase {
	const mem = bulkPages * 65536
	list := []bulkCase{
		{0, 7, 0}, {0, 7, bulkChunk}, {0, 7, bulkChunk + 1}, {5, 7, 2 * bulkChunk}, {5, 7, 2*bulkChunk + 1},
		{7, 5, 3 * bulkChunk}, {0, 0, mem}, {1, 0, mem - 1}, {0, 1, mem - 1}, // overlapping by all but a byte
		{bulkChunk, 0, 4 * bulkChunk}, {0, bulkChunk, 4 * bulkChunk}, {bulkChunk + 9, 0, 3*bulkChunk + 5},
		{1, 0, mem}, {0, 1, mem}, {mem, 0, 1}, {mem + 1, 0, 0}, {0, mem + 1, 0}, // beyond the end
		{mem - bulkChunk, 0, bulkChunk + 1}, {0, mem - bulkChunk, bulkChunk + 1},
		{1<<32 - 1, 0, 1<<32 - 1}, {0, 1<<32 - 1, 1<<32 - 1}, {1<<32 - 1, 1<<32 - 1, 2 * bulkChunk}, {1 << 31, 0, 1 << 31},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		list = append(list, bulkCase{uint32(r.IntN(mem)), uint32(r.IntN(mem)), uint32(r.IntN(mem / 2))})
	}
	return list
}

// TestBulkInPieces: long operations do what they do in one piece, in memory, traps
// and fuel, on both engines and in slices of any size.
func TestBulkInPieces(t *testing.T) {
	src := bulkModule()
	plain := newMachine(t, engines()[0], src, false, 0)
	defer plain.close()
	machines := map[string]*machine{
		"compiler":       newMachine(t, engines()[0], src, true, 1<<40),
		"compiler, thin": newMachine(t, engines()[0], src, true, 7),
		"interpreter":    newMachine(t, engines()[1], src, true, 100_003),
	}
	for _, m := range machines {
		defer m.close()
	}
	for _, f := range []string{"fill", "copy", "cachedfill", "cachedcopy"} {
		for _, c := range bulkCases() {
			args := []uint64{uint64(c[0]), uint64(c[1]), uint64(c[2])}
			plain.pattern()
			_, _, want := plain.run(f, 0, args...)
			fuel := int64(-1)
			for mode, m := range machines {
				m.pattern()
				_, used, err := m.run(f, plenty, args...)
				switch {
				case reason(err) != reason(want):
					t.Errorf("%s %v, %s: %v, unmetered %v", f, c, mode, err, want)
				case m.memory() != plain.memory():
					t.Fatalf("%s %v, %s: memories differ", f, c, mode)
				case fuel >= 0 && used != fuel:
					t.Errorf("%s %v, %s: %d fuel, elsewhere %d", f, c, mode, used, fuel)
				}
				if looks := int(max(c[2], 1)-1) / bulkChunk; err == nil && m.looks != looks {
					t.Errorf("%s %v, %s: %d looks, want %d", f, c, mode, m.looks, looks)
				}
				fuel = used
			}
		}
	}
}

// TestBulkStops: a guest is stopped between two pieces, and says then what it used.
func TestBulkStops(t *testing.T) {
	for _, e := range engines() {
		m := newMachine(t, e, bulkModule(), true, 1000)
		defer m.close()
		for _, f := range []string{"fill", "copy", "cachedfill", "cachedcopy"} {
			m.onLook = nil
			_, whole, err := m.run(f, plenty, 9, 0, 4*bulkChunk)
			if err != nil {
				t.Fatal(err)
			}
			stop := errors.New("killed")
			m.onLook = func() {
				if m.looks == 2 {
					panic(stop)
				}
			}
			_, used, err := m.run(f, plenty, 9, 0, 4*bulkChunk)
			if !errors.Is(err, stop) || m.looks != 2 || used != whole {
				t.Errorf("%s: %v after %d looks and %d fuel of %d", f, err, m.looks, used, whole)
			}
		}
	}
}
