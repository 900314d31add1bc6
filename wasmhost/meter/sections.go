package meter

import "strings"

func (m *module) typeSection(s *reader, caps Caps) {
	for range s.count("too_many_types", caps.Types) {
		switch form := s.byte(); {
		case form == 0x60:
		case form >= 0x4e && form <= 0x5f:
			unsupported("garbage collection")
		default:
			malformed("type form %#x", form)
		}
		var t funcType
		t.params = s.valueTypes(caps)
		t.results = s.valueTypes(caps)
		m.types = append(m.types, t)
	}
}

func (s *reader) valueTypes(caps Caps) []byte {
	n := s.count("too_many_parameters", caps.Arity)
	from := s.p
	for range n {
		s.valueType()
	}
	return s.b[from:s.p:s.p]
}

func (m *module) importSection(s *reader, caps Caps) {
	for range s.count("too_many_imports", caps.Imports) {
		e := importEntry{module: string(s.bytes()), name: string(s.bytes()), kind: s.byte()}
		switch e.kind {
		case kindFunction:
			e.typ = m.typeIndex(s)
			m.funcs = append(m.funcs, e.typ)
			m.importedFunc++
		case kindTable:
			m.table(s, caps)
			m.tableMutated = true // its owner may
		case kindMemory:
			m.memory(s, caps)
		case kindGlobal:
			s.valueType()
			s.byte()
			m.globals++
		case kindTag:
			unsupported("exception handling")
		default:
			malformed("import kind %d", e.kind)
		}
		m.imports = append(m.imports, e)
	}
}

func (m *module) table(s *reader, caps Caps) {
	if s.more() && s.b[s.p] == 0x40 {
		unsupported("table with an initial value")
	}
	s.valueType()
	flags := s.byte()
	if flags > 1 {
		unsupported("shared or 64-bit table")
	}
	low := s.u32()
	if flags == 1 {
		s.u32()
	}
	m.tables++
	if m.tables > caps.Tables {
		refuse("too_many_tables", "%d, at most %d", m.tables, caps.Tables)
	}
	if uint64(low) > uint64(caps.TableEntries) {
		refuse("table_too_large", "%d entries, at most %d", low, caps.TableEntries)
	}
}

func (m *module) memory(s *reader, caps Caps) {
	flags := s.byte()
	switch {
	case flags > 7:
		malformed("memory flags %#x", flags)
	case flags&4 != 0:
		unsupported("64-bit memory")
	case flags&2 != 0:
		refuse("shared_memory", "agents have one thread")
	}
	m.memMin, m.memMax = s.u32(), 65_536
	if flags&1 != 0 {
		m.memMax = s.u32()
	}
	m.memories++
	if m.memories > 1 {
		refuse("too_many_memories", "%d, at most 1", m.memories)
	}
	if uint64(m.memMin) > uint64(caps.MemoryPages) {
		refuse("memory_too_large", "%d pages of 64 KiB at the start, at most %d", m.memMin, caps.MemoryPages)
	}
}

func (m *module) globalSection(s *reader, caps Caps) {
	for range s.count("too_many_globals", caps.Globals) {
		t := s.valueType()
		m.vectorGlobals = m.vectorGlobals || t == typeV128
		switch mut := s.byte(); {
		case mut > 1:
			malformed("global mutability %d", mut)
		case mut == 1 && t > typeV128:
			m.mutable = append(m.mutable, uint32(m.globals))
		case mut == 1:
			m.opaque = true
		}
		m.constant(s)
		m.globals++
	}
}

// constant passes a constant expression and notes the functions it takes
// references of.
func (m *module) constant(s *reader) {
	var in instr
	for {
		s.next(&in)
		switch in.op {
		case opEnd:
			return
		case opRefFunc:
			m.reachable = append(m.reachable, m.funcIndex(in.imm))
		case opBlock, opLoop, opIf:
			malformed("block in a constant expression")
		}
	}
}

func (m *module) exportSection(s *reader, caps Caps) {
	for range s.count("too_many_exports", caps.Exports) {
		e := exportEntry{name: string(s.bytes()), kind: s.byte(), index: s.u32()}
		if strings.HasPrefix(e.name, reservedPrefix) {
			refuse("reserved_export", "%.80q begins with %q", e.name, reservedPrefix)
		}
		switch {
		case e.kind == kindFunction:
			m.funcIndex(e.index)
		case e.kind == kindGlobal && int64(e.index) >= int64(m.globals):
			malformed("export of unknown global %d", e.index)
		case e.kind == kindTag:
			unsupported("exception handling")
		case e.kind > kindTag:
			malformed("export kind %d", e.kind)
		}
		m.exports = append(m.exports, e)
	}
}

func (m *module) elementSection(s *reader, caps Caps) {
	total := 0
	for range s.count("too_many_segments", caps.Segments) {
		flags := s.u32()
		if flags > 7 {
			malformed("element segment flags %d", flags)
		}
		if flags&1 == 0 { // active: table and offset
			if flags&2 != 0 {
				s.u32()
			}
			m.constant(s)
		}
		if flags&3 != 0 {
			if flags&4 != 0 {
				s.valueType()
			} else if kind := s.byte(); kind != 0 {
				malformed("element kind %d", kind)
			}
		}
		n := s.count("too_many_elements", caps.Elements)
		if total += n; total > caps.Elements {
			refuse("too_many_elements", "over %d", caps.Elements)
		}
		for range n {
			if flags&4 != 0 {
				m.constant(s)
			} else {
				m.reachable = append(m.reachable, m.funcIndex(s.u32()))
			}
		}
	}
}

func (m *module) dataSection(s *reader, caps Caps) {
	for range s.count("too_many_segments", caps.Segments) {
		flags := s.u32()
		if flags > 2 {
			malformed("data segment flags %d", flags)
		}
		if flags == 2 {
			s.u32()
		}
		if flags != 1 {
			m.constant(s)
		}
		s.bytes()
	}
}

func (m *module) codeSection(s *reader, caps Caps) {
	n := s.count("too_many_functions", caps.Functions)
	if n != len(m.funcs)-m.importedFunc {
		malformed("%d functions but %d bodies", len(m.funcs)-m.importedFunc, n)
	}
	for i := range n {
		body := s.bytes()
		if len(body) > caps.BodyBytes {
			refuse("function_too_large", "function %d has %d bytes, at most %d", m.importedFunc+i, len(body), caps.BodyBytes)
		}
		m.bodies = append(m.bodies, body)
		m.body(i, body, caps)
	}
}
