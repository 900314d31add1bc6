package wasmhost

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/events"
)

// A worker's memory has two bounds. The worker itself looks how much it has, and
// says so when it is too much. The kernel's bound lies above that, for what comes
// between two looks: a Go program that is refused memory dies of it in many ways,
// and not all of its last words tell why. It counts what is mapped, touched or not,
// so what the process began with comes on top: terabytes under the race detector.
const (
	lookEvery   = 2 * time.Millisecond
	kernelSlack = 256 << 20 // Go's runtime maps some of it without touching it
)

// confine limits this process for good. RLIMIT_DATA and not RLIMIT_AS: Go's
// runtime reserves address space that it never touches.
func confine(memory int64, seconds uint64) error {
	debug.SetMemoryLimit(memory / 2) // collect harder long before
	mapped := statm(5)
	for _, l := range []struct {
		name string
		what int
		most uint64
	}{
		{"memory", unix.RLIMIT_DATA, uint64(mapped + memory + kernelSlack)},
		{"processor time", unix.RLIMIT_CPU, seconds},
		{"core size", unix.RLIMIT_CORE, 0},
	} {
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return fmt.Errorf("limit %s: %w", l.name, err)
		}
	}
	return nil
}

// workerNice is a worker's place behind the node: beside a busy guest it gets about
// a quarter of a processor, so that it still ends within its time.
const workerNice = 5

// yieldToNode makes this process one that gives way. Linux knows the priority of
// threads, not of processes; a new thread has that of the thread that makes it.
func yieldToNode() error {
	const tasks = "/proc/self/task"
	for range 2 { // one that a thread not yet seen made is seen the second time
		entries, err := os.ReadDir(tasks)
		if err != nil {
			return fmt.Errorf("find threads: %w", err)
		}
		for _, e := range entries {
			id, err := strconv.Atoi(e.Name())
			if err != nil {
				continue
			}
			// setpriority(2) would raise one that is nicer already.
			if now, err := unix.Getpriority(unix.PRIO_PROCESS, id); err != nil || 20-now >= workerNice {
				continue
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, id, workerNice); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("lower the priority: %w", err)
			}
		}
	}
	return nil
}

// closeInherited closes every descriptor beside stdin, stdout and stderr that this
// process was started with. They are those that do not close when a program is
// started. All that Go opens does, and is left alone: its runtime keeps files of
// its own open, and dies without them.
func closeInherited() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("find inherited descriptors: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 { // gone, or not inherited
			continue
		}
		if err := unix.Close(fd); err != nil {
			return fmt.Errorf("close inherited descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// watch ends this process with a verdict when it has more memory than it may.
func watch(memory int64, say *speaker) {
	for range time.Tick(lookEvery) {
		if statm(1) > memory {
			os.Exit(say.verdict(verdict{Refused: needsMore(memory)}))
		}
	}
}

// statm is a field of this process's /proc/self/statm in bytes: 1 is resident, 5
// what is mapped to be written (proc(5)). It is 0 where the system does not tell,
// and then only the kernel's bound holds.
func statm(field int) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) <= field {
		return 0
	}
	pages, err := strconv.ParseInt(fields[field], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

func needsMore(memory int64) *events.RefusedError {
	return &events.RefusedError{Rule: "compile_memory", Detail: fmt.Sprintf("compiling it takes more than %d MiB of memory", memory>>20)}
}
