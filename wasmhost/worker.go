package wasmhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// WorkerArg is the first argument with which a program that holds this package
// is started to compile one module: its main hands the rest to WorkerMain before
// it does anything else.
const WorkerArg = "compile-worker"

// maxWorkerStderr bounds what is kept of a worker's last words.
const maxWorkerStderr = 64 << 10

// Isolation makes compilation a child process's work. A module that exhausts or
// crashes the compiler takes nothing with it but that process.
type Isolation struct {
	Command []string      // program and arguments before WorkerArg's; usually this program itself
	Dir     string        // of the compiled code, this user's alone (0700)
	Memory  int64         // bytes that a worker may have, 64 MiB to 64 GiB
	Timeout time.Duration // of a compilation, 1 s to 10 min
	Cache   int64         // bytes of compiled code that are kept on disk, at least 64 MiB
}

func (i Isolation) validate(f *events.Faults) {
	if len(i.Command) == 0 || i.Dir == "" {
		f.Add("wasmhost.isolation", "must have a command and a directory")
	}
	if i.Memory < 64<<20 || i.Memory > 64<<30 {
		f.Add("wasmhost.isolation.memory", "must be 64 MiB to 64 GiB, got %d bytes", i.Memory)
	}
	if i.Timeout < time.Second || i.Timeout > 10*time.Minute {
		f.Add("wasmhost.isolation.timeout", "must be 1s to 10m, got %s", i.Timeout)
	}
	if i.Cache < 64<<20 {
		f.Add("wasmhost.isolation.cache", "must be at least 64 MiB, got %d bytes", i.Cache)
	}
}

// verdict is what a worker prints: nothing set is success.
type verdict struct {
	Invalid string               `json:"invalid,omitempty"` // why it is no WebAssembly
	Refused *events.RefusedError `json:"refused,omitempty"`
	Failed  string               `json:"failed,omitempty"` // no fault of the module
}

// WorkerMain compiles the module on in and leaves the code in a directory. args
// are the directory, the memory and the seconds of processor time it may have,
// and translateOptions as JSON. It prints a verdict and returns the exit status.
func WorkerMain(args []string, in io.Reader, out io.Writer) int {
	say := &speaker{out: out}
	v := verdict{}
	if err := work(args, in, say); err != nil {
		var refused *events.RefusedError
		switch {
		case errors.As(err, &refused):
			v.Refused = refused
		case errors.Is(err, events.ErrInvalidWasm):
			v.Invalid = strings.TrimPrefix(err.Error(), events.ErrInvalidWasm.Error()+": ")
		default:
			v.Failed = err.Error()
		}
	}
	return say.verdict(v)
}

// speaker prints one verdict, the first.
type speaker struct {
	mu   sync.Mutex
	out  io.Writer // guarded by mu; nil when the verdict is out
	exit int       // guarded by mu
}

// verdict returns the exit status that goes with what was printed.
func (s *speaker) verdict(v verdict) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out == nil {
		return s.exit
	}
	if json.NewEncoder(s.out).Encode(v) != nil {
		s.exit = 1
	}
	s.out = nil
	return s.exit
}

func work(args []string, in io.Reader, say *speaker) error {
	if len(args) != 4 {
		return fmt.Errorf("worker takes 4 arguments, got %d", len(args))
	}
	memory, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	seconds, err := strconv.ParseUint(args[2], 10, 32)
	if err != nil {
		return fmt.Errorf("seconds: %w", err)
	}
	var opts translateOptions
	if err := json.Unmarshal([]byte(args[3]), &opts); err != nil {
		return fmt.Errorf("options: %w", err)
	}
	if err := errors.Join(closeInherited(), confine(memory, seconds), yieldToNode(), forbidCalls()); err != nil {
		return err
	}
	go watch(memory, say) // to the end of the process
	wasm, err := io.ReadAll(io.LimitReader(in, meter.MaxModuleBytes+1))
	if err != nil {
		return fmt.Errorf("read the module: %w", err)
	}
	ctx := context.Background()
	cache, err := wazero.NewCompilationCacheWithDir(args[0])
	if err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	rt := wazero.NewRuntimeWithConfig(ctx, engineConfig(false).WithCompilationCache(cache))
	if err = validate(ctx, wasm); err == nil {
		_, err = translate(ctx, rt, wasm, opts)
	}
	return errors.Join(err, rt.Close(ctx), cache.Close(ctx))
}

