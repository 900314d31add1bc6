package meter

import (
	"cmp"
	"slices"
	"strings"
)

// rewriteNames returns a name section with the module's function names under
// their new numbers, so that traps and profiles show the guest's own names.
// Local and label names are dropped. Without names, or when the section does not
// parse, exported functions are named as they are exported: names are a
// convenience, not a reason to refuse. nil when there are none of these either.
func (m *module) rewriteNames() []byte {
	names := m.functionNames()
	if len(names) == 0 {
		names = m.exportedNames()
	}
	for i, f := range m.bulkFunctions() {
		names = append(names, functionName{uint32(len(m.funcs) + i), f.name})
	}
	if len(names) == 0 {
		return nil
	}
	sub := writer{}
	sub.u32(uint32(len(names)))
	for _, e := range names {
		sub.u32(m.renumbered(e.index))
		sub.str(e.name)
	}
	w := writer{}
	w.str("name")
	w.section(1, sub.b)
	return w.b
}

type functionName struct {
	index uint32
	name  string
}

// maxFunctionName bounds one name: C++ and Rust mangle long ones, and every
// frame of a trap shows one.
const maxFunctionName = 512

func (m *module) functionNames() (names []functionName) {
	var err error
	defer func() {
		if err != nil {
			names = nil
		}
	}()
	defer catch(&err)
	r := &reader{b: m.names}
	for r.more() {
		id := r.byte()
		body := r.bytes()
		if id != 1 {
			continue
		}
		s := &reader{b: body}
		last := int64(-1)
		for range s.u32() {
			e := functionName{index: s.u32()}
			raw := s.bytes()
			if int64(e.index) <= last || int(e.index) >= len(m.funcs) {
				malformed("function name %d", e.index)
			}
			last = int64(e.index)
			e.name = cleanName(raw)
			names = append(names, e)
		}
		return names
	}
	return nil
}

// exportedNames returns the functions that are exported, each under the first of
// its names, by index.
func (m *module) exportedNames() (names []functionName) {
	for _, e := range m.exports {
		if e.kind == kindFunction {
			names = append(names, functionName{e.index, cleanName([]byte(e.name))})
		}
	}
	slices.SortStableFunc(names, func(a, b functionName) int { return cmp.Compare(a.index, b.index) })
	return slices.CompactFunc(names, func(a, b functionName) bool { return a.index == b.index })
}

// cleanName cuts a name to its bound and to valid UTF-8, which engines demand.
func cleanName(raw []byte) string {
	if len(raw) > maxFunctionName {
		raw = raw[:maxFunctionName]
	}
	return strings.ToValidUTF8(string(raw), "?")
}
