package meter

// lump is the largest conditional segment that is charged with the segment
// that dominates it instead of by itself: a charge costs three instructions,
// so for tiny branches the exact sum is dearer than what it counts. The total
// stays deterministic, and never below the exact one.
const lump = 6

// smallLeaf is the cost up to which a function without calls and loops does not
// check fuel at its entry. A straight line of calls of leaves runs to its end
// unchecked, so this, times the calls that fit a body, bounds how late a guest
// notices that it is to stop: some milliseconds.
const smallLeaf = 64

// segment is a straight line of code: entered at its top, left at its end.
type segment struct {
	cost   uint32
	parent int32 // the segment that dominates it in the same loop body, or -1
	always bool  // runs whenever parent does
	head   bool  // function entry or loop head: fuel is checked there
	entry  bool
	strip  bool // head of a strip-mined loop
}

type patchKind uint8

const (
	atSegment     patchKind = iota // charge (and check) segment n
	atCall                         // before a call: the callee needs the global
	afterCall                      // the callee changed the global
	atReturn                       // before return
	atTrap                         // before unreachable: what a panic ends in shows what it burnt
	atBulk                         // top of stack is a size to charge
	atMove                         // operands of memory.fill or memory.copy, as n says, of which the size was charged
	atGrow                         // top of stack is a size to remember
	afterGrow                      // charge it if the result is not -1
	loopOpen                       // open the outer loop of a strip-mined one
	loopClose                      // close it
	atLast                         // the function's final end
	replaceU32                     // replace cut bytes by the number n
	replaceRaw                     // replace cut bytes by raw
	replaceBranch                  // replace cut bytes by an if with a branch to label n
)

// patch is an insertion or replacement at a place in a body.
type patch struct {
	pos      int
	cut      int    // bytes of the original that go
	n        uint32 // segment, shift of a size, or number
	from, to uint32 // in planner.raw: block type, or labels
	kind     patchKind
	table    bool // of afterGrow: a table grew, not memory
}

// frame is an open block. Invariant: a frame f at height h escapes (control may
// leave it other than by its end) iff lowest < h.
type frame struct {
	op      byte
	before  int  // segment when it was opened
	target  bool // some branch goes to its label
	dead    bool // was opened in unreachable code
	strip   bool
	bare    bool   // a branch to its label takes no values
	calls   bool   // something inside it calls
	strips  int    // strip-mined loops at or below it
	params  int    // of its type
	results int    // of its type
	id      uint32 // of size
	below   int    // operands below it
	lowest  int    // lowest height that a branch inside goes to; -1 for return
}

// planner finds the segments of a function and where its body needs patches.
// It is reused from function to function.
type planner struct {
	m       *module
	segs    []segment
	patches []patch
	frames  []frame
	raw     writer // of patches
	cur     int
	dead    bool
	size    frameSize

	calls, bulk bool
	tight       bool   // some loop has no calls
	total       uint64 // of all segments
}

// newPlanner has room for what most functions of up to longest bytes come to.
func newPlanner(m *module, longest int) *planner {
	p := &planner{m: m, segs: make([]segment, 0, longest/20+16), patches: make([]patch, 0, longest/10+16)}
	p.size.steps = make([]step, 0, longest/4+16)
	return p
}

// plan fills segs and patches for the body whose instructions begin at r.
func (p *planner) plan(r *reader, t funcType) {
	p.segs, p.patches, p.frames, p.raw.b = p.segs[:0], p.patches[:0], p.frames[:0], p.raw.b[:0]
	p.dead, p.calls, p.bulk, p.tight = false, false, false, false
	p.push(frame{op: opBlock, bare: len(t.results) == 0, results: len(t.results)})
	p.begin(r.p, segment{parent: -1, head: true, entry: true})
	var in instr
	for len(p.frames) > 0 {
		r.next(&in)
		p.instr(r, &in)
	}
	p.merge()
}

