package meter

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// The WebAssembly specification's own tests, as they ship with the engine, must
// pass as often on instrumented modules as on originals.

type specCommand struct {
	Type       string      `json:"type"`
	Line       int         `json:"line"`
	Name       string      `json:"name"`
	As         string      `json:"as"`
	Filename   string      `json:"filename"`
	ModuleType string      `json:"module_type"`
	Action     specAction  `json:"action"`
	Expected   []specValue `json:"expected"`
	Text       string      `json:"text"`
}

type specAction struct {
	Type   string      `json:"type"`
	Module string      `json:"module"`
	Field  string      `json:"field"`
	Args   []specValue `json:"args"`
}

type specValue struct {
	Type     string          `json:"type"`
	LaneType string          `json:"lane_type"`
	Value    json.RawMessage `json:"value"`
}

// lane is one scalar: bits, its width, and whether any NaN will do.
type lane struct {
	bits  uint64
	width int
	float bool
	nan   bool
}

func (v specValue) lanes() []lane {
	var texts []string
	kind := v.Type
	if v.Type == "v128" {
		kind = v.LaneType
		_ = json.Unmarshal(v.Value, &texts)
	} else {
		var s string
		_ = json.Unmarshal(v.Value, &s)
		texts = []string{s}
	}
	width, err := strconv.Atoi(strings.TrimLeft(kind, "if"))
	if err != nil {
		width = 64 // references
	}
	var out []lane
	for _, s := range texts {
		l := lane{width: width, float: kind[0] == 'f' && kind != "funcref"}
		switch {
		case strings.HasPrefix(s, "nan:"):
			l.nan = true
		case s == "null":
		default:
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				i, _ := strconv.ParseInt(s, 10, 64)
				n = uint64(i) & (1<<(width-1)<<1 - 1)
			}
			if strings.HasSuffix(v.Type, "ref") {
				n++ // 0 is null
			}
			l.bits = n
		}
		out = append(out, l)
	}
	return out
}

// slots packs lanes into the engine's 64-bit stack slots.
func (v specValue) slots() []uint64 {
	var out []uint64
	at := 0
	for _, l := range v.lanes() {
		if at%64 == 0 {
			out = append(out, 0)
		}
		out[len(out)-1] |= l.bits << (at % 64)
		at += l.width
	}
	return out
}

func (v specValue) matches(slots []uint64) bool {
	at := 0
	for _, l := range v.lanes() {
		got := slots[at/64] >> (at % 64)
		if l.width < 64 {
			got &= 1<<l.width - 1
		}
		at += l.width
		switch {
		case !l.nan && got == l.bits:
		case l.nan && l.width == 32 && got&0x7fc00000 == 0x7fc00000:
		case l.nan && l.width == 64 && got&0x7ff8000000000000 == 0x7ff8000000000000:
		default:
			return false
		}
	}
	return true
}

type specRun struct {
	t       *testing.T
	dir     string
	metered bool
	slice   int64
	rt      wazero.Runtime
	mods    []api.Module
	named   map[string]api.Module
	last    api.Module
	passed  map[string]int
	failed  []string
	heard   *specListener // of the functions that run; nil in a mode without
	granted int64         // since refuel
	burnt   int64         // by all actions
}

// caps wide enough for the suites, which test other bounds.
func specCaps() Caps {
	c := DefaultCaps()
	c.Tables, c.TableEntries, c.Arity, c.MemoryPages, c.Locals, c.Nesting = 100, 1<<24, 1000, 65_536, 50_000, 1<<16
	c.Branches, c.BranchTable, c.FrameBytes = 1<<20, 1<<20, 8<<20
	return c
}

func newSpecRun(t *testing.T, dir string, metered bool, slice int64, cfg wazero.RuntimeConfig) *specRun {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, cfg)
	t.Cleanup(func() { _ = rt.Close(ctx) })
	s := &specRun{t: t, dir: dir, metered: metered, slice: slice, rt: rt, named: map[string]api.Module{}, passed: map[string]int{}}
	wasm, err := os.ReadFile(filepath.Join(dir, "..", "..", "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rt.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName("spectest")); err != nil {
		t.Fatal(err)
	}
	_, err = rt.NewHostModuleBuilder(RefillModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(s.refill), []api.ValueType{api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64}).
		Export(RefillName).Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *specRun) refill(_ context.Context, mod api.Module, stack []uint64) {
	if stack[0] == Look {
		return
	}
	g := mod.ExportedGlobal(FuelGlobal).(api.MutableGlobal)
	g.Set(g.Get() + uint64(s.slice))
	stack[0] += uint64(s.slice)
	s.granted += s.slice
}

