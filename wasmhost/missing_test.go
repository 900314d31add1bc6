package wasmhost

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMissing: each protection that is not there is named, with its reason, what that
// means and what to do.
func TestMissing(t *testing.T) {
	no, yes := errors.New("not here"), error(nil)
	for _, c := range []struct {
		seccomp, landlock error
		want              string
	}{
		{yes, yes, ""}, {no, yes, "seccomp"}, {yes, no, "landlock"}, {no, no, "seccomp; landlock"},
	} {
		list := missing(func() error { return c.seccomp }, func() error { return c.landlock })
		if got := TellMissing(list, func(m MissingProtection) string { return m.Name }); got != c.want {
			t.Errorf("%v, %v: %q is missing, want %q", c.seccomp, c.landlock, got, c.want)
		}
		for _, m := range list {
			if m.Risk == "" || m.Advice == "" || !errors.Is(m.Err, no) {
				t.Errorf("%+v says too little", m)
			}
		}
	}
}

// compileUnprotected is a node on a system that has neither protection: what surrounds it
// refuses the calls that ask for them, of landlock one. It says so, and compiles.
func compileUnprotected(dir, landlock string) error {
	landlocks := map[string]uint32{"create": unix.SYS_LANDLOCK_CREATE_RULESET, "restrict": unix.SYS_LANDLOCK_RESTRICT_SELF}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	refuse := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: callNumber}}
	for _, call := range []uint32{unix.SYS_SECCOMP, landlocks[landlock]} {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1}, refuse)
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); errno != 0 || r != 0 {
		return fmt.Errorf("refuse the calls: %d, %w", r, errno)
	}
	for _, m := range MissingProtections() {
		fmt.Fprintln(os.Stdout, m.Name, errors.Is(m.Err, unix.EPERM))
	}
	return compileIsolated(dir)
}

// TestMissingProtections: the very calls that workers are protected with are tried, and
// where they are refused a module is compiled all the same.
func TestMissingProtections(t *testing.T) {
	skipUnlessForbidden(t)
	for _, m := range MissingProtections() {
		if m.Name == "seccomp" || CanShutIn() == nil {
			t.Errorf("%s is missing, and is not", m.Name)
		}
	}
	for _, landlock := range []string{"create", "restrict"} {
		if landlock == "restrict" && CanShutIn() != nil {
			continue // it does not come so far
		}
		cmd := exec.Command(testProgram(t), workUnprotected, t.TempDir(), landlock)
		var faults strings.Builder
		cmd.Stderr = &faults
		out, err := cmd.Output()
		if want := "seccomp true\nlandlock true\n"; err != nil || string(out) != want {
			t.Errorf("%s is refused: %v: it says %q, want %q: %s", landlock, err, out, want, faults.String())
		}
	}
}

// TestShortIsNotMissing: that a domain finds no descriptor or memory does not let a worker
// start without one.
func TestShortIsNotMissing(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		unix.ENOSYS: true, unix.EOPNOTSUPP: true, unix.EPERM: true, unix.E2BIG: true, unix.EMFILE: false, unix.ENFILE: false, unix.ENOMEM: false,
	} {
		if got := hasNoDomains(fmt.Errorf("enter a domain: %w", errno)); got != want {
			t.Errorf("%v: the system has none: %t", errno, got)
		}
	}
	if hasNoDomains(nil) {
		t.Error("it has none, and gave one")
	}
}