func (p *planner) instr(r *reader, in *instr) {
	switch in.op {
	case opBlock, opLoop, opIf:
		p.open(r, in)
	case opElse:
		f := p.top()
		f.op = opElse
		if p.dead = f.dead; !p.dead {
			p.size.elseBlock(f.id, f.below, f.params)
			p.begin(r.p, segment{parent: int32(f.before)})
		}
	case opEnd:
		p.close(r, in)
	case opBr, opBrIf, opBrTable:
		p.branch(r, in)
	case opReturn, opUnreachable:
		if p.dead {
			return
		}
		p.charge(cost(in.op))
		p.size.step(stepStop, 0)
		p.top().lowest = -1
		if in.op == opReturn {
			p.add(patch{pos: in.pos, kind: atReturn})
		} else {
			p.add(patch{pos: in.pos, kind: atTrap})
		}
		p.dead = true
	case opCall, opCallIndirect:
		if !p.dead {
			t := in.imm
			if in.op == opCall {
				t = p.m.funcs[t]
			} else {
				p.size.pop(1)
			}
			p.size.call(p.m.types[t])
			p.calls = true
			p.top().calls = true
			p.charge(cost(in.op))
			p.add(patch{pos: in.pos, kind: atCall})
		}
		if in.op == opCall {
			p.renumber(r, in)
		}
		if !p.dead {
			p.add(patch{pos: r.p, kind: afterCall})
		}
	case opRefFunc:
		p.charge(cost(in.op))
		p.follow(in)
		p.renumber(r, in)
	case opMemoryGrow, opMisc:
		p.sized(r, in)
	default:
		p.charge(cost(in.op))
		p.follow(in)
	}
}

func (p *planner) follow(in *instr) {
	if !p.dead {
		p.size.instr(in)
	}
}

func (p *planner) open(r *reader, in *instr) {
	p.charge(cost(in.op))
	f := frame{op: in.op, before: p.cur, dead: p.dead, strips: p.top().strips, bare: p.bare(r, in)}
	t := p.blockType(r, in)
	f.params, f.results = len(t.params), len(t.results)
	if p.dead {
		p.push(f)
		return
	}
	kind := stepOpen
	switch in.op {
	case opLoop:
		kind = stepLoop
		// A loop with parameters cannot be entered twice in a row.
		if in.block < 0 || len(p.m.types[in.block].params) == 0 {
			f.strip = true
			f.strips++
			from := len(p.raw.b)
			p.raw.raw(r.b[in.immAt:r.p])
			p.addRaw(patch{pos: in.pos, kind: loopOpen}, from)
			kind = stepMined
		}
		f.id, f.below = p.size.openBlock(kind, t)
		p.push(f)
		p.begin(r.p, segment{parent: -1, head: true, strip: f.strip})
	case opIf:
		f.id, f.below = p.size.openBlock(stepIf, t)
		p.push(f)
		p.begin(r.p, segment{parent: int32(f.before)})
	default:
		f.id, f.below = p.size.openBlock(kind, t)
		p.push(f)
	}
}

func (p *planner) close(r *reader, in *instr) {
	f := *p.top()
	height := len(p.frames) - 1
	p.frames = p.frames[:height]
	if !f.dead {
		p.size.closeBlock(f.end(), f.below, f.results)
	}
	if height == 0 {
		p.add(patch{pos: in.pos, kind: atLast})
		p.size.finish()
		return
	}
	up := p.top()
	up.lowest = min(up.lowest, f.lowest)
	up.calls = up.calls || f.calls
	p.tight = p.tight || f.op == opLoop && !f.calls && !f.dead
	if f.dead {
		p.dead = true
		return
	}
	if f.strip {
		p.add(patch{pos: r.p, kind: loopClose})
	}
	switch {
	case f.op == opLoop && p.dead, f.op == opBlock && !f.target:
		return // the code after it is unreachable, or in the same segment
	}
	p.dead = false
	p.begin(r.p, segment{parent: int32(f.before), always: f.lowest >= height})
}

// end is how a block ends for those who follow values.
func (f *frame) end() stepKind {
	switch {
	case f.op == opLoop:
		return stepBack
	case f.op == opBlock && !f.target:
		return stepEnd
	}
	return stepMeet
}

// blockType returns a block's type; what a short one gives is no matter but for
// its size.
func (p *planner) blockType(r *reader, in *instr) funcType {
	switch {
	case in.block >= 0:
		return p.m.types[in.block]
	case r.b[in.immAt] == typeVoid:
		return funcType{}
	}
	return funcType{results: r.b[in.immAt : in.immAt+1]}
}

func (p *planner) branch(r *reader, in *instr) {
	if in.op == opBrTable {
		labels := &reader{b: r.b, p: in.immAt}
		n := labels.u32()
		from := len(p.raw.b)
		p.raw.u32(n)
		for range n + 1 {
			label := labels.u32()
			p.raw.u32(p.label(label))
			p.mark(label)
			p.goes(stepMaybe, label)
		}
		p.goes(stepStop, 0)
		p.addRaw(patch{pos: in.immAt, kind: replaceRaw, cut: r.p - in.immAt}, from)
		p.charge(2)
		p.dead = true
		return
	}
	label := p.label(in.imm)
	switch target := &p.frames[len(p.frames)-1-int(in.imm)]; {
	case in.op == opBrIf && target.bare && !p.dead:
		// The same as if and br, of which the engine makes a compare and a jump;
		// of a br_if whose target has other sources too it makes five
		// instructions (wazero 1.12).
		p.add(patch{pos: in.pos, kind: replaceBranch, cut: r.p - in.pos, n: label + 1})
	case label != in.imm:
		p.add(patch{pos: in.immAt, kind: replaceU32, cut: r.p - in.immAt, n: label})
	}
	p.mark(in.imm)
	p.charge(cost(in.op))
	if in.op == opBr {
		p.goes(stepBranch, in.imm)
	} else if !p.dead {
		p.size.pop(1)
		p.goes(stepMaybe, in.imm)
	}
	switch {
	case in.op == opBr:
		p.dead = true
	case !p.dead:
		p.begin(r.p, segment{parent: int32(p.cur)})
	}
}