func (s *specRun) instantiate(file, name string) (mod api.Module, err error) {
	ctx := context.Background()
	wasm, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return nil, err
	}
	if s.metered {
		// As the host does: the original is validated first.
		code, err := s.rt.CompileModule(ctx, wasm)
		if err != nil {
			return nil, err
		}
		_ = code.Close(ctx)
		var rep Report
		if wasm, rep, err = Instrument(wasm, Options{Caps: specCaps()}); err != nil {
			return nil, err
		}
		ctx = s.listening(rep)
	}
	code, err := s.rt.CompileModule(ctx, wasm)
	if err != nil {
		return nil, err
	}
	mod, err = s.rt.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName(name).WithStartFunctions())
	if err != nil {
		return nil, err
	}
	if s.metered {
		s.mods = append(s.mods, mod)
		s.refuel()
		if f := mod.ExportedFunction(StartExport); f != nil {
			_, err := f.Call(ctx)
			s.settle(err)
			if err != nil {
				return nil, err
			}
		}
	}
	return mod, nil
}

// listening is what a module is compiled with: in profiled modes, as the host does it,
// with a listener for all functions but those that the meter added behind the guest's.
func (s *specRun) listening(rep Report) context.Context {
	if s.heard == nil {
		return context.Background()
	}
	return experimental.WithFunctionListenerFactory(context.Background(), specListening{s.heard, FirstAdded(rep)})
}

// settle counts the fuel of an action that has ended, and wants the listener to have
// heard the end of every function. Of a trap the engine tells the innermost 30 only: an
// instance is not used after one, and the first has been charged with all that was used.
func (s *specRun) settle(err error) {
	if !s.metered {
		return
	}
	s.burnt += s.granted
	for _, m := range s.mods {
		s.burnt -= int64(m.ExportedGlobal(FuelGlobal).Get())
	}
	if s.heard == nil {
		return
	}
	if s.heard.running != 0 && err == nil {
		s.t.Errorf("%d functions were entered and not left", s.heard.running)
	}
	s.heard.running = 0
}

// refuel sets the depth of every module: a call may cross into others.
func (s *specRun) refuel() {
	s.granted = 0
	for _, m := range s.mods {
		m.ExportedGlobal(DepthGlobal).(api.MutableGlobal).Set(1500)
		m.ExportedGlobal(FuelGlobal).(api.MutableGlobal).Set(0)
	}
}

func (s *specRun) act(a specAction) ([]uint64, error) {
	mod := s.last
	if a.Module != "" {
		mod = s.named[a.Module]
	}
	if mod == nil {
		return nil, fmt.Errorf("no module %q", a.Module)
	}
	if a.Type == "get" {
		g := mod.ExportedGlobal(a.Field)
		if g == nil {
			return nil, fmt.Errorf("no global %q", a.Field)
		}
		return []uint64{g.Get()}, nil
	}
	f := mod.ExportedFunction(a.Field)
	if f == nil {
		return nil, fmt.Errorf("no function %q", a.Field)
	}
	var args []uint64
	for _, v := range a.Args {
		args = append(args, v.slots()...)
	}
	s.refuel()
	results, err := f.Call(context.Background(), args...)
	s.settle(err)
	return results, err
}

func (s *specRun) command(c specCommand) (ok bool) {
	switch c.Type {
	case "module":
		mod, err := s.instantiate(c.Filename, c.Name)
		s.last = mod
		if c.Name != "" {
			s.named[c.Name] = mod
		}
		return err == nil
	case "register":
		return false // agents are never linked with each other
	case "action", "assert_return":
		got, err := s.act(c.Action)
		if err != nil {
			return false
		}
		at := 0
		for _, v := range c.Expected {
			if !v.matches(got[at:]) {
				return false
			}
			at += len(v.slots())
		}
		return true
	case "assert_trap", "assert_exhaustion":
		_, err := s.act(c.Action)
		return err != nil
	case "assert_invalid", "assert_malformed", "assert_unlinkable", "assert_uninstantiable":
		if c.ModuleType == "text" {
			return true
		}
		_, err := s.instantiate(c.Filename, "")
		return err != nil
	}
	return false
}

