package meter

import (
	"fmt"

	"github.com/caxton-run/caxton/events"
)

// fault carries an error out of the decoder. The decoder is a recursive descent
// with hundreds of reads; a panic of this one type, caught at the package's two
// entries, keeps it readable. Any other panic is a bug and passes.
type fault struct{ err error }

func malformed(format string, args ...any) {
	panic(fault{fmt.Errorf("%w: %s", events.ErrInvalidWasm, fmt.Sprintf(format, args...))})
}

func refuse(rule, format string, args ...any) {
	panic(fault{&events.RefusedError{Rule: rule, Detail: fmt.Sprintf(format, args...)}})
}

func unsupported(feature string) { refuse("unsupported_feature", "%s is not supported", feature) }

func catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case fault:
		*err = r.err
	default:
		panic(r)
	}
}

// reader walks bytes. It never reads past them and never copies.
type reader struct {
	b []byte
	p int
}

func (r *reader) more() bool { return r.p < len(r.b) }

func (r *reader) byte() byte {
	if r.p >= len(r.b) {
		malformed("unexpected end")
	}
	c := r.b[r.p]
	r.p++
	return c
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b)-r.p {
		malformed("unexpected end")
	}
	s := r.b[r.p : r.p+n : r.p+n]
	r.p += n
	return s
}

// bytes reads a length and as many bytes.
func (r *reader) bytes() []byte { return r.take(int(r.u32())) }

// short passes an integer of one byte, as nearly all are; it says whether it did.
// It is small enough for the compiler to put it inline, which the readers of
// longer ones are not.
func (r *reader) short() bool {
	if r.p >= len(r.b) || r.b[r.p] >= 0x80 {
		return false
	}
	r.p++
	return true
}

// u32 reads an unsigned LEB128 of 32 bits.
func (r *reader) u32() uint32 {
	if r.short() {
		return uint32(r.b[r.p-1])
	}
	return r.longU32()
}

func (r *reader) longU32() uint32 {
	var v uint64
	for shift := uint(0); shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if v > 0xffffffff {
				malformed("integer too large")
			}
			return uint32(v)
		}
	}
	malformed("integer representation too long")
	return 0
}

// s33 reads a signed LEB128 of 33 bits: a block type.
func (r *reader) s33() int64 {
	var v int64
	for shift := uint(0); shift < 35; shift += 7 {
		c := r.byte()
		v |= int64(c&0x7f) << shift
		if c < 0x80 {
			if c&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	malformed("integer representation too long")
	return 0
}

// skipLEB passes an integer of at most n bytes; its range is the engine's to
// check.
func (r *reader) skipLEB(n int) {
	for i, c := range r.b[r.p:] {
		if i == n {
			break
		}
		if c < 0x80 {
			r.p += i + 1
			return
		}
	}
	if len(r.b)-r.p < n {
		malformed("unexpected end")
	}
	malformed("integer representation too long")
}

// count reads the length of a vector whose entries take at least one byte each,
// and refuses more than limit.
func (r *reader) count(rule string, limit int) int {
	n := r.u32()
	if uint64(n) > uint64(limit) {
		refuse(rule, "%d, at most %d", n, limit)
	}
	if int(n) > len(r.b)-r.p {
		malformed("vector of %d entries in %d bytes", n, len(r.b)-r.p)
	}
	return int(n)
}

// valueType reads one of the seven value types of WebAssembly 2.0.
func (r *reader) valueType() byte {
	c := r.byte()
	switch {
	case isValueType(c):
	case c >= 0x63 && c <= 0x74 || c == 0x77 || c == 0x78:
		unsupported(fmt.Sprintf("value type %#x (garbage collection, typed references, exceptions)", c))
	default:
		malformed("value type %#x", c)
	}
	return c
}

func isValueType(c byte) bool { return c >= 0x7b && c <= 0x7f || c == 0x70 || c == 0x6f }
