package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/fixtures"
)

// What TestInheritedDescriptorsAreClosed starts this program for: to list what it
// has open, after and before it closed what it inherited.
const (
	listDescriptors = "list-descriptors"
	listInherited   = "list-inherited"
)

// startAndWait is what TestWorkerDiesWithItsNode starts this program for: to be a
// node whose worker does not end.
const startAndWait = "start-and-wait"

// For TestReplacedProgramCompiles, TestWorkerGivesWay, TestCallsAreForbidden,
// TestWorkerForbidsItself, TestWorkerIsShutIn and TestMissingProtections.
const (
	replaceAndCompile = "replace-and-compile"
	listPriorities    = "list-priorities"
	tryForbidden      = "try-forbidden"
	workerAndStatus   = "worker-and-status"
	lookAtNode        = "look-at-node"
	workUnprotected   = "work-unprotected"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case WorkerArg: // by a host of a test
			os.Exit(WorkerMain(os.Args[2:], os.Stdin, os.Stdout))
		case startAndWait:
			cmd := exec.Command("/bin/sh", "-c", "echo $$; exec sleep 600")
			cmd.Stdout = os.Stdout
			fmt.Fprintln(os.Stderr, runConfined(cmd))
			os.Exit(1)
		case replaceAndCompile:
			end(compileReplaced(os.Args[2]))
		case measureUsage:
			end(measureGuests(os.Args[2]))
		case tryForbidden:
			end(tryCalls(os.Args[2]))
		case lookAtNode:
			end(lookInto(os.Getppid()))
		case workUnprotected:
			end(compileUnprotected(os.Args[2], os.Args[3]))
		case workerAndStatus:
			os.Exit(WorkerMain(os.Args[2:], &statusReader{}, os.Stdout))
		case listPriorities:
			end(printPriorities())
		case listDescriptors:
			if err := closeInherited(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			fallthrough
		case listInherited:
			for fd := 3; fd < 10; fd++ {
				if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
					fmt.Println(fd, to)
				}
			}
			os.Exit(0)
		}
	}
	goleak.VerifyTestMain(m)
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// compileReplaced is a node of which another program took the place on disk.
func compileReplaced(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := errors.Join(os.Remove(self), os.WriteFile(self, []byte("#!/bin/sh\nexit 7\n"), 0o700)); err != nil {
		return err
	}
	return compileIsolated(dir)
}

// compileIsolated is a node that compiles one module in a worker.
func compileIsolated(dir string) error {
	cfg := DefaultConfig()
	cfg.Isolation = &Isolation{Command: ThisProgram(), Dir: filepath.Join(dir, "compiled"), Memory: 1 << 30, Timeout: time.Minute, Cache: 1 << 30}
	ctx := context.Background()
	h, err := New(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = h.Compile(ctx, fixtures.Agent("counter-c"))
	return errors.Join(err, h.Close(ctx))
}

// printPriorities prints how nice each thread is of one that gives way.
func printPriorities() error {
	if err := yieldToNode(); err != nil {
		return err
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, d := range tasks {
		id, err := strconv.Atoi(d.Name())
		if err != nil {
			return err
		}
		if n, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil { // the system's numbers run down from 20
			fmt.Println(20 - n)
		}
	}
	return nil
}
