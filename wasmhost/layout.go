package wasmhost

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// layoutVersion says how tidy lays modules out: part of the name of compiled
// code, because the engine finds that by the bytes that it was given.
const layoutVersion = 2

// moduleSize is what of a module the engine holds for each instance.
type moduleSize struct {
	imports  int // functions
	globals  int
	tables   int // entries that its tables begin with
	elements int // entries of its element segments
	segments int // of data
	bytes    int // of the module as the engine is given it

	floats bool // whether the module computes with floats
}

// Sections of a module.
const (
	moduleHeader  = 8
	sectionImport = 2
	sectionTable  = 4
	sectionGlobal = 6
	sectionElem   = 9
	sectionData   = 11
	sectionCode   = 10
	sectionCount  = 12 // how many data segments there are
)

var errLayout = errors.New("not a module that was admitted")

// moduleReader reads a module that the meter wrote: what it cannot read is a
// fault of this program, reported once at the end.
type moduleReader struct {
	b   []byte
	bad bool
}

func (r *moduleReader) uint() uint64 {
	v, rest, ok := uvarint(r.b)
	if !ok {
		r.bad = true
	}
	r.b = rest
	return v
}

func (r *moduleReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad = true
		n = uint64(len(r.b))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *moduleReader) byte() byte {
	if b := r.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

// signed skips a signed number, and returns it: the engine has checked its form.
func (r *moduleReader) signed() (v int64) {
	for shift := 0; ; shift += 7 {
		b := r.byte()
		v |= int64(b&0x7f) << min(shift, 63)
		if b&0x80 == 0 || r.bad {
			if shift < 57 && b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

// constant skips a constant expression. plain says that it is a single i32.const.
func (r *moduleReader) constant() (v uint32, plain bool) {
	for n := 0; !r.bad; n++ {
		switch r.byte() {
		case opEnd:
			return v, plain && n == 1
		case opI32Const:
			v, plain = uint32(r.signed()), true
		case opI64Const:
			r.signed()
		case opGlobalGet, opRefFunc:
			r.uint()
		case opF32Const:
			r.bytes(4)
		case opF64Const:
			r.bytes(8)
		case opRefNull:
			r.byte()
		case opVector:
			r.uint()
			r.bytes(16)
		}
	}
	return 0, false
}

// section is one of a module, with its id and length.
type section struct {
	id          byte
	whole, body []byte
}

// tidy merges a metered module's data segments, which the Go linker writes by
// the ten thousand and of which the engine keeps 24 bytes each in every instance,
// and counts what else an instance costs. Segments that code refers to by number
// are left alone. Errors: errLayout.
func tidy(metered []byte) ([]byte, moduleSize, error) {
	r := moduleReader{b: metered}
	header := r.bytes(moduleHeader)
	var sections []section
	var size moduleSize
	var data []byte // the merged section; nil: as it is
	var code uses
	for len(r.b) > 0 && !r.bad {
		from := len(metered) - len(r.b)
		id := r.byte()
		body := r.bytes(r.uint())
		sections = append(sections, section{id, metered[from : len(metered)-len(r.b)], body})
		s := moduleReader{b: body}
		switch id {
		case sectionImport:
			size.imports = int(s.uint())
		case sectionGlobal:
			size.globals = int(s.uint())
		case sectionTable:
			size.tables = s.tableEntries()
		case sectionElem:
			size.elements = s.elements()
		case sectionCode:
			code = s.uses()
			size.floats = code.floats
		case sectionData:
			data, size.segments = s.mergeData(code.data)
		}
		r.bad = r.bad || s.bad
	}
	if r.bad {
		return nil, moduleSize{}, errLayout
	}
	out := append(make([]byte, 0, len(metered)+len(data)), header...)
	for _, s := range sections {
		switch {
		case s.id == sectionCount && data != nil:
			out = appendSection(out, s.id, binary.AppendUvarint(nil, uint64(size.segments)))
		case s.id == sectionData && data != nil:
			out = appendSection(out, s.id, data)
		default:
			out = append(out, s.whole...)
		}
	}
	return out, size, nil
}

func appendSection(out []byte, id byte, body []byte) []byte {
	out = binary.AppendUvarint(append(out, id), uint64(len(body)))
	return append(out, body...)
}

func (r *moduleReader) tableEntries() (n int) {
	for range r.uint() {
		r.byte() // type
		flags := r.byte()
		n += int(r.uint())
		if flags&1 != 0 {
			r.uint()
		}
		if r.bad {
			return 0
		}
	}
	return n
}

func (r *moduleReader) elements() (total int) {
	for range r.uint() {
		flags := r.uint()
		if flags&1 == 0 {
			if flags&2 != 0 {
				r.uint()
			}
			r.constant()
		}
		if flags&3 != 0 {
			r.byte()
		}
		n := r.uint()
		total += int(n)
		for range n {
			if flags&4 != 0 {
				r.constant()
			} else {
				r.uint()
			}
			if r.bad {
				return 0
			}
		}
		if r.bad {
			return 0
		}
	}
	return total
}

// maxDataGap is how many zeros are written between two segments to make one of
// them. They are kept once for a module, a segment once for each instance.
const maxDataGap = blockBytes

// maxDataZeros is how many zeros are written for a module in all. Without a bound
// an upload of small segments far apart would come to a hundred times its size.
const maxDataZeros = 1 << 20

// segment is a piece of a memory's initial content.
type segment struct {
	at   uint64
	data []byte
}

// mergeData returns the data section with neighbouring segments made one, and how
// many are left. It is nil when they are left as they are: when code refers to
// them, when they overlap (their order counts), when an offset is not a plain
// number, or when there is nothing to merge.
//
// A segment beyond the memory traps, merged or not: what was written before the
// trap is nobody's, because the instance is not made.
func (r *moduleReader) mergeData(referred bool) (merged []byte, n int) {
	count := int(r.uint())
	if referred || r.bad {
		return nil, count
	}
	var list []segment
	for range count {
		if r.bad || r.uint() != 0 {
			return nil, count
		}
		at, plain := r.constant()
		if !plain {
			return nil, count
		}
		list = append(list, segment{uint64(at), r.bytes(r.uint())})
	}
	if list = joined(list); list == nil || len(list) == count {
		return nil, count
	}
	merged = binary.AppendUvarint(nil, uint64(len(list)))
	for _, s := range list {
		merged = append(merged, 0, opI32Const)
		merged = appendSigned(merged, int64(int32(uint32(s.at))))
		merged = append(merged, opEnd)
		merged = binary.AppendUvarint(merged, uint64(len(s.data)))
		merged = append(merged, s.data...)
	}
	return merged, len(list)
}

// joined returns the segments by place, those with small gaps between them
// joined as far as maxDataZeros goes; nil when any two overlap.
func joined(list []segment) (out []segment) {
	slices.SortStableFunc(list, func(a, b segment) int { return cmp.Compare(a.at, b.at) })
	end, room := uint64(0), uint64(maxDataZeros)
	for _, s := range list {
		if s.at < end {
			return nil
		}
		if gap := s.at - end; len(out) > 0 && gap <= min(maxDataGap, room) {
			room -= gap
			last := &out[len(out)-1]
			last.data = append(append(last.data, zeroBlock[:gap]...), s.data...)
		} else {
			out = append(out, segment{s.at, bytes.Clone(s.data)})
		}
		end = s.at + uint64(len(s.data))
	}
	return out
}

func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
