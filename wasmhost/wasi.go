package wasmhost

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf16"

	"github.com/caxton-run/caxton/events"
)

// WASI preview 1, as far as language runtimes need it to start: there is no
// file but the three of stdio, no argument and no variable. Numbers are those of
// https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md
const (
	wasiOK    int32 = 0
	wasiBadf  int32 = 8
	wasiFault int32 = 21
	wasiInval int32 = 28

	stdin, stdout, stderr = 0, 1, 2

	filetypeCharacterDevice = 2
	fdstatBytes             = 24

	maxIOVecs = 1024 // as on common systems
)

func wasiFuncs() map[string]hostFunc {
	return map[string]hostFunc{
		"args_get":            wasiNothing,
		"args_sizes_get":      wasiNoSizes,
		"environ_get":         wasiNothing,
		"environ_sizes_get":   wasiNoSizes,
		"clock_time_get":      wasiClock,
		"random_get":          wasiRandom,
		"sched_yield":         wasiNothing,
		"proc_exit":           wasiExit,
		"poll_oneoff":         wasiPoll,
		"fd_close":            wasiStdioOnly,
		"fd_fdstat_get":       wasiFdstat,
		"fd_fdstat_set_flags": wasiStdioOnly,
		"fd_prestat_get":      wasiNoFile,
		"fd_prestat_dir_name": wasiNoFile,
		"fd_read":             wasiRead,
		"fd_write":            wasiWrite,

		"fd_filestat_get":      wasiNoFile,
		"fd_filestat_set_size": wasiNoFile,
		"fd_pread":             wasiNoFile,
		"fd_pwrite":            wasiNoFile,
		"fd_readdir":           wasiNoFile,
		"fd_seek":              wasiNoFile,
		"fd_sync":              wasiNoFile,
		"path_filestat_get":    wasiNoFile,
		"sock_accept":          wasiNoFile,
		"sock_shutdown":        wasiNoFile,
	}
}

func wasiNothing(in *Instance, stack []uint64) {
	in.charge(costCall)
	answer(stack, wasiOK)
}

func wasiNoFile(in *Instance, stack []uint64) {
	in.charge(costCall)
	answer(stack, wasiBadf)
}

func wasiStdioOnly(in *Instance, stack []uint64) {
	in.charge(costCall)
	if arg(stack, 0) > stderr {
		answer(stack, wasiBadf)
		return
	}
	answer(stack, wasiOK)
}

// wasiNoSizes answers no entries in no bytes.
func wasiNoSizes(in *Instance, stack []uint64) {
	in.charge(costCall)
	answer(stack, in.putU32(arg(stack, 0), 0)|in.putU32(arg(stack, 1), 0))
}

// putU32 writes a result; the code is wasiOK or wasiFault.
func (in *Instance) putU32(ptr, v uint32) int32 {
	b, ok := in.view(ptr, 4)
	if !ok {
		return wasiFault
	}
	binary.LittleEndian.PutUint32(b, v)
	return wasiOK
}

// wasiClock serves the realtime and the monotonic clock from the one recorded
// reading.
func wasiClock(in *Instance, stack []uint64) {
	in.charge(costCall)
	clock, ptr := arg(stack, 0), arg(stack, 2)
	if clock > 1 {
		answer(stack, wasiInval)
		return
	}
	b, ok := in.view(ptr, 8)
	if !ok {
		answer(stack, wasiFault)
		return
	}
	binary.LittleEndian.PutUint64(b, uint64(in.call.nanos()))
	answer(stack, wasiOK)
}

func wasiRandom(in *Instance, stack []uint64) {
	if in.fillRandom(arg(stack, 0), arg(stack, 1)) != 0 {
		answer(stack, wasiFault)
		return
	}
	answer(stack, wasiOK)
}

func wasiExit(in *Instance, stack []uint64) {
	in.stopWith(events.OutcomeTrap, fmt.Sprintf("the guest ended itself: proc_exit(%d)", int32(arg(stack, 0))))
}

func wasiFdstat(in *Instance, stack []uint64) {
	in.charge(costCall)
	fd, ptr := arg(stack, 0), arg(stack, 1)
	if fd > stderr {
		answer(stack, wasiBadf)
		return
	}
	b, ok := in.view(ptr, fdstatBytes)
	if !ok {
		answer(stack, wasiFault)
		return
	}
	clear(b)
	b[0] = filetypeCharacterDevice
	answer(stack, wasiOK)
}

// wasiRead finds the end of standard input.
func wasiRead(in *Instance, stack []uint64) {
	in.charge(costCall)
	if arg(stack, 0) != stdin {
		answer(stack, wasiBadf)
		return
	}
	answer(stack, in.putU32(arg(stack, 3), 0))
}

