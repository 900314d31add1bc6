package wasmhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/tetratelabs/wazero"
	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// sectionBytes is a section with its id and length.
func sectionBytes(id byte, body ...[]byte) []byte {
	return appendSection(nil, id, bytes.Join(body, nil))
}

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// dataModule has a memory of one page, the data segments given, and a function.
// counted adds the section that says how many segments there are.
func dataModule(list []segment, counted bool, code ...byte) []byte {
	data := leb(len(list))
	for _, s := range list {
		data = append(appendSigned(append(data, 0, opI32Const), int64(int32(uint32(s.at)))), opEnd)
		data = append(binary.AppendUvarint(data, uint64(len(s.data))), s.data...)
	}
	body := append(append([]byte{0}, code...), opEnd)
	wasm := []byte("\x00asm\x01\x00\x00\x00")
	wasm = append(wasm, sectionBytes(1, []byte{1, 0x60, 0, 0})...)
	wasm = append(wasm, sectionBytes(3, []byte{1, 0})...)
	wasm = append(wasm, sectionBytes(5, []byte{1, 0, 1})...)
	wasm = append(wasm, sectionBytes(7, []byte("\x01\x06memory\x02\x00"))...)
	if counted {
		wasm = append(wasm, sectionBytes(sectionCount, leb(len(list)))...)
	}
	wasm = append(wasm, sectionBytes(sectionCode, []byte{1}, leb(len(body)), body)...)
	return append(wasm, sectionBytes(sectionData, data)...)
}

// initialMemory is what a module's memory begins with, or why it has none.
func initialMemory(t rapid.TB, wasm []byte) ([]byte, error) {
	t.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, engineConfig(true))
	defer func() { _ = rt.Close(ctx) }()
	code, err := rt.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatalf("not a module: %v", err)
	}
	mod, err := rt.InstantiateModule(ctx, code, wazero.NewModuleConfig())
	if err != nil {
		return nil, err
	}
	b, _ := mod.Memory().Read(0, mod.Memory().Size())
	return bytes.Clone(b), nil
}

// TestTidyKeepsMemory: whatever segments a module has, in whatever order, over
// each other or beyond the memory, its memory begins as it would have.
func TestTidyKeepsMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		place := rapid.OneOf(rapid.Uint64Range(0, 8000), rapid.Uint64Range(65_000, 65_600), rapid.Just[uint64](1<<32-1))
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) segment {
			return segment{place.Draw(t, "at"), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data")}
		}), 0, 30).Draw(t, "segments")
		wasm := dataModule(list, rapid.Bool().Draw(t, "counted"))
		neat, size, err := tidy(wasm)
		if err != nil {
			t.Fatal(err)
		}
		want, wantErr := initialMemory(t, wasm)
		got, gotErr := initialMemory(t, neat)
		if (wantErr == nil) != (gotErr == nil) || !bytes.Equal(want, got) {
			t.Fatalf("before %v, after %v, the same memory: %v", wantErr, gotErr, bytes.Equal(want, got))
		}
		if size.segments > len(list) {
			t.Fatalf("%d segments of %d", size.segments, len(list))
		}
	})
}

