package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
)

// filesPerNode is what a node has open beside the log's tables and its clients'
// connections: listeners, the write-ahead log, workers' pipes, the program itself.
const filesPerNode = 128

// goodFiles leave room for some thousands of clients, one file each.
const goodFiles = 8192

// files looks at how many files a process may have open.
func (d *doctor) files(context.Context) finding {
	f := finding{Check: "open files", Status: checkOK}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		f.Measured = "not measured: " + err.Error()
		f.worse(checkWarn, "see: ulimit -n")
		return f
	}
	judgeFiles(&f, limit.Max, uint64(pebblestore.DefaultOptions().MaxOpenFiles)+filesPerNode)
	return f
}

// judgeFiles takes the hard limit: a Go program raises the soft one to it.
func judgeFiles(f *finding, limit, needed uint64) {
	f.Measured = fmt.Sprintf("at most %d", limit)
	if limit == math.MaxUint64 {
		f.Measured = "unlimited"
	}
	const raise = "raise LimitNOFILE of the unit, or ulimit -n"
	switch {
	case limit < needed:
		f.worse(checkFail, fmt.Sprintf("a node needs %d: %s", needed, raise))
	case limit < goodFiles:
		f.worse(checkWarn, fmt.Sprintf("%s are left for clients' connections: %s", count(limit-needed, "file"), raise))
	}
}

// nodeMemory is what a node takes beside the log's cache, without agents.
const nodeMemory = 128 << 20

// memory looks at how much there is for this process: the machine's, or less if
// a control group says so.
func (d *doctor) memory(context.Context) finding {
	f := finding{Check: "memory", Status: checkOK}
	total, available := machineMemory(d.system)
	limit, limited := groupMemory(d.system)
	if total == 0 && !limited {
		f.Measured = "not measured: the system does not tell"
		f.worse(checkWarn, "see: free -h")
		return f
	}
	f.Measured = bytesOf(total) + " of this machine"
	if limited && (limit < total || total == 0) {
		total, available = limit, min(available, limit)
		f.Measured = bytesOf(limit) + " of this control group"
	}
	f.Measured += fmt.Sprintf(", %s available", bytesOf(available))
	node := uint64(d.cfg.Events.CacheBytes) + nodeMemory
	judgeMemory(&f, total, node, uint64(d.cfg.Runtime.Compile.Memory)*uint64(wasmhost.DefaultConfig().CompileSlots))
	if !d.served && available < node {
		f.worse(checkWarn, fmt.Sprintf("a node takes %s without agents: end what else is running", bytesOf(node)))
	}
	return f
}

// judgeMemory: node is what a node takes, compilers what its workers may take
// for a moment beside it.
func judgeMemory(f *finding, total, node, compilers uint64) {
	switch {
	case total < node:
		f.worse(checkFail, fmt.Sprintf("a node takes %s without agents: give it more, or lower events.cache_bytes", bytesOf(node)))
	case total < node+compilers:
		f.worse(checkWarn, fmt.Sprintf("compiling two hard modules may take %s beside the node: lower runtime.compile.memory", bytesOf(compilers)))
	}
}

// machineMemory reads proc_meminfo(5) of a system; 0 where the system does not tell.
func machineMemory(system fs.FS) (total, available uint64) {
	b, err := fs.ReadFile(system, "proc/meminfo")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, err := strconv.ParseUint(f[1], 10, 54) // times 1024 fits 64 bits
		if err != nil {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			total = kib << 10
		case "MemAvailable:":
			available = kib << 10
		}
	}
	return total, available
}

