package meter

import "math"

// Options says how Instrument is to bound a module.
type Options struct {
	Caps Caps
}

// Instrument rewrites a module that Check admitted and an engine validated: it
// counts fuel and call depth, and exports the module's mutable state. The
// result differs from the original in nothing a guest can observe, except that
// tables do not grow beyond tableCeiling.
//
// Errors are as for Check, the rule frame_too_large, which only this finds out, and
// *events.InvalidError for bad options.
func Instrument(wasm []byte, opts Options) (metered []byte, rep Report, err error) {
	if err := opts.Caps.Validate(); err != nil {
		return nil, Report{}, err
	}
	defer catch(&err)
	m := decode(wasm, opts.Caps)
	rep = m.report(len(wasm))
	metered, rep.Recursive = m.rewrite(len(wasm), opts.Caps)
	rep.MeteredSize = len(metered)
	return metered, rep, nil
}

// Indices of what is added. The import goes behind the imported functions, so
// defined functions move up by one; the globals go behind all others.

func (m *module) renumbered(function uint32) uint32 {
	if int(function) >= m.importedFunc {
		return function + 1
	}
	return function
}

func (m *module) fuelGlobal() uint32  { return uint32(m.globals) }
func (m *module) depthGlobal() uint32 { return uint32(m.globals) + 1 }

// addType returns the index of a function type, which it adds when the module
// has no equal one.
func (m *module) addType(t funcType) uint32 {
	key := string(t.params) + ":" + string(t.results)
	if i, ok := m.added[key]; ok {
		return i
	}
	i := uint32(len(m.types))
	m.types = append(m.types, t)
	if m.added == nil {
		m.added = make(map[string]uint32)
	}
	m.added[key] = i
	return i
}

// rewrite emits the instrumented module. Bodies come first, because they may
// add types, which stand before them.
func (m *module) rewrite(size int, caps Caps) (metered []byte, recursive int) {
	original := len(m.types)
	refill := m.addType(funcType{params: []byte{typeI64}, results: []byte{typeI64}})
	code, recursive := m.rewriteBodies(size, caps)

	bodies := make(map[byte][]byte, len(m.sections))
	for _, s := range m.sections {
		bodies[s.id] = s.body
	}
	w := writer{b: make([]byte, 0, size+len(code))}
	w.raw([]byte(header))
	order := []byte{secType, secImport, secFunction, secTable, secMemory, secGlobal,
		secExport, secElement, secDataCount, secCode, secData} // no start: the host calls it
	for _, id := range order {
		body, present := bodies[id]
		switch id {
		case secType:
			w.section(id, m.rewriteTypes(body, original))
		case secImport:
			w.section(id, m.rewriteImports(body, refill))
		case secFunction:
			if present {
				w.section(id, m.rewriteFunctions(body))
			}
		case secTable:
			if present {
				w.section(id, rewriteTables(body))
			}
		case secGlobal:
			w.section(id, m.rewriteGlobals(body))
		case secExport:
			w.section(id, m.rewriteExports())
		case secElement:
			if present {
				w.section(id, m.rewriteElements(body))
			}
		case secCode:
			if present {
				w.section(id, code)
			}
		default:
			if present {
				w.section(id, body)
			}
		}
	}
	if names := m.rewriteNames(); names != nil {
		w.section(secCustom, names)
	}
	return w.b, recursive
}

func (m *module) rewriteBodies(size int, caps Caps) (code []byte, counted int) {
	g := m.callGraph()
	code, weights := m.emitBodies(size, g.recursive[:len(m.bodies)], caps)
	if g.longestChain(weights) > maxChain {
		for i := range g.recursive {
			g.recursive[i] = true
		}
		code, _ = m.emitBodies(size, g.recursive[:len(m.bodies)], caps)
	}
	for _, counts := range g.recursive[:len(m.bodies)] {
		if counts {
			counted++
		}
	}
	return code, counted
}

// emitBodies returns the code section, with functions counting depth as counts
// says, and the weight of each.
func (m *module) emitBodies(size int, counts []bool, caps Caps) (code []byte, weights []int64) {
	longest := 0
	for _, body := range m.bodies {
		longest = max(longest, len(body))
	}
	e := emitter{m: m, p: newPlanner(m, longest), w: writer{b: make([]byte, 0, size*3/2)}}
	added := m.bulkFunctions()
	if len(added) > 0 {
		e.bulk = m.addType(bulkType)
	}
	e.w.u32(uint32(len(m.bodies) + len(added)))
	weights = make([]int64, len(m.bodies))
	for i := range m.bodies {
		from := len(e.w.b)
		weights[i] = e.function(i, counts[i])
		if n := weights[i] * FrameUnit; n > int64(caps.FrameBytes) {
			refuse("frame_too_large", "function %d may take %d bytes of stack for each call, at most %d", m.importedFunc+i, n, caps.FrameBytes)
		}
		e.w.size(from)
	}
	for _, f := range added {
		from := len(e.w.b)
		f.body(&e.w, uint32(m.importedFunc))
		e.w.size(from)
	}
	return e.w.b, weights
}

