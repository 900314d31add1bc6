package meter

// locals passes the declarations of locals and returns how many there are.
// The count of one group is free for the module to claim, so the sum is
// checked before anything is done with it.
func (r *reader) locals(function, limit int) int {
	var total uint64
	groups := r.u32()
	for range groups {
		total += uint64(r.u32())
		if total > uint64(limit) {
			refuse("too_many_locals", "function %d has %d or more, at most %d", function, total, limit)
		}
		r.valueType()
	}
	return int(total)
}

// body checks one function body: every instruction decodes, blocks nest, and
// indices that Instrument rewrites exist. Types are the engine's to check.
func (m *module) body(i int, b []byte, caps Caps) {
	function := m.importedFunc + i
	r := &reader{b: b}
	locals := r.locals(function, caps.Locals) + len(m.types[m.funcs[function]].params)
	m.calls = append(m.calls, calls{from: len(m.callees)})
	loops, branches := 0, 0
	nest := append(m.nest[:0], opBlock)
	var in instr
	for len(nest) > 0 {
		r.next(&in)
		switch in.op {
		case opBlock, opLoop, opIf:
			nest = append(nest, in.op)
			if len(nest) > caps.Nesting {
				refuse("nested_too_deep", "function %d nests over %d blocks", function, caps.Nesting)
			}
			if in.block >= int64(len(m.types)) {
				malformed("unknown type %d", in.block)
			}
			switch in.op {
			case opLoop:
				if loops++; loops > caps.LoopNesting {
					refuse("nested_too_deep", "function %d nests over %d loops", function, caps.LoopNesting)
				}
			case opIf:
				branches++
			}
		case opElse:
			if nest[len(nest)-1] != opIf {
				malformed("else without if in function %d", function)
			}
			nest[len(nest)-1] = opElse
		case opEnd:
			if nest[len(nest)-1] == opLoop {
				loops--
			}
			nest = nest[:len(nest)-1]
		case opBr, opBrIf:
			branches++
			checkLabel(in.imm, len(nest))
		case opBrTable:
			branches++
			m.branchTable(b, &in, len(nest), caps)
		case opLocalGet, opLocalSet, opLocalTee:
			if int64(in.imm) >= int64(locals) {
				malformed("unknown local %d in function %d", in.imm, function)
			}
		default:
			m.use(&in)
			if in.op == opMisc && (in.sub == miscMemoryFill || in.sub == miscMemoryCopy) {
				branches++ // of what Instrument makes of it; a compiler is superlinear in them
			}
		}
		if branches > caps.Branches {
			refuse("too_many_branches", "function %d has over %d", function, caps.Branches)
		}
	}
	if r.more() {
		malformed("%d bytes after the end of function %d", len(b)-r.p, function)
	}
	m.nest = nest
	m.calls[i].to = len(m.callees)
}

func checkLabel(label uint32, depth int) {
	if int64(label) >= int64(depth) {
		malformed("unknown label %d", label)
	}
}

func (m *module) branchTable(b []byte, in *instr, depth int, caps Caps) {
	if int64(in.imm) > int64(caps.BranchTable) {
		refuse("branch_table_too_large", "br_table of %d labels, at most %d", in.imm, caps.BranchTable)
	}
	r := &reader{b: b, p: in.immAt}
	for range r.u32() + 1 {
		checkLabel(r.u32(), depth)
	}
}

// use notes what an instruction tells about the module, and checks the indices
// that Instrument relies on.
func (m *module) use(in *instr) {
	switch in.op {
	case opCall:
		m.callees = append(m.callees, m.funcIndex(in.imm))
	case opCallIndirect:
		if int64(in.imm) >= int64(len(m.types)) {
			malformed("unknown type %d", in.imm)
		}
		m.calls[len(m.calls)-1].indirect = true
	case opRefFunc:
		m.reachable = append(m.reachable, m.funcIndex(in.imm))
	case opGlobalGet, opGlobalSet:
		if int64(in.imm) >= int64(m.globals) {
			malformed("unknown global %d", in.imm)
		}
	case opTableSet:
		m.tableMutated = true
	case opVector:
		m.vector = true
	case opMisc:
		switch in.sub {
		case miscMemoryFill:
			m.fills = true
		case miscMemoryCopy:
			m.copies = true
		case miscDataDrop, miscElemDrop:
			m.dropsSegments = true
		case miscTableInit, miscTableCopy, miscTableGrow, miscTableFill:
			m.tableMutated = true
		}
	}
}
