package wasmhost

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A worker parses and compiles what strangers wrote. If that makes it do what they
// want, it can still not start a program, reach a network or another process, or
// change the system: the kernel refuses such calls with EPERM (seccomp(2)).
//
// It is a list of what is forbidden, not of what is allowed: Go's runtime may take
// to other calls with each version, and a worker that dies of one compiles nothing.
// Files it may open as its user may; its descriptors are its module, its verdict and
// what it opens itself.
var forbiddenCalls = []uint32{
	// programs and processes; threads are let through below
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_MEMFD_CREATE,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE,
	unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO,
	unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL,
	unix.SYS_PROCESS_MRELEASE, unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES, unix.SYS_KCMP,
	unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET, // a worker has lowered its own
	unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETATTR,
	unix.SYS_SHMGET, unix.SYS_MSGGET, unix.SYS_SEMGET, unix.SYS_MQ_OPEN,
	// networks
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN,
	unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
	// ways around this list, and parts of the kernel that nothing here needs
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_PERSONALITY, unix.SYS_SYSLOG,
	// the system
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT, unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_MOUNT_SETATTR,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL,
	unix.SYS_CLOCK_SETTIME, unix.SYS_SETTIMEOFDAY, unix.SYS_SETHOSTNAME, unix.SYS_CAPSET,
}

// Places in what the filter is asked about (struct seccomp_data; the processors for
// which there is a filter have the low half of an argument first).
const (
	callNumber = 0
	callArch   = 4
	firstArg   = 16
	secondArg  = 24
)

// argRule is a call that is refused by one of its arguments, of which the kernel
// reads the low half: one of these values is the only one allowed, or forbidden.
type argRule struct {
	call, at uint32
	values   []uint32
	only     bool
}

// argRules are for a process of this id: what it may do to itself, and to no other.
func argRules(self uint32) []argRule {
	return []argRule{
		{unix.SYS_TGKILL, firstArg, []uint32{self}, true}, // Go's preemption
		{unix.SYS_PRLIMIT64, firstArg, []uint32{0, self}, true},
		// who gets which signal when a descriptor is ready
		{unix.SYS_FCNTL, secondArg, []uint32{unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_SETSIG}, false},
		// typing on the terminal that the node was started from
		{unix.SYS_IOCTL, secondArg, []uint32{unix.TIOCSTI, unix.TIOCLINUX}, false},
	}
}

// callFilter is the program that the kernel runs at each call of the system.
func callFilter(arch uint32, numbers []uint32, rules []argRule) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	// skip jumps over the next instruction, or not: so no jump has to be counted.
	skip := func(how uint16, k uint32, ifSo bool) unix.SockFilter {
		f := unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | how, K: k, Jf: 1}
		if ifSo {
			f.Jt, f.Jf = 1, 0
		}
		return f
	}
	end := func(how uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: how} }
	refuse, allow := end(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)), end(unix.SECCOMP_RET_ALLOW)
	missing := end(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))

	// Calls of another set, as of 32 bits, have other numbers.
	program := []unix.SockFilter{load(callArch), skip(unix.BPF_JEQ, arch, true), refuse, load(callNumber)}
	if arch == unix.AUDIT_ARCH_X86_64 {
		program = append(program, skip(unix.BPF_JGE, 0x40000000, false), refuse) // x32
	}
	for _, n := range numbers {
		program = append(program, skip(unix.BPF_JEQ, n, false), refuse)
	}
	for _, r := range rules {
		verdict, otherwise := refuse, allow
		if r.only {
			verdict, otherwise = allow, refuse
		}
		rule := []unix.SockFilter{load(r.at)}
		for _, v := range r.values {
			rule = append(rule, skip(unix.BPF_JEQ, v, false), verdict)
		}
		rule = append(rule, otherwise)
		over := unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: r.call, Jf: uint8(len(rule))}
		program = append(append(program, over), rule...)
	}
	// A thread is what clone may make. What clone3 makes stands where a filter cannot
	// look; the C library takes clone where there is no clone3.
	return append(program,
		skip(unix.BPF_JEQ, unix.SYS_CLONE3, false), missing,
		skip(unix.BPF_JEQ, unix.SYS_CLONE, true), allow,
		load(firstArg), skip(unix.BPF_JSET, unix.CLONE_THREAD, true), refuse, allow)
}

// forbidCalls refuses this process, with all threads that it has and will have, the
// calls above, for good. Where the kernel or what surrounds it has no such filters
// (CanForbidCalls), it does nothing: the limits of memory and time hold all the same.
func forbidCalls() error {
	if CanForbidCalls() != nil {
		return nil
	}
	runtime.LockOSThread() // the first call is for the thread that makes the second, which is for all
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid system calls: %w", err)
	}
	program := callFilter(auditArch, append(archCalls(), forbiddenCalls...), argRules(uint32(os.Getpid())))
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	switch {
	case errno != 0:
		return fmt.Errorf("forbid system calls: %w", errno)
	case r != 0:
		return errors.New("forbid system calls: a thread has a filter of its own")
	}
	return nil
}

// CanForbidCalls says why compilers' processes of this system run without a filter
// of system calls; nil when they have one. A node tells its operator (MissingProtections).
func CanForbidCalls() error {
	if auditArch == 0 {
		return fmt.Errorf("no filter of system calls is known for %s", runtime.GOARCH)
	}
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	if errno != 0 {
		return fmt.Errorf("the kernel does not filter system calls: %w", errno)
	}
	return nil
}