// TestTidyMerges: what may be merged is, and what code refers to is not.
func TestTidyMerges(t *testing.T) {
	two := []segment{{100, []byte("one")}, {110, []byte("two")}}
	zero := []byte{opI32Const, 0, opI32Const, 0, opI32Const, 0}
	for _, c := range []struct {
		name    string
		list    []segment
		counted bool
		code    []byte
		want    int
	}{
		{"neighbours", two, false, nil, 1},
		{"neighbours, counted", two, true, nil, 1},
		{"in the other order", []segment{two[1], two[0]}, false, nil, 1},
		{"far apart", []segment{two[0], {5000, []byte("two")}}, false, nil, 2},
		{"overlapping", []segment{two[0], {101, []byte("two")}}, false, nil, 2},
		{"named by memory.init", two, true, append(zero, opMisc, miscMemoryInit, 1, 0), 2},
		{"named by data.drop", two, true, []byte{opMisc, miscDataDrop, 1}, 2},
		{"beside a number like memory.init", two, true, []byte{opI32Const, opMisc | 0x80, miscMemoryInit, 0x1a}, 1},
		{"with memory.fill", two, true, append(zero, opMisc, miscFill, 0), 1},
	} {
		neat, size, err := tidy(dataModule(c.list, c.counted, c.code...))
		if err != nil || size.segments != c.want {
			t.Errorf("%s: %d segments, want %d; %v", c.name, size.segments, c.want, err)
		}
		if _, err := initialMemory(t, neat); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestInstructionsAreRead: each instruction with operands is passed over, however
// its operands look: a reference to a data segment right behind it is found, and
// none is found before.
func TestInstructionsAreRead(t *testing.T) {
	for name, code := range map[string][]byte{
		"block":         {opBlock, 0x40, opEnd},
		"loop of type":  {opLoop, 0xfc, 0x08, opEnd},
		"br_table":      {opBrTable, 2, 0xfc, 0x08, 0x80, 0x01, 0},
		"call_indirect": {opCallIndirect, 0xfc, 0x08, 0},
		"select":        {opSelectTyped, 1, 0x7f},
		"local.get":     {opLocalGet, 0xfc, 0x08},
		"i32.load":      {opLoad, 2, 0xfc, 0x08},
		"i64.store32":   {opStore, 2, 0xfc, 0x88, 0x09},
		"memory.grow":   {opMemoryGrow, 0},
		"i64.const":     {opI64Const, 0xfc, 0x88, 0x89, 0x08},
		"f32.const":     {opF32Const, 0xfc, 0x08, 0, 0},
		"f64.const":     {opF64Const, 0xfc, 0x08, 0xfc, 0x08, 0xfc, 0x09, 0, 0},
		"ref.null":      {opRefNull, 0x70},
		"ref.func":      {opRefFunc, 0xfc, 0x08},
		"trunc_sat":     {opMisc, 7},
		"memory.copy":   {opMisc, miscMemoryCopy, 0, 0},
		"memory.fill":   {opMisc, miscFill, 0},
		"table.init":    {opMisc, miscTableInit, 0xfc, 0x08, 0},
		"elem.drop":     {opMisc, 13, 0xfc, 0x08},
		"table.copy":    {opMisc, miscTableCopy, 0, 0},
		"table.fill":    {opMisc, miscTableLast, 0},
		"v128.load":     {opVector, 0, 4, 0xfc, 0x08},
		"v128.const":    append([]byte{opVector, 12}, bytes.Repeat([]byte{0xfc, 0x08}, 8)...),
		"shuffle":       append([]byte{opVector, 13}, bytes.Repeat([]byte{0xfc, 0x08}, 8)...),
		"extract_lane":  {opVector, 21, 0x08},
		"load_lane":     {opVector, 84, 0, 0xfc, 0x08, 1},
		"load_zero":     {opVector, 92, 2, 0xfc, 0x08},
		"i32x4.add":     {opVector, 0xae, 0x01},
		"i32.add":       {0x6a},
	} {
		alone, seen := moduleReader{b: code}, uses{}
		for len(alone.b) > 0 {
			alone.instruction(&seen)
		}
		if seen != (uses{}) {
			t.Errorf("%s: %+v is seen where there is none", name, seen)
		}
		if alone.bad {
			t.Errorf("%s: read beyond its end", name)
		}
		before, found := moduleReader{b: append(bytes.Clone(code), opMisc, miscDataDrop, 0, opF64Ceil)}, uses{}
		for len(before.b) > 0 {
			before.instruction(&found)
		}
		if found != (uses{true, true}) || before.bad {
			t.Errorf("%s: what is behind it is not seen, but %+v", name, found)
		}
	}
}

// TestTidyGuests: real guests keep nearly no segments; the Go linker writes tens
// of thousands.
func TestTidyGuests(t *testing.T) {
	for _, name := range fixtures.Names() {
		metered, _, err := meter.Instrument(fixtures.Agent(name), meter.Options{Caps: meter.DefaultCaps()})
		if err != nil {
			t.Fatal(err)
		}
		_, size, err := tidy(metered)
		if err != nil || size.segments > 16 {
			t.Errorf("%s: %+v, %v", name, size, err)
		}
	}
}

// FuzzTidy: no bytes make it panic, hang or lose its way; a module that it takes
// it takes again, and leaves as it is.
func FuzzTidy(f *testing.F) {
	f.Add(dataModule([]segment{{1, []byte("a")}, {9, []byte("b")}}, true))
	for _, name := range []string{"probe", "busy", "table-set"} {
		f.Add(testModule(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		neat, size, err := tidy(b)
		if err != nil {
			return
		}
		again, sizeAgain, err := tidy(neat)
		if err != nil || !bytes.Equal(neat, again) || fmt.Sprint(size) != fmt.Sprint(sizeAgain) {
			t.Errorf("%+v, then %+v, %v", size, sizeAgain, err)
		}
	})
}

// TestJoinedZerosAreBounded: small segments far apart come to no more than their
// bytes and the zeros that a module may have.
func TestJoinedZerosAreBounded(t *testing.T) {
	const count = 4000
	var list []segment
	for i := range uint64(count) {
		list = append(list, segment{i * (maxDataGap + 1), []byte{1}})
	}
	size, segments := 0, joined(list)
	for _, s := range segments {
		size += len(s.data)
	}
	if want := maxDataZeros/maxDataGap*maxDataGap + count; size != want {
		t.Errorf("%d segments of %d bytes, want %d bytes", len(segments), size, want)
	}
	if joins := count - len(segments); joins != maxDataZeros/maxDataGap {
		t.Errorf("%d joins, want %d", joins, maxDataZeros/maxDataGap)
	}
}

// TestFloatsAreSeen: arithmetic whose NaN the processor chooses, and no other.
func TestFloatsAreSeen(t *testing.T) {
	for _, c := range []struct {
		name string
		code []byte
		want bool
	}{
		{"f32.abs", []byte{0x8b}, false}, {"f32.neg", []byte{0x8c}, false}, {"f32.ceil", []byte{0x8d}, true},
		{"f32.add", []byte{0x92}, true}, {"f32.max", []byte{0x97}, true}, {"f32.copysign", []byte{0x98}, false},
		{"f64.neg", []byte{0x9a}, false}, {"f64.ceil", []byte{0x9b}, true}, {"f64.div", []byte{0xa3}, true},
		{"f64.max", []byte{0xa5}, true}, {"f64.copysign", []byte{0xa6}, false}, {"f64.lt", []byte{0x63}, false},
		{"f32.demote_f64", []byte{0xb6}, true}, {"f64.promote_f32", []byte{0xbb}, true}, {"f64.convert_i32_s", []byte{0xb7}, false},
		{"i64.reinterpret_f64", []byte{0xbd}, false}, {"i32.add", []byte{0x6a}, false},
		{"f32x4.mul", []byte{opVector, 0xe6, 0x01}, true}, {"f64x2.sqrt", []byte{opVector, 0xef, 0x01}, true},
		{"f64x2.nearest", []byte{opVector, 0x94, 0x01}, true}, {"i64x2.add", []byte{opVector, 0xce, 0x01}, false},
		{"i32x4.trunc_sat_f32x4_s", []byte{opVector, 0xf8, 0x01}, false},
	} {
		r, seen := moduleReader{b: c.code}, uses{}
		if r.instruction(&seen); r.bad || len(r.b) > 0 || seen.floats != c.want {
			t.Errorf("%s: %+v, bad %v, %d bytes left", c.name, seen, r.bad, len(r.b))
		}
	}
}

// TestMachine: which guests belong to a machine. A C guest that computes with
// integers runs the same on all.
func TestMachine(t *testing.T) {
	h := hostWith(t, nil, false)
	for name, want := range map[string]string{"counter-c": "", "kv-go": runtime.GOARCH} {
		if got := compileFixture(t, h, name).Machine(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