// groupMemory is the lowest limit of this process's control group and of those
// above it, version 1 or 2.
func groupMemory(system fs.FS) (limit uint64, ok bool) {
	b, err := fs.ReadFile(system, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	limit = math.MaxUint64
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, file := "sys/fs/cgroup", "memory.max"
		switch parts[1] {
		case "": // version 2
		case "memory":
			root, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			if n, err := readNumber(system, path.Join(root, dir, file)); err == nil {
				limit = min(limit, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	const none = 1 << 62 // version 1 says "no limit" with a number about as large as this
	return limit, limit < none
}

func readNumber(system fs.FS, file string) (uint64, error) {
	b, err := fs.ReadFile(system, file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64) // "max" is none
}

// compiler compiles a small module as a server does: this program, started
// once more, with limits that the system must let it set.
func (d *doctor) compiler(ctx context.Context) finding {
	f := finding{Check: "compiler", Status: checkOK}
	began := d.now()
	t, err := newTrial(ctx, d.ground(), fixtures.Agent("echo"), events.DefaultLimits(), d.now)
	took := d.now().Sub(began)
	if err == nil {
		err = t.close(ctx)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		f.Measured = "not tried: " + err.Error()
		f.worse(checkWarn, "run this as the server's user")
		return f
	case err != nil:
		f.Measured = err.Error()
		f.worse(checkFail, "a node starts its own program once more to compile a module: let it do so, and have some memory")
		return f
	}
	f.Measured = "a small module in " + brief(took)
	return f
}

// confinement looks at what keeps compilers' processes in.
func (d *doctor) confinement(context.Context) finding {
	f := finding{Check: "confinement", Status: checkOK}
	judgeConfinement(&f, d.missing())
	return f
}

// judgeConfinement: without a protection modules are compiled all the same.
func judgeConfinement(f *finding, missing []wasmhost.MissingProtection) {
	if len(missing) == 0 {
		f.Measured = "compilers start no program, reach no network and look into no process"
		return
	}
	f.Measured = "a compiler that a module takes over could " + wasmhost.TellMissing(missing, func(m wasmhost.MissingProtection) string { return fmt.Sprintf("%s (%s)", m.Risk, m.Err) })
	f.worse(checkWarn, wasmhost.TellMissing(missing, func(m wasmhost.MissingProtection) string { return m.Name + ": " + m.Advice }))
}

// What a clock may show.
const (
	maxJump  = 50 * time.Millisecond // between wall and monotonic clock in one run; slewing does 0.5 ms a second
	maxAhead = time.Second           // of the log's last event before now
)

// firstYear is before every caxton: a clock that shows less was never set.
const firstYear = 2025

// setClock is what to do about most of that.
const setClock = "let chrony, systemd-timesyncd or the hypervisor set the clock"

// clock compares the wall clock with the monotonic one, with the log and with
// what the kernel knows of its synchronisation.
func (d *doctor) clock(context.Context) finding {
	now := d.now()
	elapsed := now.Sub(d.began) // monotonic
	shown := now.Round(0).Sub(d.began.Round(0))
	var tx syscall.Timex
	state, err := syscall.Adjtimex(&tx) // modes 0: only read
	f := finding{Check: "clock", Status: checkOK, Measured: now.UTC().Format(time.RFC3339)}
	const stateError, unsynchronised = 5, 0x40 // TIME_ERROR and STA_UNSYNC of adjtimex(2)
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSYS):
		f.Measured += ", not known whether synchronised"
	case err != nil:
		f.Measured += ", not known whether synchronised: " + err.Error()
	case state == stateError || tx.Status&unsynchronised != 0:
		f.Measured += ", not synchronised"
		f.worse(checkWarn, setClock)
	default:
		f.Measured += fmt.Sprintf(", synchronised to %s", brief(time.Duration(tx.Maxerror)*time.Microsecond))
	}
	judgeClock(&f, now, shown-elapsed, d.last)
	return f
}

// judgeClock: jump is how far the wall clock went from the monotonic one in a
// run, last when the log's last event was recorded.
func judgeClock(f *finding, now time.Time, jump time.Duration, last time.Time) {
	switch {
	case now.UTC().Year() < firstYear:
		f.worse(checkFail, "the clock was never set: "+setClock)
	case jump.Abs() > maxJump:
		f.Measured += fmt.Sprintf(", set by %s just now", jump.Round(time.Millisecond))
		f.worse(checkWarn, "something sets the clock in steps; let one service do it, by slewing")
	case last.Sub(now) > maxAhead:
		f.Measured += fmt.Sprintf(", the log's last event is from %s later", age(last.Sub(now)))
		f.worse(checkWarn, "the clock was set back, or the log comes from a machine whose clock is ahead: "+setClock)
	}
}
