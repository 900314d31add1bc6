package meter

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

const minimalModule = header

// refusals is every rule of the gate with a module that breaks it, and nothing
// else.
func refusals() []struct {
	rule string
	wasm []byte
} {
	emptyType := sec{secType, vec([]byte{0x60, 0, 0})}
	importOf := func(module, name string, description ...byte) sec {
		return sec{secImport, vec(join(text(module), text(name), description))}
	}
	return []struct {
		rule string
		wasm []byte
	}{
		{"module_too_large", append([]byte(header), make([]byte, 8<<20)...)},
		{"too_many_types", wasm(sec{secType, repeat(4097, 0x60, 0, 0)})},
		{"too_many_parameters", wasm(sec{secType, vec(join([]byte{0x60}, repeat(129, typeI32), []byte{0}))})},
		{"too_many_parameters", wasm(sec{secType, vec(join([]byte{0x60, 0}, repeat(129, typeI32)))})},
		{"too_many_imports", wasm(sec{secType, vec([]byte{0x60, 0, 1, typeI64})},
			sec{secImport, join(leb(257), times(257, join(text("caxton"), text("now"), []byte{0, 0})...))})},
		{"unknown_import", wasm(emptyType, importOf("caxton", "fly", kindFunction, 0))},
		{"unknown_import", wasm(emptyType, importOf("wasi_snapshot_preview1", "path_open", kindFunction, 0))},
		{"unknown_import", wasm(emptyType, importOf(RefillModule, RefillName, kindFunction, 0))},
		{"unknown_import", wasm(emptyType, importOf("caxton", "timer_sit", kindFunction, 0))},
		{"unknown_import", wasm(importOf("env", "memory", kindMemory, 0, 1))},
		{"unknown_import", wasm(importOf("env", "table", kindTable, 0x70, 0, 1))},
		{"unknown_import", wasm(importOf("env", "g", kindGlobal, typeI32, 0))},
		{"import_signature", wasm(emptyType, importOf("caxton", "now", kindFunction, 0))},
		{"too_many_functions", wasm(emptyType, sec{secFunction, repeat(20_001, 0)})},
		{"function_too_large", wasm(sectionsOf(fn(times(128<<10, 0x01)...))...)},
		{"too_many_locals", wasm(sectionsOf(fnLocals(1001))...)},
		{"too_many_locals", wasm(sectionsOf(fnLocals(1<<32 - 1))...)},
		{"nested_too_deep", wasm(sectionsOf(fn(join(times(2048, opBlock, typeVoid), times(2048, opEnd))...))...)},
		{"nested_too_deep", wasm(sectionsOf(fn(join(times(65, opLoop, typeVoid), times(65, opEnd))...))...)},
		{"too_many_branches", wasm(sectionsOf(fn(times(4097, opI32Const, 0, opBrIf, 0)...))...)},
		{"too_many_branches", wasm(sectionsOf(fn(times(4097, opI32Const, 0, opIf, typeVoid, opEnd)...))...)},
		{"too_many_branches", wasm(sectionsOf(fn(times(4097, opMisc, miscMemoryFill, 0)...))...)},
		{"too_many_branches", wasm(sectionsOf(fn(times(4097, opMisc, miscMemoryCopy, 0, 0)...))...)},
		{"branch_table_too_large", wasm(sectionsOf(fn(join([]byte{opI32Const, 0, opBrTable}, repeat(4097, 0), []byte{0})...))...)},
		{"too_many_globals", wasm(sec{secGlobal, repeat(4097, typeI32, 0, opI32Const, 0, opEnd)})},
		{"too_many_exports", wasm(append(sectionsOf(fn())[:2:2], sec{secExport, repeat(4097, 1, 'x', 0, 0)}, sectionsOf(fn())[2])...)},
		{"reserved_export", wasm(append(sectionsOf(fn())[:2:2], sec{secExport, vec(exported("__cx_fuel", 0, 0))}, sectionsOf(fn())[2])...)},
		{"too_many_tables", wasm(sec{secTable, repeat(2, 0x70, 0, 1)})},
		{"table_too_large", wasm(sec{secTable, vec(join([]byte{0x70, 0}, leb(10_001)))})},
		{"too_many_segments", wasm(sec{secMemory, vec([]byte{0, 1})}, sec{secData, repeat(100_001, 1, 0)})},
		{"too_many_segments", wasm(sec{secTable, vec([]byte{0x70, 0, 1})}, sec{secElement, repeat(100_001, 1, 0, 0)})},
		{"too_many_segments", wasm(sec{secDataCount, leb(100_001)})},
		{"too_many_elements", wasm(sec{secTable, vec([]byte{0x70, 0, 1})}, sec{secElement, vec(join([]byte{5, 0x70}, repeat(100_001, opRefNull, 0x70, opEnd)))})},
		{"too_many_elements", wasm(sec{secTable, vec([]byte{0x70, 0, 1})}, sec{secElement, vec(
			join([]byte{5, 0x70}, repeat(60_000, opRefNull, 0x70, opEnd)), join([]byte{5, 0x70}, repeat(60_000, opRefNull, 0x70, opEnd)))})},
		{"memory_too_large", wasm(sec{secMemory, vec(join([]byte{0}, leb(16_385)))})},
		{"too_many_memories", wasm(sec{secMemory, repeat(2, 0, 1)})},
		{"shared_memory", wasm(sec{secMemory, vec([]byte{3, 1, 1})})},
		{"unsupported_feature", wasm(sec{secMemory, vec([]byte{4, 1})})},
		{"unsupported_feature", []byte("\x00asm\x0d\x00\x01\x00")},
		{"unsupported_feature", wasm(sec{secTag, vec([]byte{0, 0})})},
		{"unsupported_feature", wasm(sec{secType, vec([]byte{0x5f, 0})})},
		{"unsupported_feature", wasm(sec{secTable, vec([]byte{0x40, 0})})},
		{"unsupported_feature", wasm(sectionsOf(fn(0x12, 0))...)},                         // return_call
		{"unsupported_feature", wasm(sectionsOf(fn(0x08, 0))...)},                         // throw
		{"unsupported_feature", wasm(sectionsOf(fn(0x14, 0))...)},                         // call_ref
		{"unsupported_feature", wasm(sectionsOf(fn(0xfb, 0))...)},                         // struct.new
		{"unsupported_feature", wasm(sectionsOf(fn(0xfe, 3, 0))...)},                      // atomic.fence
		{"unsupported_feature", wasm(sectionsOf(fn(0xfd, 0x80, 2))...)},                   // relaxed vector
		{"unsupported_feature", wasm(sectionsOf(fn(opI32Const, 0, 0x28, 0x42, 0, 0))...)}, // load of memory 1
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range refusals() {
		_, err := Check(c.wasm, DefaultCaps())
		var refused *events.RefusedError
		if !errors.As(err, &refused) || refused.Rule != c.rule {
			t.Errorf("got %v, want a refusal by rule %s", err, c.rule)
		} else if refused.Detail == "" {
			t.Errorf("%s: no detail", c.rule)
		}
	}
}

// TestBounds admits a module that reaches a cap and no more.
func TestBounds(t *testing.T) {
	for name, m := range map[string][]byte{
		"types":     wasm(sec{secType, repeat(4096, 0x60, 0, 0)}),
		"locals":    wasm(sectionsOf(fnLocals(1000))...),
		"body":      wasm(sectionsOf(fn(times(128<<10-2, 0x01)...))...),
		"nesting":   wasm(sectionsOf(fn(join(times(2047, opBlock, typeVoid), times(2047, opEnd))...))...),
		"loops":     wasm(sectionsOf(fn(join(times(64, opLoop, typeVoid), times(64, opEnd))...))...),
		"loops/row": wasm(sectionsOf(fn(times(1000, opLoop, typeVoid, opEnd)...))...),
		"branches":  wasm(sectionsOf(fn(times(4096, opI32Const, 0, opBrIf, 0)...))...),
		"table":     wasm(sec{secTable, vec(join([]byte{0x70, 0}, leb(10_000)))}),
		"memory":    wasm(sec{secMemory, vec(join([]byte{0}, leb(16_384)))}),
	} {
		if _, err := Check(m, DefaultCaps()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	body := func(code ...byte) []byte { return wasm(sectionsOf(fn(code...))...) }
	for name, m := range map[string][]byte{
		"empty":                 nil,
		"magic":                 []byte("\x00asn\x01\x00\x00\x00"),
		"version":               []byte("\x00asm\x02\x00\x00\x00"),
		"short section":         append([]byte(header), secType, 5, 1),
		"unknown section":       wasm(sec{14, nil}),
		"order":                 wasm(sec{secMemory, vec([]byte{0, 1})}, sec{secType, vec()}),
		"repeated":              wasm(sec{secType, vec()}, sec{secType, vec()}),
		"trailing bytes":        wasm(sec{secType, []byte{0, 0}}),
		"vector beyond section": wasm(sec{secType, leb(100)}),
		"no bodies":             wasm(sectionsOf(fn())[:2]...),
		"bodies only":           wasm(sec{secCode, vec(fn())}),
		"value type":            wasm(sec{secType, vec([]byte{0x60, 1, 0x01, 0})}),
		"type form":             wasm(sec{secType, vec([]byte{0x20, 0, 0})}),
		"function's type":       wasm(sec{secFunction, vec([]byte{9})}),
		"start":                 wasm(sec{secStart, []byte{0}}),
		"custom name":           wasm(sec{secCustom, text("\xff")}),
		"LEB too long":          append([]byte(header), secType, 0x80, 0x80, 0x80, 0x80, 0x80, 0),
		"LEB too large":         append([]byte(header), secType, 0xff, 0xff, 0xff, 0xff, 0x1f),
		"opcode":                body(0xc5),
		"misc opcode":           body(opMisc, 18),
		"vector opcode":         body(opVector, 0x80, 0x04),
		"else without if":       body(opElse),
		"label":                 body(opBr, 1),
		"br_table label":        body(opI32Const, 0, opBrTable, 1, 0, 1),
		"local":                 body(opLocalGet, 0),
		"global":                body(opGlobalGet, 0),
		"call":                  body(opCall, 1),
		"ref.func":              body(opRefFunc, 1),
		"indirect type":         body(opI32Const, 0, opCallIndirect, 1, 0),
		"block type":            body(opBlock, 5, opEnd),
		"after the end":         body(opEnd, 0x01),
		"unended":               wasm(append(sectionsOf(fn())[:2:2], sec{secCode, vec([]byte{2, 0, 0x01})})...),
		"exported function":     wasm(sec{secExport, vec(exported("f", kindFunction, 0))}),
		"exported global":       wasm(sec{secExport, vec(exported("g", kindGlobal, 0))}),
		"export kind":           wasm(sec{secExport, vec(exported("x", 9, 0))}),
		"mutability":            wasm(sec{secGlobal, vec([]byte{typeI32, 2, opI32Const, 0, opEnd})}),
		"block in a constant":   wasm(sec{secGlobal, vec([]byte{typeI32, 0, opBlock, typeVoid, opEnd})}),
		"element flags":         wasm(sec{secElement, vec([]byte{8})}),
		"data flags":            wasm(sec{secData, vec([]byte{3})}),
		"memory flags":          wasm(sec{secMemory, vec([]byte{9, 1})}),
	} {
		_, err := Check(m, DefaultCaps())
		if !errors.Is(err, events.ErrInvalidWasm) {
			t.Errorf("%s: got %v, want ErrInvalidWasm", name, err)
		}
	}
}

func TestReport(t *testing.T) {
	m := wasm(
		sec{secType, vec([]byte{0x60, 0, 0}, []byte{0x60, 2, typeI32, typeI32, 1, typeI32}, []byte{0x60, 0, 1, typeI64})},
		sec{secImport, vec(join(text("caxton"), text("now"), []byte{0, 2}))},
		sec{secFunction, repeat(1, 1)},
		sec{secMemory, vec([]byte{1, 2, 9})},
		sec{secGlobal, vec(
			[]byte{typeI32, 1, opI32Const, 5, opEnd}, []byte{typeI64, 0, opI64Const, 5, opEnd},
			[]byte{typeI64, 1, opI64Const, 7, opEnd})},
		sec{secExport, vec(exported("caxton_handle", kindFunction, 1), exported("memory", kindMemory, 0))},
		sec{secCode, vec(fn(opI32Const, 0))},
	)
	got, err := Check(m, DefaultCaps())
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Size: len(m), Functions: 1, HasMemory: true, MemoryMinPages: 2, MemoryMaxPages: 9,
		Imports: []Import{{"caxton", "now", "() -> (i64)"}},
		Exports: []Export{
			{"caxton_handle", "function", "(i32, i32) -> (i32)"}, {"memory", "memory", ""},
		},
		StateGlobals: 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNotSnapshotable(t *testing.T) {
	table := sec{secTable, vec([]byte{0x70, 0, 1})}
	with := func(extra sec, code ...byte) []byte {
		s := sectionsOf(fn(code...))
		return wasm(s[0], s[1], extra, s[2])
	}
	for name, m := range map[string][]byte{
		"table.set":     with(table, opI32Const, 0, opRefNull, 0x70, opTableSet, 0),
		"table.grow":    with(table, opRefNull, 0x70, opI32Const, 0, opMisc, miscTableGrow, 0, opDrop),
		"data.drop":     wasm(sectionsOf(fn(opMisc, miscDataDrop, 0))...),
		"elem.drop":     wasm(sectionsOf(fn(opMisc, miscElemDrop, 0))...),
		"opaque global": wasm(sec{secGlobal, vec([]byte{0x70, 1, opRefNull, 0x70, opEnd})}),
	} {
		rep, err := Check(m, DefaultCaps())
		if err != nil || rep.Snapshotable() {
			t.Errorf("%s: snapshotable %v, error %v; want not", name, rep.Snapshotable(), err)
		}
	}
	if rep, err := Check(with(table, opI32Const, 0, opTableGet, 0, opDrop), DefaultCaps()); err != nil || !rep.Snapshotable() {
		t.Errorf("table.get: snapshotable %v, error %v; want snapshotable", rep.Snapshotable(), err)
	}
}

// TestFixtures: what people write passes, and what means harm is refused as
// its table says.
func TestFixtures(t *testing.T) {
	for _, name := range fixtures.Names() {
		rep, err := Check(fixtures.Agent(name), DefaultCaps())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !rep.Snapshotable() || !rep.HasMemory {
			t.Errorf("%s: snapshotable %v, memory %v; want both", name, rep.Snapshotable(), rep.HasMemory)
		}
	}
	for _, c := range fixtures.Hostile() {
		_, err := Check(c.Wasm, DefaultCaps())
		var refused *events.RefusedError
		switch {
		case c.Refusal == "" && err != nil:
			t.Errorf("%s: %v", c.Name, err)
		case c.Refusal != "" && (!errors.As(err, &refused) || refused.Rule != c.Refusal):
			t.Errorf("%s: got %v, want a refusal by rule %s", c.Name, err, c.Refusal)
		}
	}
	if _, err := Check([]byte(minimalModule), DefaultCaps()); err != nil {
		t.Errorf("the least module: %v", err)
	}
}

func TestCapsValidate(t *testing.T) {
	if err := DefaultCaps().Validate(); err != nil {
		t.Error(err)
	}
	err := Caps{}.Validate()
	var invalid *events.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Fields) != 19 {
		t.Errorf("got %v, want all 19 fields", err)
	}
	caps := DefaultCaps()
	caps.ModuleBytes = MaxModuleBytes + 1
	if _, _, err := Instrument([]byte(minimalModule), Options{Caps: caps}); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "module_bytes") {
		t.Errorf("got %v, want a fault of module_bytes", err)
	}
}

func TestCheckDepth(t *testing.T) {
	for depth, ok := range map[uint32]bool{0: false, 1: true, MaxDepth: true, MaxDepth + 1: false} {
		if err := CheckDepth(depth); (err == nil) != ok {
			t.Errorf("%d: %v", depth, err)
		}
	}
}

func TestCore(t *testing.T) {
	s := sectionsOf(fn())
	bare := wasm(s...)
	dressed := wasm(sec{secCustom, text("a")}, s[0], sec{secCustom, text("name")}, s[1], s[2], sec{secCustom, text("z")})
	core, err := Core(dressed)
	if err != nil || !bytes.Equal(core, bare) {
		t.Errorf("got %x, %v, want %x", core, err, bare)
	}
	if _, err := Core(nil); !errors.Is(err, events.ErrInvalidWasm) {
		t.Errorf("empty: %v", err)
	}
}

func TestOffered(t *testing.T) {
	for module, want := range map[string]int{CaxtonModule: 13, EnvModule: 15, WASIModule: 26, "other": 0} {
		if got := len(Offered(module)); got != want {
			t.Errorf("%s offers %d functions, want %d", module, got, want)
		}
	}
	if got := Offered(CaxtonModule)["msg_field"]; got != (Type{"iiii", "i"}) {
		t.Errorf("msg_field has type %v", got)
	}
}