// bare reports whether a branch to the label of a block takes no values.
func (p *planner) bare(r *reader, in *instr) bool {
	switch {
	case in.block >= 0 && in.op == opLoop:
		return len(p.m.types[in.block].params) == 0
	case in.block >= 0:
		return len(p.m.types[in.block].results) == 0
	}
	return in.op == opLoop || r.b[in.immAt] == typeVoid
}

// sized plans the charges by size of memory and table operations.
func (p *planner) sized(r *reader, in *instr) {
	p.charge(cost(in.op))
	if p.dead {
		return
	}
	p.size.instr(in)
	grow := in.op == opMemoryGrow || in.sub == miscTableGrow
	var shift uint32
	switch {
	case grow:
	case in.sub == miscMemoryInit || in.sub == miscMemoryCopy || in.sub == miscMemoryFill:
		shift = memoryShift
	case in.sub == miscTableInit || in.sub == miscTableCopy || in.sub == miscTableFill:
		shift = tableShift
	default:
		return
	}
	p.bulk = true
	if grow {
		p.add(patch{pos: in.pos, kind: atGrow})
		p.add(patch{pos: r.p, kind: afterGrow, table: in.op != opMemoryGrow})
		return
	}
	p.add(patch{pos: in.pos, kind: atBulk, n: shift})
	if in.sub == miscMemoryFill || in.sub == miscMemoryCopy {
		p.add(patch{pos: in.pos, kind: atMove, n: in.sub})
	}
}

// mark notes a branch to a label.
func (p *planner) mark(label uint32) {
	if p.dead {
		return
	}
	height := len(p.frames) - 1 - int(label)
	p.frames[height].target = true
	if f := p.top(); height < f.lowest {
		f.lowest = height
	}
}

// goes tells size of a branch.
func (p *planner) goes(kind stepKind, label uint32) {
	if !p.dead {
		p.size.step(kind, p.frames[len(p.frames)-1-int(label)].id)
	}
}

// label renumbers a label: each strip-mined loop between here and there is two.
func (p *planner) label(label uint32) uint32 {
	inside := p.top().strips - p.frames[len(p.frames)-1-int(label)].strips
	return label + uint32(inside)
}

// renumber makes room for the refill import before the defined functions.
func (p *planner) renumber(r *reader, in *instr) {
	if n := p.m.renumbered(in.imm); n != in.imm {
		p.add(patch{pos: in.immAt, kind: replaceU32, cut: r.p - in.immAt, n: n})
	}
}

// merge moves the cost of segments into their parents where that keeps the
// total (always) or is cheaper than exactness (lump). Children have higher
// numbers than their parents.
func (p *planner) merge() {
	for i := len(p.segs) - 1; i > 0; i-- {
		s := &p.segs[i]
		if s.head || s.parent < 0 {
			continue
		}
		if s.always || s.cost <= lump {
			p.segs[s.parent].cost += s.cost
			s.cost = 0
		}
	}
	p.total = 0
	for i := range p.segs {
		if s := &p.segs[i]; s.head && !s.entry && s.cost == 0 {
			s.cost = 1 // an empty endless loop must end
		}
		p.total += uint64(p.segs[i].cost)
	}
}

func (p *planner) top() *frame { return &p.frames[len(p.frames)-1] }

func (p *planner) push(f frame) {
	f.lowest = len(p.frames)
	p.frames = append(p.frames, f)
}

func (p *planner) add(x patch) { p.patches = append(p.patches, x) }

// addRaw adds a patch with the raw bytes from there to the end.
func (p *planner) addRaw(x patch, from int) {
	x.from, x.to = uint32(from), uint32(len(p.raw.b))
	p.add(x)
}

func (p *planner) charge(c uint32) {
	if !p.dead {
		p.segs[p.cur].cost += c
	}
}

func (p *planner) begin(pos int, s segment) {
	p.cur = len(p.segs)
	p.segs = append(p.segs, s)
	p.add(patch{pos: pos, kind: atSegment, n: uint32(p.cur)})
}
