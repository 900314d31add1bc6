package wasmhost

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// TestNothingIsCompiledHere: whatever a compiler leaves, a node with one compiles
// nothing itself. It asks a second time, and then it is no fault of the module's.
func TestNothingIsCompiledHere(t *testing.T) {
	iso := isolated(t)
	asked := filepath.Join(t.TempDir(), "asked")
	// It leaves something, as one of another version would, and is content.
	iso.Command = append(shell(`echo >> "`+asked+`"; mkdir "$2/wazero-other"; echo x > "$2/wazero-other/abc"; cat > /dev/null; echo {}`), "sh")
	m, err := isolatedHost(t, iso).Compile(t.Context(), fixtures.Agent("counter-c"))
	if m != nil {
		t.Error("the module was compiled in this process")
		m.Release()
	}
	var refused *events.RefusedError
	if err == nil || errors.As(err, &refused) || !errors.Is(err, errNotCompiled) {
		t.Errorf("got %v, want one that is no refusal", err)
	}
	b, err := os.ReadFile(asked)
	if err != nil || len(b) != 2 {
		t.Errorf("the compiler was asked %d times: %v", len(b), err)
	}
	if left := codeFiles(t, iso.Dir); len(left) > 0 {
		t.Errorf("the cache keeps %v", left)
	}
}

// TestWrongCodeIsReplaced: code that is what the index says, and not what the engine
// looks for, is made anew.
func TestWrongCodeIsReplaced(t *testing.T) {
	iso := isolated(t)
	h := isolatedHost(t, iso)
	wasm := fixtures.Agent("counter-c")
	key, other := moduleKey{hash: events.HashModule(wasm)}, filepath.Join(iso.Dir, codeDir, "other")
	if err := os.WriteFile(other, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum, size, err := digest(other)
	if err != nil {
		t.Fatal(err)
	}
	note, err := json.Marshal(codeEntry{Tag: h.cache.tag, File: "other", SHA256: sum, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.cache.indexFile(key), note, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := h.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	if e, ok := h.cache.entry(key); !ok || e.File == "other" {
		t.Errorf("the index says %+v", e)
	}
	if len(h.cache.pins) != 0 {
		t.Errorf("pins are left: %v", h.cache.pins)
	}
}

// TestPinnedCodeStays: between a worker's end and the engine's look at what it left,
// other builds make no room of it.
func TestPinnedCodeStays(t *testing.T) {
	c, err := openCodeCache(*isolated(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.engine.Close(t.Context())
	c.iso.Cache = 150
	adopt := func(i int) moduleKey {
		dir, key := t.TempDir(), moduleKey{hash: events.HashModule([]byte{byte(i)})}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.adopt(key, dir); err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := moduleKey{hash: events.HashModule([]byte{1})}
	c.pin(first)
	adopt(1)
	second := adopt(2)
	if !c.has(first) || !c.has(second) {
		t.Error("pinned code made room")
	}
	c.unpin(first)
	third := adopt(3)
	if c.has(first) || c.has(second) || !c.has(third) {
		t.Error("what is pinned no more stays")
	}
}

// TestReplacedProgramCompiles: a node whose program was replaced, or removed, while
// it runs still starts what it is itself.
func TestReplacedProgramCompiles(t *testing.T) {
	b, err := os.ReadFile(testProgram(t))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, b, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, replaceAndCompile, t.TempDir()).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestWorkerDiesWithItsNode: no compiler goes on without the node that asked.
func TestWorkerDiesWithItsNode(t *testing.T) {
	node := exec.Command(testProgram(t), startAndWait)
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	var worker int
	if _, err := fmt.Fscan(bufio.NewReader(out), &worker); err != nil {
		t.Fatal(err)
	}
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = node.Wait() // killed
	for began := time.Now(); ; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", worker))
		_, state, _ := strings.Cut(string(stat), ") ")
		if err != nil || strings.HasPrefix(state, "Z") {
			return
		}
		if time.Since(began) > time.Minute {
			_ = unix.Kill(worker, unix.SIGKILL)
			t.Fatal("the compiler is still there")
		}
	}
}

// TestWorkerGivesWay: every thread of a worker stands behind the node's.
func TestWorkerGivesWay(t *testing.T) {
	out, err := exec.Command(testProgram(t), listPriorities).Output()
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Fields(string(out))
	for _, nice := range list {
		var n int
		if _, err := fmt.Sscan(nice, &n); err != nil || n < workerNice {
			t.Errorf("threads are nice by %v, want %d", list, workerNice)
		}
	}
	if len(list) == 0 {
		t.Error("no thread is listed")
	}
}
