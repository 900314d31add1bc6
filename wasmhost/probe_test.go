package wasmhost

import (
	"context"
	"embed"
	"fmt"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

//go:embed testdata/*.wasm
var testModules embed.FS

// testModule returns testdata/<name>.wasm, which is assembled from the .wat
// beside it.
func testModule(t testing.TB, name string) []byte {
	t.Helper()
	b, err := testModules.ReadFile("testdata/" + name + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hostWith returns a host whose configuration was changed.
func hostWith(t testing.TB, change func(*Config), interpreter bool) *Host {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	h, err := newHost(context.Background(), cfg, engineConfig(interpreter))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := h.MemoryBytes(); n != 0 {
			t.Errorf("%d bytes of memory are held after the last instance", n)
		}
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func compileTest(t testing.TB, h *Host, name string) *Module {
	t.Helper()
	m, err := h.Compile(context.Background(), testModule(t, name))
	if err != nil {
		t.Fatalf("compile %s: %v", name, err)
	}
	t.Cleanup(m.Release)
	return m
}

const testMemory = 16 << 20

func start(t testing.TB, h *Host, m *Module) *Instance {
	t.Helper()
	in, err := h.Instantiate(context.Background(), m, testMemory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	return in
}

// ask lets a probe do what a letter says.
func ask(in *Instance, letter string) Outcome {
	return in.Handle(context.Background(), testCall(letter))
}

func testCall(letter string) Call {
	return Call{
		Message: request(fmt.Sprintf("%q", letter)), Fuel: 10_000_000, Timeout: time.Minute,
		Host: events.HostRecord{NowMicros: 1_700_000_000_000_000, Seed: 42},
	}
}

// probe calls single host functions as a guest does, within one message.
type probe struct {
	t  testing.TB
	in *Instance
}

func newProbe(t testing.TB, state StateReader, content string) *probe {
	t.Helper()
	h := hostWith(t, nil, false)
	p := &probe{t, start(t, h, compileTest(t, h, "probe"))}
	p.begin(state, content)
	return p
}

func (p *probe) begin(state StateReader, content string) {
	p.t.Helper()
	m := request(content)
	m.ReplyWith = "r\n1"
	body, err := encodeMessage(nil, m)
	if err != nil {
		p.t.Fatal(err)
	}
	c := Call{Fuel: 1 << 40, State: state, Host: events.HostRecord{NowMicros: 1_700_000_000_000_000, Seed: 42}}
	p.in.begin(context.Background(), &c, body)
	p.in.call.handling = true
}

// call runs a host function with 64-bit slots as given.
func (p *probe) call(name string, args ...uint64) (uint64, error) {
	f := p.in.guest.ExportedFunction(name)
	if f == nil {
		p.t.Fatalf("the probe does not export %s", name)
	}
	p.in.depth.Set(1000)
	res, err := f.Call(p.in.ctx, args...)
	if err != nil || len(res) == 0 {
		return 0, err
	}
	return res[0], nil
}

// code runs a host function that answers a code.
func (p *probe) code(name string, args ...uint64) int32 {
	p.t.Helper()
	v, err := p.call(name, args...)
	if err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	return int32(v)
}

// put writes text into the guest's memory and returns where and how long.
func (p *probe) put(at uint32, text string) (ptr, n uint64) {
	p.t.Helper()
	if !p.in.mem.WriteString(at, text) {
		p.t.Fatalf("%d bytes do not fit at %d", len(text), at)
	}
	return uint64(at), uint64(len(text))
}

func (p *probe) get(at, n uint32) string {
	p.t.Helper()
	b, ok := p.in.mem.Read(at, n)
	if !ok {
		p.t.Fatalf("%d bytes at %d are outside", n, at)
	}
	return string(b)
}
