package meter

// writer appends WebAssembly encodings.
type writer struct{ b []byte }

func (w *writer) byte(c ...byte)          { w.b = append(w.b, c...) }
func (w *writer) raw(b []byte)            { w.b = append(w.b, b...) }
func (w *writer) u32(v uint32)            { w.b = appendUnsigned(w.b, v) }
func (w *writer) str(s string)            { w.u32(uint32(len(s))); w.b = append(w.b, s...) }
func (w *writer) sized(b []byte)          { w.u32(uint32(len(b))); w.raw(b) }
func (w *writer) i32(v int32)             { w.byte(opI32Const); w.b = appendSigned(w.b, int64(v)) }
func (w *writer) i64(v int64)             { w.byte(opI64Const); w.b = appendSigned(w.b, v) }
func (w *writer) op1(op byte, imm uint32) { w.byte(op); w.u32(imm) }

// size puts the size of what was written from there on before it.
func (w *writer) size(from int) {
	n := len(w.b) - from
	w.u32(uint32(n))
	var prefix [5]byte
	k := copy(prefix[:], w.b[from+n:])
	copy(w.b[from+k:], w.b[from:from+n])
	copy(w.b[from:], prefix[:k])
}

// section writes a whole section.
func (w *writer) section(id byte, body []byte) {
	w.byte(id)
	w.sized(body)
}

func appendUnsigned(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
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