// wasiWrite makes lines of the agent's log of what is written to stdout and
// stderr. Text beyond the room for logs is dropped without an error: a language
// runtime that cannot print would end the guest.
func wasiWrite(in *Instance, stack []uint64) {
	fd, iovs, n, nwritten := arg(stack, 0), arg(stack, 1), arg(stack, 2), arg(stack, 3)
	in.charge(costCall + int64(min(n, maxIOVecs)))
	if fd != stdout && fd != stderr {
		answer(stack, wasiBadf)
		return
	}
	if n > maxIOVecs {
		answer(stack, wasiInval)
		return
	}
	vec, ok := in.view(iovs, n*8)
	if !ok {
		answer(stack, wasiFault)
		return
	}
	var total uint32
	for ; len(vec) > 0; vec = vec[8:] {
		size := binary.LittleEndian.Uint32(vec[4:])
		text, ok := in.view(binary.LittleEndian.Uint32(vec), size)
		if !ok || total+size < total {
			answer(stack, wasiFault)
			return
		}
		in.charge(int64(size) / bytesPerFuel)
		in.call.write(int(fd-stdout), text, in.host.cfg.MaxLogBytes)
		total += size
	}
	answer(stack, in.putU32(nwritten, total))
}

// Layout of poll_oneoff's subscriptions and events.
const (
	subscriptionBytes = 48
	eventBytes        = 32
	eventClock        = 0
	clockAbstime      = 1
)

// wasiPoll never waits. Files are ready at once; where only clocks are asked
// for, the guest's clock moves on to the earliest of them.
func wasiPoll(in *Instance, stack []uint64) {
	from, to, n, count := arg(stack, 0), arg(stack, 1), arg(stack, 2), arg(stack, 3)
	in.charge(costCall + int64(min(n, maxIOVecs))*8)
	if n == 0 || n > maxIOVecs {
		answer(stack, wasiInval)
		return
	}
	subs, ok := in.view(from, n*subscriptionBytes)
	out, ok2 := in.view(to, n*eventBytes)
	if !ok || !ok2 {
		answer(stack, wasiFault)
		return
	}
	first := in.call.earliest(subs)
	ready := make([]byte, 0, n*eventBytes) // out may overlap subs
	for ; len(subs) > 0; subs = subs[subscriptionBytes:] {
		isClock := subs[8] == eventClock
		if isClock && in.call.wait(subs) > first {
			continue
		}
		var ev [eventBytes]byte
		copy(ev[:8], subs[:8]) // userdata
		ev[10] = subs[8]
		if !isClock && binary.LittleEndian.Uint32(subs[16:]) > stderr {
			ev[8] = byte(wasiBadf)
		}
		ready = append(ready, ev[:]...)
	}
	copy(out, ready)
	in.call.sleep(first)
	answer(stack, in.putU32(count, uint32(len(ready)/eventBytes)))
}

// earliest returns the nanoseconds to the first clock, or 0 when a file is asked
// for.
func (c *call) earliest(subs []byte) int64 {
	first := int64(math.MaxInt64)
	for ; len(subs) > 0; subs = subs[subscriptionBytes:] {
		if subs[8] != eventClock {
			return 0
		}
		first = min(first, c.wait(subs))
	}
	return first
}

// sleep moves the guest's clock on, and not beyond what a clock can show.
func (c *call) sleep(nanos int64) {
	c.shift += min(nanos, max(0, math.MaxInt64/2-c.nanos()))
}

// wait returns how many nanoseconds ahead a clock subscription lies, at least 0.
func (c *call) wait(sub []byte) int64 {
	t := int64(min(binary.LittleEndian.Uint64(sub[24:]), math.MaxInt64))
	if binary.LittleEndian.Uint16(sub[40:])&clockAbstime != 0 {
		return max(0, t-c.nanos())
	}
	return t
}

// hostAbort is AssemblyScript's abort(message, file, line, column).
func hostAbort(in *Instance, stack []uint64) {
	msg, file := in.utf16(arg(stack, 0)), in.utf16(arg(stack, 1))
	detail := "abort: " + msg
	if file != "" {
		detail += fmt.Sprintf(" at %s:%d:%d", file, arg(stack, 2), arg(stack, 3))
	}
	in.stopWith(events.OutcomeTrap, firstLine(detail))
}

// maxAbortBytes of a string that abort shows.
const maxAbortBytes = 1024

// utf16 reads an AssemblyScript string: UTF-16, its length in bytes stands in
// the four bytes before it.
func (in *Instance) utf16(ptr uint32) string {
	if ptr < 4 {
		return ""
	}
	head, ok := in.view(ptr-4, 4)
	if !ok {
		return ""
	}
	n := min(binary.LittleEndian.Uint32(head), maxAbortBytes) &^ 1
	b, ok := in.view(ptr, n)
	if !ok {
		return ""
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// hostSeed is AssemblyScript's seed of Math.random: any number in [0, 1).
func hostSeed(in *Instance, stack []uint64) {
	in.charge(costCall)
	stack[0] = math.Float64bits(float64(in.random().Uint64()>>11) / (1 << 53))
}