// runWorker compiles wasm in a child process that leaves its code in dir.
// Errors: *events.RefusedError; one that wraps events.ErrInvalidWasm; ctx's; an
// error of this machine.
func (i Isolation) runWorker(ctx context.Context, dir string, wasm []byte, opts translateOptions) error {
	how, err := json.Marshal(opts)
	if err != nil {
		return err
	}
	late, cancel := context.WithTimeoutCause(ctx, i.Timeout, errTooSlow)
	defer cancel()
	seconds := strconv.Itoa(int(i.Timeout/time.Second) * 2) // the compiler uses several cores
	args := append(append([]string{}, i.Command[1:]...), WorkerArg, dir, strconv.FormatInt(i.Memory, 10), seconds, string(how))
	cmd := exec.CommandContext(late, i.Command[0], args...)
	if i.Command[0] == thisProgram {
		cmd.Args[0] = os.Args[0]
	}
	cmd.Env = []string{} // nothing of this process's
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(wasm)
	var out, errs bounded
	out.room, errs.room = maxWorkerStderr, maxWorkerStderr
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	err = runConfined(cmd)
	switch {
	case ctx.Err() != nil:
		return &abandonedError{ctx.Err()}
	case context.Cause(late) == errTooSlow:
		return i.tooSlow()
	case err != nil:
		return i.autopsy(err, errs.String())
	}
	return readVerdict(out.Bytes())
}

// runConfined runs a worker that does not outlive this process, nor looks into it. The
// system ends it with the thread that started it, so that thread is kept to the
// worker's end: there are no more than CompileSlots.
func runConfined(cmd *exec.Cmd) (err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	onOwnThread(func() {
		if err = enterDomain(); err == nil || hasNoDomains(err) {
			err = cmd.Run()
		}
	})
	return err
}

var errTooSlow = errors.New("compilation took too long")

func (i Isolation) tooSlow() error {
	return &events.RefusedError{Rule: "compile_timeout", Detail: fmt.Sprintf("compiling it takes more than %s", i.Timeout)}
}

// memorySigns are last words of a process that was refused memory. ENOMEM is 12.
var memorySigns = []string{
	"out of memory", "cannot allocate memory", "errno=12", // Go's runtime
	"pthread_create failed",           // Go's runtime with cgo: no room for a thread's stack
	"failed to allocate", "errno: 12", // the race detector's runtime
}

// autopsy says why a worker died.
func (i Isolation) autopsy(err error, stderr string) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("start the compiler's process: %w", err)
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGXCPU {
		return i.tooSlow()
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return &events.RefusedError{Rule: "compile_memory", Detail: "its compilation was killed, as the system does when memory runs out or processor time is used up"}
	}
	for _, sign := range memorySigns {
		if strings.Contains(stderr, sign) {
			return needsMore(i.Memory)
		}
	}
	return &events.RefusedError{Rule: "engine_fault", Detail: "the compiler failed: " + firstLine(stderr+"\n"+exit.String())}
}

func readVerdict(b []byte) error {
	var v verdict
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("the compiler's process answers %.100q: %w", b, err)
	}
	switch {
	case v.Refused != nil:
		return v.Refused
	case v.Invalid != "":
		return fmt.Errorf("%w: %s", events.ErrInvalidWasm, v.Invalid)
	case v.Failed != "":
		return fmt.Errorf("the compiler's process failed: %s", v.Failed)
	}
	return nil
}

// bounded keeps the first bytes that are written to it.
type bounded struct {
	bytes.Buffer
	room int
}

// Write implements io.Writer and never fails.
func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.room)
	b.room -= n
	b.Buffer.Write(p[:n])
	return len(p), nil
}

// thisProgram is the file that this process runs, whatever has become of its name:
// a program that is replaced while it runs compiles with what it is, not with
// what replaced it.
const thisProgram = "/proc/self/exe"

// ThisProgram is the command of a program whose main knows WorkerArg. It is started
// under the name that this process was.
func ThisProgram() []string { return []string{thisProgram} }
