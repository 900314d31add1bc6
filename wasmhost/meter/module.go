package meter

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Section ids, and their order in a module.
const (
	secCustom    = 0
	secType      = 1
	secImport    = 2
	secFunction  = 3
	secTable     = 4
	secMemory    = 5
	secGlobal    = 6
	secExport    = 7
	secStart     = 8
	secElement   = 9
	secCode      = 10
	secData      = 11
	secDataCount = 12
	secTag       = 13
)

// sectionRank returns a section's place in the order, 0 for an unknown one.
func sectionRank(id byte) int {
	switch {
	case id == secDataCount:
		return 10
	case id == secCode || id == secData:
		return int(id) + 1
	case id < secCode:
		return int(id)
	}
	return 0
}

// External kinds of imports and exports.
const (
	kindFunction = 0
	kindTable    = 1
	kindMemory   = 2
	kindGlobal   = 3
	kindTag      = 4
)

type section struct {
	id   byte
	body []byte
}

type funcType struct {
	params, results []byte // value types, slices of the input
}

type importEntry struct {
	module, name string
	kind         byte
	typ          uint32 // of a function
}

type exportEntry struct {
	name  string
	kind  byte
	index uint32
}

// module is a decoded module. Slices point into the input.
type module struct {
	sections []section // without custom ones, in order
	names    []byte    // content of the name section, nil when absent
	types    []funcType
	imports  []importEntry
	exports  []exportEntry
	funcs    []uint32 // type of each function, imported ones first
	bodies   [][]byte // of the defined functions
	calls    []calls  // of each body
	callees  []uint32 // of all bodies
	nest     []byte   // of the body that is read; here to be used again
	globals  int      // imported ones first
	// mutable lists the indices of the defined mutable globals of number types;
	// opaque says that there are others, whose values the host cannot read.
	mutable       []uint32
	opaque        bool
	vectorGlobals bool
	tables        int
	memories      int
	memMin        uint32 // pages
	memMax        uint32 // pages; 65536 where the module declares none
	importedFunc  int
	start         int64 // function index, -1 for none
	// reachable lists the functions that a call_indirect might reach: those in
	// element segments, in constant expressions and under ref.func.
	reachable []uint32
	added     map[string]uint32 // types that Instrument added
	usage
}

// usage is what the bodies do that matters to the host.
type usage struct {
	tableMutated  bool
	dropsSegments bool
	vector        bool
	fills, copies bool // memory
}

const header = "\x00asm\x01\x00\x00\x00"

// decode reads a whole module and checks it against caps. It panics with a
// fault.
func decode(wasm []byte, caps Caps) *module {
	if len(wasm) > caps.ModuleBytes {
		refuse("module_too_large", "%d bytes, at most %d", len(wasm), caps.ModuleBytes)
	}
	switch {
	case len(wasm) < len(header) || string(wasm[:4]) != header[:4]:
		malformed("not a WebAssembly module: no magic number")
	case string(wasm[4:8]) == "\x0d\x00\x01\x00":
		unsupported("component model")
	case string(wasm[:8]) != header:
		malformed("unknown binary version")
	}
	m := &module{start: -1}
	r := &reader{b: wasm, p: len(header)}
	last, dataCount := 0, int64(-1)
	for r.more() {
		id := r.byte()
		body := r.bytes()
		if id == secCustom {
			m.custom(body)
			continue
		}
		if id == secTag {
			unsupported("exception handling")
		}
		rank := sectionRank(id)
		if rank == 0 {
			malformed("unknown section %d", id)
		}
		if rank <= last {
			malformed("section %d out of order or repeated", id)
		}
		last = rank
		m.sections = append(m.sections, section{id, body})
		s := &reader{b: body}
		if id == secDataCount {
			dataCount = int64(s.u32())
		} else {
			m.section(id, s, caps)
		}
		if s.more() {
			malformed("section %d has %d bytes too many", id, len(s.b)-s.p)
		}
	}
	if len(m.bodies) != len(m.funcs)-m.importedFunc {
		malformed("%d functions but %d bodies", len(m.funcs)-m.importedFunc, len(m.bodies))
	}
	if dataCount > int64(caps.Segments) {
		refuse("too_many_segments", "data count %d, at most %d", dataCount, caps.Segments)
	}
	return m
}

func (m *module) section(id byte, s *reader, caps Caps) {
	switch id {
	case secType:
		m.typeSection(s, caps)
	case secImport:
		m.importSection(s, caps)
	case secFunction:
		for range s.count("too_many_functions", caps.Functions) {
			m.funcs = append(m.funcs, m.typeIndex(s))
		}
	case secTable:
		for range s.count("too_many_tables", caps.Tables) {
			m.table(s, caps)
		}
	case secMemory:
		for range s.count("too_many_memories", 1) {
			m.memory(s, caps)
		}
	case secGlobal:
		m.globalSection(s, caps)
	case secExport:
		m.exportSection(s, caps)
	case secStart:
		m.start = int64(m.funcIndex(s.u32()))
	case secElement:
		m.elementSection(s, caps)
	case secCode:
		m.codeSection(s, caps)
	case secData:
		m.dataSection(s, caps)
	}
}

// custom keeps the name section and drops all others: they mean nothing to the
// engine, and its decoders of them allocate by what they claim.
func (m *module) custom(body []byte) {
	r := &reader{b: body}
	name := r.bytes()
	if !utf8.Valid(name) {
		malformed("name of a custom section is not UTF-8")
	}
	if string(name) == "name" && m.names == nil {
		m.names = body[r.p:]
	}
}

func (m *module) typeIndex(s *reader) uint32 {
	i := s.u32()
	if int64(i) >= int64(len(m.types)) {
		malformed("unknown type %d", i)
	}
	return i
}

func (m *module) funcIndex(i uint32) uint32 {
	if int64(i) >= int64(len(m.funcs)) {
		malformed("unknown function %d", i)
	}
	return i
}

// signature of a function type as in "(i32, i32) -> (i32)".
func (t funcType) signature() string {
	return fmt.Sprintf("(%s) -> (%s)", typeNames(t.params), typeNames(t.results))
}

func typeNames(types []byte) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = typeName(t)
	}
	return strings.Join(names, ", ")
}

func typeName(t byte) string {
	switch t {
	case typeI32:
		return "i32"
	case typeI64:
		return "i64"
	case typeF32:
		return "f32"
	case typeF64:
		return "f64"
	case typeV128:
		return "v128"
	case typeFuncref:
		return "funcref"
	}
	return "externref"
}
