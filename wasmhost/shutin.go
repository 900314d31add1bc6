package wasmhost

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A worker may look into no process but itself: whoever has a worker would have the
// node too, through /proc/<node>/mem. The kernel sees to it for all that is in a domain
// (landlock(7), Linux 5.13), which a thread enters for good, and with it what it starts.
// So a thread of the node enters one, starts the worker and ends.
//
// A domain has to rule something of files as well. This one rules what no worker does.
const ruledFiles = 1<<6 | 1<<11 // LANDLOCK_ACCESS_FS_MAKE_CHAR, …_BLOCK

// newRules makes what a domain is entered with. The caller closes it.
func newRules() (set int, err error) {
	rules := unix.LandlockRulesetAttr{Access_fs: ruledFiles}
	size := unsafe.Sizeof(rules.Access_fs) // all that the first version knows
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), size, 0)
	if errno != 0 {
		return 0, fmt.Errorf("the kernel does not keep processes apart: %w", errno)
	}
	return int(fd), nil
}

// CanShutIn says why compilers' processes of this system may look into others of the
// same user; nil when they may not. It enters a domain, on a thread that ends with it. A
// node tells its operator (MissingProtections).
func CanShutIn() (err error) {
	onOwnThread(func() { err = enterDomain() })
	return err
}

// enterDomain puts the calling thread into a new domain.
func enterDomain() error {
	set, err := newRules()
	if err != nil {
		return err
	}
	defer unix.Close(set)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("enter a domain: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(set), 0, 0); errno != 0 {
		return fmt.Errorf("enter a domain: %w", errno)
	}
	return nil
}

// hasNoDomains reports whether the system, or what surrounds it, has no domain for a
// worker, as enterDomain found: it has its other limits then. That descriptors or memory
// are short is of the moment, and no reason to start one without.
func hasNoDomains(err error) bool {
	return err != nil && !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) && !errors.Is(err, unix.ENOMEM)
}

// onOwnThread runs f on a thread that ends with it, and waits for its end. Go starts
// no thread from one that a goroutine has for itself, so nobody else is in f's domain.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		onOwnThread(f) // the main thread cannot end: it is held here, so that is another
		runtime.UnlockOSThread()
	}()
	<-done
}
