package wasmhost

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// isolated returns settings that compile in processes of this test program.
func isolated(t *testing.T) *Isolation {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "compiled")
	return &Isolation{Command: ThisProgram(), Dir: dir, Memory: 1 << 30, Timeout: time.Minute, Cache: 1 << 30}
}

// testProgram is the file of this test program, for those whom /proc/self/exe tells
// of another.
func testProgram(t *testing.T) string {
	t.Helper()
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// shell is a compiler that does what a line of sh says.
func shell(line string) []string { return []string{"/bin/sh", "-c", line} }

func isolatedHost(t *testing.T, iso *Isolation) *Host {
	t.Helper()
	return hostWith(t, func(c *Config) { c.Isolation = iso }, false)
}

// TestIsolatedModulesAreTheSame: what a child process compiled says of itself
// and does what it says and does compiled here.
func TestIsolatedModulesAreTheSame(t *testing.T) {
	apart, here := isolatedHost(t, isolated(t)), hostWith(t, nil, false)
	for _, name := range []string{"counter-c", "counter-go", "kv", "counter-as"} {
		wasm := fixtures.Agent(name)
		a, err := apart.Compile(t.Context(), wasm)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := here.Compile(t.Context(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b.Info(), a.Info()); d != "" {
			t.Errorf("%s (-here +apart):\n%s", name, d)
		}
		outcomes := make([]Outcome, 2)
		for i, m := range []*Module{a, b} {
			in, err := m.host.Instantiate(t.Context(), m, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			msg := &events.Message{ID: events.MessageID{1}, Performative: events.Request, Sender: "user:test", Content: json.RawMessage(`{"op":"get"}`)}
			outcomes[i] = in.Handle(t.Context(), Call{Message: msg, Fuel: 100_000_000, Timeout: time.Minute})
			in.Close()
			m.Release()
		}
		if outcomes[0].Status != outcomes[1].Status || outcomes[0].Fuel != outcomes[1].Fuel {
			t.Errorf("%s: apart %s with fuel %d, here %s with %d", name, outcomes[0].Status, outcomes[0].Fuel, outcomes[1].Status, outcomes[1].Fuel)
		}
	}
}

// TestCompiledOnce: a second host finds the code and starts no process; code
// that was damaged is not run but compiled again.
func TestCompiledOnce(t *testing.T) {
	iso := isolated(t)
	wasm := fixtures.Agent("counter-c")
	first := isolatedHost(t, iso)
	m, err := first.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	m.Release()
	noCompiler := *iso
	noCompiler.Command = shell("exit 9")
	second := isolatedHost(t, &noCompiler)
	if m, err = second.Compile(t.Context(), wasm); err != nil {
		t.Fatalf("from the cache: %v", err)
	}
	m.Release()
	if n := codeFiles(t, iso.Dir); len(n) != 1 {
		t.Errorf("files of code: %v", n)
	}
	file := codeFiles(t, iso.Dir)[0]
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	third := isolatedHost(t, &noCompiler)
	if _, err := third.Compile(t.Context(), wasm); err == nil {
		t.Error("damaged code was used")
	}
	fourth := isolatedHost(t, iso)
	if m, err = fourth.Compile(t.Context(), wasm); err != nil {
		t.Fatalf("after the damage: %v", err)
	}
	m.Release()
}

func codeFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, codeDir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCompilersFate: however a compiler ends, the node hears of it by name, no
// process stays and nothing is left lying about.
func TestCompilersFate(t *testing.T) {
	counter, goGuest := fixtures.Agent("counter-c"), fixtures.Agent("kv-go")
	cases := []struct {
		name   string
		change func(*Isolation)
		wasm   []byte
		rule   string // of a refusal
		text   string // of another error
	}{
		{"takes too much memory", func(i *Isolation) { i.Memory = 64 << 20 }, goGuest, "compile_memory", ""},
		{"takes too long", func(i *Isolation) { i.Timeout = time.Second; i.Command = shell("exec sleep 600") }, counter, "compile_timeout", ""},
		{"dies", func(i *Isolation) { i.Command = shell("kill -SEGV $$") }, counter, "engine_fault", ""},
		{"is killed", func(i *Isolation) { i.Command = shell("kill -KILL $$") }, counter, "compile_memory", ""},
		{"fails with a word", func(i *Isolation) { i.Command = shell("echo what a mess >&2; exit 3") }, counter, "engine_fault", ""},
		{"talks nonsense", func(i *Isolation) { i.Command = shell("echo hello") }, counter, "", "answers \"hello"},
		{"leaves nothing", func(i *Isolation) { i.Command = shell("echo {}") }, counter, "", "left 0 files"},
		{"floods", func(i *Isolation) { i.Command = shell("yes"); i.Timeout = time.Second }, counter, "compile_timeout", ""},
		{"is not there", func(i *Isolation) { i.Command = []string{"/no/such/program"} }, counter, "", "start the compiler's process"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			iso := isolated(t)
			c.change(iso)
			_, err := isolatedHost(t, iso).Compile(t.Context(), c.wasm)
			var refused *events.RefusedError
			switch {
			case c.rule != "" && (!errors.As(err, &refused) || refused.Rule != c.rule):
				t.Errorf("got %v, want the refusal %s", err, c.rule)
			case c.rule == "" && (err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), c.text)):
				t.Errorf("got %v, want an error with %q that is no refusal", err, c.text)
			}
			if left, _ := filepath.Glob(filepath.Join(iso.Dir, workGlob)); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestInvalidApart: the child process refuses what is no WebAssembly.
func TestInvalidApart(t *testing.T) {
	h := isolatedHost(t, isolated(t))
	// (func (result i32)) without a value: well-formed, and invalid.
	wasm := []byte("\x00asm\x01\x00\x00\x00" + "\x01\x05\x01\x60\x00\x01\x7f" + "\x03\x02\x01\x00" + "\x0a\x04\x01\x02\x00\x0b")
	if _, err := h.Compile(t.Context(), wasm); !errors.Is(err, events.ErrInvalidWasm) {
		t.Errorf("got %v, want ErrInvalidWasm", err)
	}
}

// TestCompilationIsCancelled: whoever gives up does not wait for the compiler,
// and whoever asks next gets the module all the same.
func TestCompilationIsCancelled(t *testing.T) {
	iso := isolated(t)
	real := testProgram(t)
	gate := filepath.Join(t.TempDir(), "gate")
	// The first process waits for ever, those after it work.
	iso.Command = shell(`if mkdir "` + gate + `" 2>/dev/null; then exec sleep 600; fi; shift; exec "` + real + `" ` + WorkerArg + ` "$@"`)
	iso.Command = append(iso.Command, "sh")
	h := isolatedHost(t, iso)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := h.Compile(ctx, fixtures.Agent("counter-c"))
		failed <- err
	}()
	for began := time.Now(); ; {
		if _, err := os.Stat(gate); err == nil {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("the compiler does not start")
		}
	}
	done := make(chan error, 1)
	go func() {
		m, err := h.Compile(t.Context(), fixtures.Agent("counter-c"))
		if err == nil {
			m.Release()
		}
		done <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up gets %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("who waited gets %v", err)
	}
}

func TestCodeCacheIsPrivate(t *testing.T) {
	iso := isolated(t)
	if err := os.MkdirAll(iso.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(iso.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Isolation = iso
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "0700") {
		t.Errorf("a directory that others may read: %v", err)
	}
}

// TestCodeCacheIsBounded: what was not used for longest makes room.
func TestCodeCacheIsBounded(t *testing.T) {
	c, err := openCodeCache(*isolated(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.engine.Close(t.Context())
	c.iso.Cache = 250
	var hashes []moduleKey
	for i := range 4 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, string('a'+rune(i))), make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, moduleKey{hash: events.HashModule([]byte{byte(i)})})
		if err := c.adopt(hashes[i], dir); err != nil {
			t.Fatal(err)
		}
		then := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(c.indexFile(hashes[i]), then, then); err != nil {
			t.Fatal(err)
		}
		if i == 1 && !c.has(hashes[0]) { // used: now the youngest by far
			t.Fatal("the first is gone")
		}
	}
	want := []bool{true, false, false, true}
	for i, h := range hashes {
		if got := c.has(h); got != want[i] {
			t.Errorf("module %d is there: %v, want %v", i, got, want[i])
		}
	}
}

func TestIsolationIsValidated(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Isolation = &Isolation{}
	var invalid *events.InvalidError
	if err := cfg.Validate(); !errors.As(err, &invalid) || len(invalid.Fields) != 4 {
		t.Errorf("%v", err)
	}
}

func FuzzVerdict(f *testing.F) {
	for _, s := range []string{`{}`, `{"invalid":"x"}`, `{"refused":{"Rule":"r","Detail":"d"}}`, `{"failed":"x"}`, ``, `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := readVerdict(b)
		var v verdict
		if err == nil && (json.Unmarshal(b, &v) != nil || v != (verdict{})) {
			t.Errorf("%q is success", b)
		}
	})
}

// TestCrowded: with as many builds as may wait, a host says so, and only then.
func TestCrowded(t *testing.T) {
	iso := isolated(t)
	gate := filepath.Join(t.TempDir(), "gate")
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	iso.Command = shell(`while [ -e "` + gate + `" ]; do sleep 0.01; done; exit 1`)
	h := hostWith(t, func(c *Config) { c.Isolation, c.CompileQueue = iso, 2 }, false)
	ended := make(chan error, 2)
	for i, name := range []string{"counter-c", "echo"} {
		if h.Crowded() {
			t.Errorf("crowded with %d of 2", i)
		}
		go func() {
			_, err := h.Compile(t.Context(), fixtures.Agent(name))
			ended <- err
		}()
		for began := time.Now(); h.builds.Load() != int64(i+1); runtime.Gosched() {
			if time.Since(began) > time.Minute {
				t.Fatal("the build does not begin")
			}
		}
	}
	if !h.Crowded() {
		t.Error("not crowded with 2 of 2")
	}
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("a compiler that fails compiled")
		}
	}
}
