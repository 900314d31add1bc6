package meter

import "strconv"

// Import is one function that a module asks for.
type Import struct {
	Module, Name string
	Signature    string // as in "(i32, i32) -> (i32)"
}

// Export is one thing a module offers.
type Export struct {
	Name      string
	Kind      string // function, table, memory or global
	Signature string // of a function
}

// Report is what the gate and the instrumenter learned about a module.
type Report struct {
	Size           int    // bytes of the original
	Functions      int    // defined
	HasMemory      bool   // whether the next two mean anything
	MemoryMinPages uint32 // of 64 KiB
	MemoryMaxPages uint32 // of 64 KiB; 65536 where the module declares none
	Imports        []Import
	Exports        []Export
	HasStart       bool // a start function, exported as StartExport
	StateGlobals   int  // mutable globals, exported under StateGlobal(0), …
	TableMutated   bool // the module changes tables: they are not in a snapshot
	DropsSegments  bool // the module drops segments: that is not in a snapshot
	OpaqueGlobals  bool // mutable globals hold vectors or references
	Vector         bool // 128-bit vector instructions
	Recursive      int  // functions that count call depth; Instrument only
	MeteredSize    int  // bytes of the instrumented module; Instrument only
}

// Snapshotable reports whether memory and StateGlobals are all the state that
// the module can have.
func (r Report) Snapshotable() bool {
	return !r.TableMutated && !r.DropsSegments && !r.OpaqueGlobals
}

// FirstAdded is the number, in the instrumented module, of the first function that
// Instrument added behind the module's own: those that do long copies.
func FirstAdded(r Report) uint32 { return uint32(len(r.Imports) + 1 + r.Functions) }

// StateGlobal is the export name of mutable global i, from 0.
func StateGlobal(i int) string { return stateGlobalPrefix + strconv.Itoa(i) }

// Check is the structural gate: it admits modules that an engine can compile
// within bounds. It does not validate types.
//
// Errors: *events.RefusedError (well formed, not admitted, with a rule) or one
// that wraps events.ErrInvalidWasm (malformed).
func Check(wasm []byte, caps Caps) (rep Report, err error) {
	defer catch(&err)
	m := decode(wasm, caps)
	m.checkImports()
	return m.report(len(wasm)), nil
}

// Core returns the module without its custom sections: what an engine is to
// validate, whose decoders of custom sections need not be trusted then. The
// errors are those of a module whose sections do not parse.
func Core(wasm []byte) (core []byte, err error) {
	defer catch(&err)
	if len(wasm) < len(header) {
		malformed("unexpected end")
	}
	w := writer{b: make([]byte, 0, len(wasm))}
	w.raw(wasm[:len(header)])
	r := &reader{b: wasm, p: len(header)}
	for r.more() {
		from := r.p
		id := r.byte()
		r.bytes()
		if id != secCustom {
			w.raw(wasm[from:r.p])
		}
	}
	return w.b, nil
}

func (m *module) report(size int) Report {
	rep := Report{
		Size: size, Functions: len(m.bodies),
		HasMemory: m.memories > 0, MemoryMinPages: m.memMin, MemoryMaxPages: m.memMax,
		HasStart: m.start >= 0, StateGlobals: len(m.mutable),
		TableMutated: m.tableMutated, DropsSegments: m.dropsSegments,
		OpaqueGlobals: m.opaque, Vector: m.vector,
	}
	signatures := make(map[uint32]string) // many exports may share a type of many parameters
	signature := func(typ uint32) string {
		if _, ok := signatures[typ]; !ok {
			signatures[typ] = m.types[typ].signature()
		}
		return signatures[typ]
	}
	for _, e := range m.imports {
		imp := Import{Module: e.module, Name: e.name}
		if e.kind == kindFunction {
			imp.Signature = signature(e.typ)
		}
		rep.Imports = append(rep.Imports, imp)
	}
	kinds := [...]string{"function", "table", "memory", "global"}
	for _, e := range m.exports {
		exp := Export{Name: e.name, Kind: kinds[e.kind]}
		if e.kind == kindFunction {
			exp.Signature = signature(m.funcs[e.index])
		}
		rep.Exports = append(rep.Exports, exp)
	}
	return rep
}
