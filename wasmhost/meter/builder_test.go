package meter

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Hand-made modules, put together by section.

type sec struct {
	id   byte
	body []byte
}

func wasm(sections ...sec) []byte {
	w := writer{b: []byte(header)}
	for _, s := range sections {
		w.section(s.id, s.body)
	}
	return w.b
}

// vec is a vector of entries, each given as its bytes.
func vec(entries ...[]byte) []byte {
	w := writer{}
	w.u32(uint32(len(entries)))
	for _, e := range entries {
		w.raw(e)
	}
	return w.b
}

// repeat is a vector of n equal entries.
func repeat(n int, entry ...byte) []byte {
	w := writer{}
	w.u32(uint32(n))
	for range n {
		w.raw(entry)
	}
	return w.b
}

func text(s string) []byte {
	w := writer{}
	w.str(s)
	return w.b
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// leb is an unsigned LEB128.
func leb(v uint32) []byte { return appendUnsigned(nil, v) }

// fn is a function body of code without its end, and no locals.
func fn(code ...byte) []byte { return fnLocals(0, code...) }

// fnLocals is a function body with n locals of type i32.
func fnLocals(n uint32, code ...byte) []byte {
	w := writer{}
	if n == 0 {
		w.u32(0)
	} else {
		w.byte(1)
		w.u32(n)
		w.byte(typeI32)
	}
	w.raw(code)
	w.byte(opEnd)
	out := writer{}
	out.sized(w.b)
	return out.b
}

func times(n int, code ...byte) []byte {
	var out []byte
	for range n {
		out = append(out, code...)
	}
	return out
}

// sectionsOf returns a module of functions "() -> ()" with the given bodies.
func sectionsOf(bodies ...[]byte) []sec {
	return []sec{
		{secType, vec([]byte{0x60, 0, 0})},
		{secFunction, repeat(len(bodies), 0)},
		{secCode, vec(bodies...)},
	}
}

func exported(name string, kind byte, index uint32) []byte {
	return join(text(name), []byte{kind}, leb(index))
}

// kernels is testdata/kernels.wasm.
func kernels(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "kernels.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// unreserve renames the exports that Instrument added, so that the decoder
// takes its own output.
func unreserve(metered []byte) []byte {
	return bytes.ReplaceAll(metered, []byte(reservedPrefix), []byte("aacx_"))
}
