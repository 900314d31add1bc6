package wasmhost

import (
	"bytes"
	"encoding/binary"
)

// generated describes a module to be put together: an agent that handles every
// message by doing nothing, with other functions that have no parameters.
type generated struct {
	others [][]byte // bodies with their locals, of functions numbered from 2
	data   []byte   // from 64 KiB on
	pages  int      // of memory

	globals  int // i64, immutable
	elements int // of one passive segment, all of them the first function
}

// Bytes of types, and of what has no constant in the package.
const (
	typeI32, typeI64, noResult = 0x7f, 0x7e, 0x40
	opI32Add                   = 0x6a
)

func vector(entries ...[]byte) []byte {
	return append(leb(len(entries)), bytes.Join(entries, nil)...)
}

func sized(b []byte) []byte { return append(leb(len(b)), b...) }

func (g generated) wasm() []byte {
	types := vector([]byte{0x60, 2, typeI32, typeI32, 1, typeI32}, []byte{0x60, 1, typeI32, 1, typeI32}, []byte{0x60, 0, 0})
	functions := [][]byte{{0}, {1}}
	bodies := [][]byte{sized([]byte{0, opI32Const, 0, opEnd}), sized([]byte{0, opI32Const, 8, opEnd})}
	for _, b := range g.others {
		functions = append(functions, []byte{2})
		bodies = append(bodies, sized(b))
	}
	name := func(s string, rest ...byte) []byte { return append(sized([]byte(s)), rest...) }
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = appendSection(out, 1, types)
	out = appendSection(out, 3, vector(functions...))
	out = appendSection(out, 5, append([]byte{1, 0}, leb(max(g.pages, 1))...))
	if g.globals > 0 {
		out = appendSection(out, sectionGlobal, append(leb(g.globals), bytes.Repeat([]byte{typeI64, 0, opI64Const, 0, opEnd}, g.globals)...))
	}
	out = appendSection(out, 7, vector(name(exportHandle, 0, 0), name(exportAlloc, 0, 1), name(exportMemory, 2, 0)))
	if g.elements > 0 {
		const passive, functionIndexes = 1, 0
		out = appendSection(out, sectionElem, vector(append(append([]byte{passive, functionIndexes}, leb(g.elements)...), make([]byte, g.elements)...)))
	}
	out = appendSection(out, sectionCode, vector(bodies...))
	if g.data != nil {
		segment := append(appendSigned([]byte{0, opI32Const}, pageBytes), opEnd)
		out = appendSection(out, sectionData, vector(append(segment, sized(g.data)...)))
	}
	return out
}

// benignModule is of size bytes (a MiB at least), half of it code as compilers
// write it: functions of loops, branches, arithmetic and memory, that call each
// other.
func benignModule(size int) []byte {
	g := generated{pages: 2 + size/pageBytes}
	code := 0
	for i := 0; code < size/2; i++ {
		body := []byte{1, 4, typeI32}
		for j := range 24 {
			body = append(body, opBlock, noResult, opLoop, noResult)
			body = append(body, opLocalGet, byte(j%4), opI32Const)
			body = appendSigned(body, int64(i*31+j))
			body = append(body, opI32Add, 0x22, byte((j+1)%4))                      // local.tee
			body = append(body, opI32Const, 0xff, 0x01, 0x71, opLoad, 2, byte(4*j)) // i32.and, i32.load
			body = append(body, 0x21, byte((j+2)%4), opLocalGet, byte(j%4), opBrIf) // local.set, br_if
			body = append(body, 1, opLocalGet, byte((j+3)%4), opI32Const, 100, 0x48, opBrIf, 0, opEnd, opEnd)
		}
		if i > 0 {
			body = append(body, opLocalGet, 0, opIf, noResult, opCall)
			body = append(binary.AppendUvarint(body, uint64(2+i/2)), opEnd)
		}
		body = append(body, opEnd)
		g.others = append(g.others, body)
		code += len(body) + 4
	}
	g.data = make([]byte, size-len(g.wasm())-64)
	for i := range g.data {
		g.data[i] = byte(i * i >> 3)
	}
	return g.wasm()
}

// slowModule is admitted by the gate and takes the compiler long: many values
// live across many branches, in function after function.
func slowModule(functions, branches int) []byte {
	body := append([]byte{1}, append(leb(900), typeI64)...)
	for i := range branches {
		l := binary.AppendUvarint([]byte{opLocalGet}, uint64(i%900))
		body = append(append(body, l...), 0xa7, opIf, noResult) // i32.wrap_i64
		body = append(append(body, l...), opI64Const, 1, 0x7c)  // i64.add
		body = append(binary.AppendUvarint(append(body, 0x21), uint64((i*7)%900)), opEnd)
	}
	body = append(body, opEnd)
	var g generated
	for range functions {
		g.others = append(g.others, body)
	}
	return g.wasm()
}
