package wasmhost

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// What TestInheritedDescriptorsAreClosed starts this program for: to list what it
// has open, after and before it closed what it inherited.
const (
	listDescriptors = "list-descriptors"
	listInherited   = "list-inherited"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case WorkerArg: // by a host of a test
			os.Exit(WorkerMain(os.Args[2:], os.Stdin, os.Stdout))
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
