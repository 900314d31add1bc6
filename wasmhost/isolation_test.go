package wasmhost

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// TestHostileRuns: a guest that does not end ends all the same, in each way not
// to; of fuel alone, and with a deadline too.
func TestHostileRuns(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "busy")
	for _, letter := range strings.Split(busyLetters, "") {
		c := testCall(letter)
		c.Fuel, c.Timeout = 2_000_000, 0
		if out := start(t, h, m).Handle(context.Background(), c); out.Status != events.OutcomeOutOfFuel || out.Fuel != c.Fuel {
			t.Errorf("%s: %s with %d fuel: %s", letter, out.Status, out.Fuel, out.Detail)
		}
		c.Fuel, c.Timeout = 1<<60, 2*time.Millisecond
		if out := start(t, h, m).Handle(context.Background(), c); out.Status != events.OutcomeTimeout {
			t.Errorf("%s: %s: %s", letter, out.Status, out.Detail)
		}
	}
}

// TestLargeModuleDeploys: a module of the largest size that is admitted compiles
// within a node's limits and runs. Code under the race detector is an order
// slower to compile, and gets an eighth of it.
func TestLargeModuleDeploys(t *testing.T) {
	if testing.Short() {
		t.Skip("8 MiB to compile")
	}
	iso := isolated(t)
	iso.Timeout = 10 * time.Minute // the most; of a clock, and the compiler gives way to whatever else runs
	size := 8 << 20
	if raceEnabled {
		size = 1 << 20
	}
	wasm := benignModule(size)
	if len(wasm) > size || len(wasm) < size-256 {
		t.Fatalf("%d bytes are generated, want nearly %d", len(wasm), size)
	}
	h := isolatedHost(t, iso)
	m, err := h.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	if out := ask(start(t, h, m), "a"); out.Status != events.OutcomeOK || m.Info().Size != len(wasm) {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
}

// TestSlowCompilationDisturbsNobody: while a module that the compiler cannot cope
// with has its time, the guests of the node answer, and the node does not grow;
// then it is refused by name, and the next module compiles.
func TestSlowCompilationDisturbsNobody(t *testing.T) {
	iso := isolated(t)
	h := isolatedHost(t, iso)
	m, err := h.Compile(t.Context(), fixtures.Agent("counter-c"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	in := start(t, h, m)
	slow := slowModule(20, 4000)
	before := heapNow()
	h.cache.iso.Timeout = time.Second
	refused := make(chan error, 1)
	go func() {
		_, err := h.Compile(t.Context(), slow)
		refused <- err
	}()
	answered, wait := 0, true
	for wait {
		select {
		case err = <-refused:
			wait = false
		default:
			out := in.Handle(t.Context(), Call{Message: request(`{"op":"add","n":1}`), Fuel: 1 << 30})
			if out.Status != events.OutcomeOK {
				t.Fatalf("%s: %s", out.Status, out.Detail)
			}
			answered++
			runtime.Gosched()
		}
	}
	var r *events.RefusedError
	if !errors.As(err, &r) || r.Rule != "compile_timeout" {
		t.Errorf("%v, want compile_timeout", err)
	}
	if grown := heapNow() - before; grown > 32<<20 {
		t.Errorf("the node's heap grew by %d bytes", grown)
	}
	t.Logf("%d messages were answered meanwhile", answered)
	if answered == 0 {
		t.Error("no message was answered meanwhile")
	}
	h.cache.iso.Timeout = time.Minute
	next, err := h.Compile(t.Context(), testModule(t, "busy"))
	if err != nil {
		t.Fatalf("the next module: %v", err)
	}
	next.Release()
}

// TestWorkersSurroundings: a compiler is started with nothing of the node's
// environment, and no descriptor beside stdin, stdout and stderr.
func TestWorkersSurroundings(t *testing.T) {
	t.Setenv("CAXTON_SECRET", "s3cret")
	for fd := 3; fd < 10; fd++ { // what whoever runs the tests left open
		unix.CloseOnExec(fd)
	}
	iso := isolated(t)
	seen := t.TempDir() + "/seen"
	real := testProgram(t)
	iso.Command = append(shell(`{ tr '\0' '\n' < /proc/$$/environ; echo --; ls /proc/$$/fd; } > "`+seen+`"; shift; exec "`+real+`" `+WorkerArg+` "$@"`), "sh")
	h := isolatedHost(t, iso)
	m, err := h.Compile(t.Context(), testModule(t, "busy"))
	if err != nil {
		t.Fatal(err)
	}
	m.Release()
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	environ, fds, _ := strings.Cut(string(b), "--\n")
	if environ != "" {
		t.Errorf("its environment:\n%s", environ)
	}
	// 10 and above are the shell's own.
	for _, fd := range strings.Fields(fds) {
		if len(fd) == 1 && fd > "2" {
			t.Errorf("it has descriptor %s", fd)
		}
	}
}

// TestInheritedDescriptorsAreClosed: one that a library of the node left open for
// child processes is closed before a worker looks at its module.
func TestInheritedDescriptorsAreClosed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for arg, want := range map[string]bool{listDescriptors: false, listInherited: true} {
		cmd := exec.Command(self, arg)
		cmd.ExtraFiles = []*os.File{open, open} // as 3 and 4
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(out), os.DevNull); got != want {
			t.Errorf("%s: the descriptor is there: %v, want %v\n%s", arg, got, want, out)
		}
	}
}
