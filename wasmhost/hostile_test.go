package wasmhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestRefusedAtScale offers modules that are too large to be committed: each is
// refused by name before anything that costs is done with it. Smaller ones are
// in fixtures/agents/hostile.
func TestRefusedAtScale(t *testing.T) {
	h := testHost(t)
	const (
		block, loop, ifElse, end, brTable, i32 = 0x02, 0x03, 0x04, 0x0b, 0x0e, 0x41
		void                                   = 0x40
	)
	nested := func(op byte, n int) []byte {
		return bytes.Join([][]byte{bytes.Repeat([]byte{op, void}, n), bytes.Repeat([]byte{end}, n)}, nil)
	}
	arms := binary.AppendUvarint([]byte{i32, 0, brTable}, 500_000)
	for name, c := range map[string]struct {
		wasm []byte
		rule string
	}{
		"br_table of 500,000":  {functions(1, append(arms, make([]byte, 500_001)...)), "function_too_large"},
		"50,000 nested blocks": {functions(1, nested(block, 50_000)), "function_too_large"},
		"5,000 nested loops":   {functions(1, nested(loop, 5_000)), "nested_too_deep"},
		"50,000 ifs":           {functions(1, bytes.Repeat([]byte{i32, 0, ifElse, void, end}, 50_000)), "function_too_large"},
		"500,000 functions":    {functions(500_000, nil), "too_many_functions"},
	} {
		m, err := h.Compile(context.Background(), c.wasm)
		var refused *events.RefusedError
		if !errors.As(err, &refused) || refused.Rule != c.rule {
			t.Errorf("%s: got %v, want a refusal by rule %s", name, err, c.rule)
		}
		if err == nil {
			m.Release()
		}
	}
}

// functions is a module of n functions () -> () with one body.
func functions(n int, code []byte) []byte {
	sized := func(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }
	count := binary.AppendUvarint(nil, uint64(n))
	body := sized(append(append([]byte{0}, code...), 0x0b))
	wasm := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00")
	wasm = append(append(wasm, 3), sized(append(count, make([]byte, n)...))...)
	return append(append(wasm, 10), sized(append(count, bytes.Repeat(body, n)...))...)
}