func (s *specRun) file(path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var suite struct {
		Commands []specCommand `json:"commands"`
	}
	if err := json.Unmarshal(b, &suite); err != nil {
		s.t.Fatal(err)
	}
	for _, c := range suite.Commands {
		if s.command(c) {
			s.passed[c.Type]++
		} else {
			s.failed = append(s.failed, fmt.Sprintf("%s:%d %s", filepath.Base(path), c.Line, c.Type))
		}
	}
}

func specDir(t *testing.T, version string) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Skip("the engine's sources are not at hand: ", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest", version, "testdata")
}

func TestSpecificationSuites(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of modules")
	}
	features := api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst
	modes := []struct {
		name     string
		cfg      wazero.RuntimeConfig
		slice    int64
		profiled bool
	}{
		{"compiler", wazero.NewRuntimeConfigCompiler(), 100_000, false},
		{"compiler, slices of 1", wazero.NewRuntimeConfigCompiler(), 1, false},
		{"interpreter", wazero.NewRuntimeConfigInterpreter(), 1, false},
		{"compiler, profiled", wazero.NewRuntimeConfigCompiler(), 1, true},
	}
	for _, version := range []string{"v1", "v2"} {
		for _, mode := range modes {
			t.Run(version+"/"+mode.name, func(t *testing.T) {
				specSuite(t, specDir(t, version), mode.slice, mode.profiled, mode.cfg.WithCoreFeatures(features))
			})
		}
	}
}

func specSuite(t *testing.T, dir string, slice int64, profiled bool, cfg wazero.RuntimeConfig) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no suites in ", dir, err)
	}
	total, heard := 0, 0
	for _, f := range files {
		plain := newSpecRun(t, dir, false, slice, cfg)
		plain.file(f)
		metered := newSpecRun(t, dir, true, slice, cfg)
		if profiled {
			metered.heard = new(specListener)
		}
		metered.file(f)
		if profiled {
			sameFuel(t, f, metered, cfg)
			heard += metered.heard.calls
		}
		lost := map[string]bool{}
		for _, x := range metered.failed {
			lost[x] = true
		}
		for _, x := range plain.failed {
			delete(lost, x)
		}
		for x := range lost {
			t.Error("passes plain, fails metered: ", x)
		}
		for _, n := range metered.passed {
			total += n
		}
	}
	t.Logf("%d commands pass metered, %d calls of functions were heard of", total, heard)
	if profiled && heard < total {
		t.Errorf("only %d calls were heard of in %d commands: nothing listens", heard, total)
	}
	if total < 1000 {
		t.Errorf("only %d commands pass: the runner is broken", total)
	}
}

// sameFuel wants a profiled run of a suite to have used what one without listeners does.
func sameFuel(t *testing.T, file string, profiled *specRun, cfg wazero.RuntimeConfig) {
	bare := newSpecRun(t, profiled.dir, true, profiled.slice, cfg)
	bare.file(file)
	if bare.burnt != profiled.burnt {
		t.Errorf("%s: %d fuel, and profiled %d", filepath.Base(file), bare.burnt, profiled.burnt)
	}
}

// specListener hears of the functions that run, as a profile does.
type specListener struct{ calls, running int }

// specListening gives it the functions of one module.
type specListening struct {
	*specListener
	added uint32 // the first function that the meter added behind the module's
}

func (l specListening) NewFunctionListener(def api.FunctionDefinition) experimental.FunctionListener {
	if def.Index() >= l.added {
		return nil
	}
	return l.specListener
}

func (l *specListener) Before(context.Context, api.Module, api.FunctionDefinition, []uint64, experimental.StackIterator) {
	l.calls++
	l.running++
}

func (l *specListener) After(context.Context, api.Module, api.FunctionDefinition, []uint64) {
	l.running--
}

func (l *specListener) Abort(context.Context, api.Module, api.FunctionDefinition, error) { l.running-- }
