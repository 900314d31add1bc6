package wasmhost

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// lookInto fails when the memory of a process can be opened.
func lookInto(process int) error {
	for _, how := range []int{os.O_RDONLY, os.O_RDWR} {
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", process), how, 0)
		if err == nil {
			_ = f.Close()
			return errMemory
		}
	}
	return nil
}

var errMemory = errors.New("its memory can be opened")

// TestWorkerSeesNoOther: what is started like a worker cannot look into the node, and
// the node's threads are as before.
func TestWorkerSeesNoOther(t *testing.T) {
	if err := CanShutIn(); err != nil {
		t.Skip(err)
	}
	for range 20 { // more often than domains may nest
		cmd := exec.Command(testProgram(t), lookAtNode)
		var said strings.Builder
		cmd.Stderr = &said
		if err := runConfined(cmd); err != nil {
			t.Fatalf("%v: %s", err, said.String())
		}
	}
	other := exec.Command("/bin/sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = other.Process.Kill(), other.Wait() }()
	for range 50 { // on whichever thread
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			done <- lookInto(other.Process.Pid)
		}()
		if err := <-done; err == nil {
			t.Fatal("the node cannot look into its child any more")
		}
	}
}
