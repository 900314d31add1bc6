package meter

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// engineStack is where the engine's own limit lies.
const engineStack = 50_000_000

// widest are the caps with the largest frames that there can be.
func widest() Caps {
	caps := DefaultCaps()
	caps.FrameBytes = 8 << 20
	return caps
}

func TestDepthBound(t *testing.T) {
	if err := widest().Validate(); err != nil {
		t.Fatal(err)
	}
	if n := StackBytes(MaxDepth, widest()); n >= engineStack {
		t.Errorf("the deepest guest may take %d bytes, the engine has %d", n, engineStack)
	}
}

// deepMachine runs a module under a depth limit with caps wide enough for any
// shape.
func deepMachine(t *testing.T, e engine, src []byte, depth int32) *machine {
	t.Helper()
	metered, _, err := Instrument(src, Options{Caps: widest()})
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, e, metered, false, 100_000)
	m.metered, m.depth = true, depth
	return m
}

// ending is how a run that went too deep ended.
type ending struct {
	left int32 // depth
	fuel int64
	trap string
}

func endOf(m *machine, name string) (end ending, held int64) {
	m.t.Helper()
	f := m.mod.ExportedFunction(name)
	m.budget, m.granted = plenty, 0
	m.global(FuelGlobal).Set(0)
	m.global(DepthGlobal).Set(uint64(m.depth))
	_, err := f.Call(context.Background())
	end = ending{int32(m.global(DepthGlobal).Get()), m.granted - int64(m.global(FuelGlobal).Get()), reason(err)}
	if v := reflect.ValueOf(f).Elem().FieldByName("stack"); v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		held = int64(v.Len()) // the compiler's; it never shrinks
	}
	return end, held
}

// recursions are modules whose function f recurses for ever, each in its way.
func recursions() map[string][]byte {
	list := frameShapes()
	s := sectionsOf(fn(opCall, 0))
	list["bare"] = wasm(s[0], s[1], sec{secExport, vec(exported("f", kindFunction, 0))}, s[2])
	s = sectionsOf(fn(opCall, 1), fn(opCall, 2), fn(opI32Const, 0, opCallIndirect, 0, 0))
	list["indirect"] = wasm(s[0], s[1], sec{secTable, vec([]byte{0x70, 0, 1})}, sec{secExport, vec(exported("f", kindFunction, 0))},
		sec{secElement, vec(join([]byte{0, opI32Const, 0, opEnd}, vec(leb(0))))}, s[2])
	return list
}

// TestDepthComesFirst: however a guest recurses, it is the depth limit that ends
// it and never the engine's stack; at the same call, on both engines, with
// listeners or without.
func TestDepthComesFirst(t *testing.T) {
	profiled := engines()[0]
	profiled.name, profiled.profiled = "profiled", true
	all := append(engines(), profiled)
	for name, src := range recursions() {
		want := map[int32]ending{}
		for _, e := range all {
			m := deepMachine(t, e, src, 0)
			for _, depth := range []int32{1500, 10_000} {
				if e.name == "interpreter" && depth > 1500 { // it holds 2,000 frames
					continue
				}
				m.depth = depth
				got, held := endOf(m, "f")
				if got.left >= 0 || !strings.Contains(got.trap, "unreachable") {
					t.Errorf("%s, depth %d, %s: %+v, want the depth limit's trap", name, depth, e.name, got)
				}
				if w, ok := want[depth]; ok && got != w {
					t.Errorf("%s, depth %d, %s: %+v, compiled %+v", name, depth, e.name, got, w)
				}
				want[depth] = got
				if most := StackBytes(uint32(depth), widest()); held > 2*most {
					t.Errorf("%s, depth %d, %s: a stack of %d bytes, at most %d", name, depth, e.name, held, 2*most)
				}
			}
			m.close()
		}
	}
}

// TestLongChains: functions off every cycle do not count, unless there is a long
// chain of them; then all do.
func TestLongChains(t *testing.T) {
	chain := func(n, locals int) []byte {
		var bodies [][]byte
		for i := range n {
			code := []byte{opNop}
			if i+1 < n {
				code = join([]byte{opCall}, leb(uint32(i+1)))
			}
			bodies = append(bodies, fnLocals(uint32(locals), code...))
		}
		s := sectionsOf(bodies...)
		return wasm(s[0], s[1], sec{secExport, vec(exported("f", kindFunction, 0))}, s[2])
	}
	for _, c := range []struct{ n, counted int }{{maxChain, 0}, {maxChain + 1, maxChain + 1}, {5000, 5000}} {
		src := chain(c.n, 0)
		_, rep, err := Instrument(src, Options{Caps: DefaultCaps()})
		if err != nil || rep.Recursive != c.counted {
			t.Errorf("a chain of %d: %d count, %v, want %d", c.n, rep.Recursive, err, c.counted)
		}
		for _, e := range engines() {
			m := deepMachine(t, e, src, 1500)
			got, _ := endOf(m, "f")
			if deep := got.left < 0; deep != (c.n > 1500) || !deep && got.trap != "no trap" {
				t.Errorf("a chain of %d, %s: %+v", c.n, e.name, got)
			}
			m.close()
		}
	}
}

// TestLargeFrames: a function whose frame may be larger than one may be is
// refused by name, as soon as it is known.
func TestLargeFrames(t *testing.T) {
	_, _, err := Instrument(shapeModule(400, typeI64, func(s *shape) { meetingPaths(s, 500) }), Options{Caps: DefaultCaps()})
	var refused *events.RefusedError
	if !errors.As(err, &refused) || refused.Rule != "frame_too_large" || !strings.Contains(refused.Detail, fmt.Sprint(DefaultCaps().FrameBytes)) {
		t.Errorf("%v, want a refusal by frame_too_large", err)
	}
}
