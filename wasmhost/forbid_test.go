package wasmhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// tryCalls does what a worker must not do any more, on threads that were there
// before the filter and on new ones, and what it must.
func tryCalls(dir string) error {
	const threads = 4
	filtered := make(chan struct{})
	failed := make(chan error, 2*threads)
	var ready, done sync.WaitGroup
	attempt := func() {
		for name, try := range forbiddenAttempts() {
			if err := try(); !errors.Is(err, unix.EPERM) {
				failed <- fmt.Errorf("%s: %v", name, err)
				return
			}
		}
		failed <- nil
	}
	for range threads {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread() // and ends with it
			ready.Done()
			<-filtered
			attempt()
		})
	}
	ready.Wait()
	if err := forbidCalls(); err != nil {
		return err
	}
	close(filtered)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			attempt()
		})
	}
	done.Wait()
	var errs []error
	for range 2 * threads {
		errs = append(errs, <-failed)
	}
	runtime.GC()
	for name, err := range map[string]error{
		"signal itself":   unix.Tgkill(os.Getpid(), unix.Gettid(), 0),
		"limit itself":    unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{}, nil),
		"limit by number": unix.Prlimit(os.Getpid(), unix.RLIMIT_CORE, &unix.Rlimit{}, nil),
	} {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(append(errs, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600))...)
}

func forbiddenAttempts() map[string]func() error {
	return map[string]func() error{
		"connect": func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err },
		"listen":  func() error { _, err := net.Listen("unix", "@caxton-forbidden"); return err },
		"start":   func() error { return exec.Command("/bin/true").Run() },
		"exec":    func() error { return unix.Exec("/bin/true", []string{"true"}, nil) },
		"trace":   func() error { return unix.PtraceAttach(os.Getppid()) },
		"signal":  func() error { return unix.Kill(os.Getppid(), 0) },
		"thread":  func() error { return unix.Tgkill(os.Getppid(), os.Getppid(), 0) },
		"limit":   func() error { return unix.Prlimit(os.Getppid(), unix.RLIMIT_CORE, nil, &unix.Rlimit{}) },
		"hurry":   func() error { return unix.Setpriority(unix.PRIO_PROCESS, os.Getppid(), 0) },
		"owner":   func() error { _, err := unix.FcntlInt(1, unix.F_SETOWN, os.Getppid()); return err },
		"signals": func() error { _, err := unix.FcntlInt(1, unix.F_SETSIG, int(unix.SIGKILL)); return err },
		"type":    func() error { return unix.IoctlSetPointerInt(0, unix.TIOCSTI, 'x') },
		"memory":  func() error { _, err := unix.MemfdCreate("x", 0); return err },
		"mount":   func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") },
	}
}

func skipUnlessForbidden(t *testing.T) {
	t.Helper()
	if err := CanForbidCalls(); err != nil {
		t.Skip(err)
	}
}

// TestCallsAreForbidden: a process that forbade itself to can neither reach a network
// nor start or touch another process, on any thread, and goes on working.
func TestCallsAreForbidden(t *testing.T) {
	skipUnlessForbidden(t)
	dir := t.TempDir()
	if out, err := exec.Command(testProgram(t), tryForbidden, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(b) != "x" {
		t.Errorf("it wrote %q, %v", b, err)
	}
}

// statusReader is a module that says what the kernel does for the worker that reads it.
type statusReader struct{}

// Read implements io.Reader.
func (*statusReader) Read([]byte) (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Seccomp:") || strings.HasPrefix(line, "NoNewPrivs:") {
			fmt.Fprint(os.Stderr, line)
		}
	}
	return 0, io.EOF
}

// TestWorkerForbidsItself: a worker's filter stands before it reads its module.
func TestWorkerForbidsItself(t *testing.T) {
	skipUnlessForbidden(t)
	how, err := json.Marshal(translateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testProgram(t), workerAndStatus, t.TempDir(), fmt.Sprint(1<<30), "60", string(how))
	var said strings.Builder
	cmd.Stderr = &said
	if _, err := cmd.Output(); err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	if got := strings.Join(strings.Fields(said.String()), " "); got != "NoNewPrivs: 1 Seccomp: 2" {
		t.Errorf("the worker runs with %q", got)
	}
}