// split returns a section's count of entries and the rest; nothing for an
// absent section.
func split(body []byte) (n uint32, rest []byte) {
	if body == nil {
		return 0, nil
	}
	r := &reader{b: body}
	n = r.u32()
	return n, body[r.p:]
}

func (m *module) rewriteTypes(body []byte, original int) []byte {
	_, rest := split(body)
	w := writer{}
	w.u32(uint32(len(m.types)))
	w.raw(rest)
	for _, t := range m.types[original:] {
		w.byte(0x60)
		w.sized(t.params)
		w.sized(t.results)
	}
	return w.b
}

func (m *module) rewriteImports(body []byte, refill uint32) []byte {
	n, rest := split(body)
	w := writer{}
	w.u32(n + 1)
	w.raw(rest)
	w.str(RefillModule)
	w.str(RefillName)
	w.byte(kindFunction)
	w.u32(refill)
	return w.b
}

// tableCeiling is the most entries that a table may grow to, unless it begins
// with more: the engine keeps tables on the host's heap, where no limit of an
// agent counts them. It is no cap of the configuration, because what table.grow
// answers must be the same on all nodes.
const tableCeiling = 10_000

func rewriteTables(body []byte) []byte {
	r := &reader{b: body}
	w := writer{}
	n := r.u32()
	w.u32(n)
	for range n {
		w.byte(r.valueType())
		flags, low, high := r.byte(), r.u32(), uint32(math.MaxUint32)
		if flags == 1 {
			high = r.u32()
		}
		w.byte(1)
		w.u32(low)
		w.u32(min(high, max(low, tableCeiling)))
	}
	return w.b
}

func (m *module) rewriteGlobals(body []byte) []byte {
	n, rest := split(body)
	w := writer{}
	w.u32(n + 2)
	r := &reader{b: rest}
	for range n {
		from := r.p
		r.valueType()
		r.byte()
		w.raw(rest[from:r.p])
		m.copyConstant(&w, r)
	}
	w.byte(typeI64, 1)
	w.i64(0)
	w.byte(opEnd, typeI32, 1)
	w.i32(0)
	w.byte(opEnd)
	return w.b
}

func (m *module) rewriteExports() []byte {
	exports := make([]exportEntry, 0, len(m.exports)+len(m.mutable)+3)
	for _, e := range m.exports {
		if e.kind == kindFunction {
			e.index = m.renumbered(e.index)
		}
		exports = append(exports, e)
	}
	exports = append(exports,
		exportEntry{FuelGlobal, kindGlobal, m.fuelGlobal()},
		exportEntry{DepthGlobal, kindGlobal, m.depthGlobal()})
	for i, g := range m.mutable {
		exports = append(exports, exportEntry{StateGlobal(i), kindGlobal, g})
	}
	if m.start >= 0 {
		exports = append(exports, exportEntry{StartExport, kindFunction, m.renumbered(uint32(m.start))})
	}
	w := writer{}
	w.u32(uint32(len(exports)))
	for _, e := range exports {
		w.str(e.name)
		w.byte(e.kind)
		w.u32(e.index)
	}
	return w.b
}

func (m *module) rewriteElements(body []byte) []byte {
	r := &reader{b: body}
	n := r.u32()
	w := writer{b: make([]byte, 0, len(body)+len(body)/4)}
	w.u32(n)
	for range n {
		flags := r.u32()
		w.u32(flags)
		if flags&1 == 0 {
			if flags&2 != 0 {
				w.u32(r.u32())
			}
			m.copyConstant(&w, r)
		}
		if flags&3 != 0 {
			w.byte(r.byte())
		}
		entries := r.u32()
		w.u32(entries)
		for range entries {
			if flags&4 != 0 {
				m.copyConstant(&w, r)
			} else {
				w.u32(m.renumbered(r.u32()))
			}
		}
	}
	return w.b
}

// copyConstant copies a constant expression with its functions renumbered.
func (m *module) copyConstant(w *writer, r *reader) {
	var in instr
	for {
		r.next(&in)
		if in.op == opRefFunc {
			w.op1(opRefFunc, m.renumbered(in.imm))
			continue
		}
		w.raw(r.b[in.pos:r.p])
		if in.op == opEnd {
			return
		}
	}
}
