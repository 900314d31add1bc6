package wasmhost

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"

	"github.com/tetratelabs/wazero/api"

	"github.com/caxton-run/caxton/events"
)

// The one table of negative codes that host functions of the module "caxton"
// answer with. They are part of ABI v1: a code never changes its meaning.
const (
	codeAbsent      int32 = -1 // no such key, field or pending timer
	codeBadPointer  int32 = -2 // a range lies outside the guest's memory
	codeInvalid     int32 = -3 // an argument is not what it has to be: JSON, UTF-8, a level, a receiver, a key, a time, a capability
	codeTooLarge    int32 = -4 // content beyond the size of a message, a key beyond its length, log room, timers or capabilities used up
	codeReplied     int32 = -5 // the message was replied to before
	codeUnavailable int32 = -6 // there is no message: the guest is being initialised
)

// maxContent is the most that one reply or send of the call may have as content. It
// is part of the record: a replay answers as the run did.
func (c *call) maxContent() int { return c.record.MaxContent() }

// maxSendBytes bounds the JSON of one send before it is parsed: the largest
// content in base64, the other fields, and room for white space.
func (c *call) maxSendBytes() uint32 { return uint32(2 * c.maxContent()) }

// maxFieldName bounds the path that msg_field follows: each name on it is a scan
// of the message.
const maxFieldName = 256

// maxKeyBytes bounds a state key: an index entry and a log line can show it.
const maxKeyBytes = 256

// Charges of host functions: costCall for the way out and back, then by bytes
// touched. They keep a slice's wall time near that of computing.
const (
	costCall     = 150
	costParse    = 16 // per byte of JSON read into fields
	costScan     = 1  // per byte of JSON searched
	bytesPerFuel = 8  // copied
)

func copyCost(n uint32) int64 { return costCall + int64(n)/bytesPerFuel }

// randomPiece is what is filled between two looks at fuel and deadline.
const randomPiece = 64 << 10

// hostFunc is a function that guests import. stack holds the parameters, whose
// upper halves are garbage where they are i32, and takes the result.
type hostFunc func(in *Instance, stack []uint64)

func arg(stack []uint64, i int) uint32 { return uint32(stack[i]) }

func answer(stack []uint64, code int32) { stack[0] = uint64(uint32(code)) }

// view returns guest memory without a copy; ok is false when it is not the
// guest's. A range of no bytes is always there.
func (in *Instance) view(ptr, n uint32) (b []byte, ok bool) {
	if n == 0 {
		return nil, true
	}
	if in.mem == nil {
		return nil, false
	}
	return in.mem.Read(ptr, n)
}

// copyOut returns a copy of guest memory that outlives the call.
func (in *Instance) copyOut(ptr, n uint32) (b []byte, ok bool) {
	v, ok := in.view(ptr, n)
	return append(make([]byte, 0, len(v)), v...), ok
}

// give writes a value for a guest that offered room for limit bytes, and
// answers its full length: nothing is copied when it does not fit.
func (in *Instance) give(stack []uint64, value []byte, ptr, limit uint32) {
	n := uint32(min(len(value), math.MaxInt32))
	if n > limit {
		answer(stack, int32(n))
		return
	}
	to, ok := in.view(ptr, n)
	if !ok {
		answer(stack, codeBadPointer)
		return
	}
	in.charge(int64(n) / bytesPerFuel)
	copy(to, value)
	answer(stack, int32(n))
}

func hostReply(in *Instance, stack []uint64) {
	ptr, n := arg(stack, 0), arg(stack, 1)
	in.charge(copyCost(n))
	c := &in.call
	b, ok := in.view(ptr, n)
	switch {
	case !c.handling:
		answer(stack, codeUnavailable)
	case !ok:
		answer(stack, codeBadPointer)
	case c.replied:
		answer(stack, codeReplied)
	case int64(n) > int64(c.maxContent()):
		answer(stack, codeTooLarge)
	default:
		in.roomFor(0, len(b), len(b))
		c.reply, c.replied = append(make([]byte, 0, len(b)), b...), true
		answer(stack, 0)
	}
}

func hostSend(in *Instance, stack []uint64) {
	ptr, n := arg(stack, 0), arg(stack, 1)
	most := in.call.maxSendBytes()
	in.charge(costCall + int64(min(n, most))*costParse)
	b, ok := in.view(ptr, n)
	switch {
	case !in.call.handling:
		answer(stack, codeUnavailable)
		return
	case !ok:
		answer(stack, codeBadPointer)
		return
	case n > most:
		answer(stack, codeTooLarge)
		return
	}
	m, code := parseSend(b, in.call.maxContent()) // copies what it keeps
	if code == 0 {
		in.roomFor(1, len(b), m.ContentSize())
		in.call.sends = append(in.call.sends, m)
	}
	answer(stack, code)
}

func hostField(in *Instance, stack []uint64) {
	nameAt, nameLen, ptr, limit := arg(stack, 0), arg(stack, 1), arg(stack, 2), arg(stack, 3)
	in.charge(costCall)
	name, ok := in.view(nameAt, nameLen)
	switch {
	case !in.call.handling:
		answer(stack, codeUnavailable)
		return
	case !ok:
		answer(stack, codeBadPointer)
		return
	case nameLen > maxFieldName:
		answer(stack, codeInvalid)
		return
	}
	names := int64(1 + bytes.Count(name, []byte{'.'}))
	in.charge(int64(nameLen) + names*int64(len(in.call.message))*costScan)
	value, ok := field(in.call.message, string(name), in.lookUp)
	if !ok {
		answer(stack, codeAbsent)
		return
	}
	in.give(stack, value, ptr, limit)
}

func hostLog(in *Instance, stack []uint64) {
	level, ptr, n := arg(stack, 0), arg(stack, 1), arg(stack, 2)
	in.charge(copyCost(n))
	levels := [...]events.LogLevel{events.LogDebug, events.LogInfo, events.LogWarn, events.LogError}
	b, ok := in.view(ptr, n)
	switch {
	case !ok:
		answer(stack, codeBadPointer)
	case int(level) >= len(levels):
		answer(stack, codeInvalid)
	case !in.call.log(levels[level], b, in.host.cfg.MaxLogBytes):
		answer(stack, codeTooLarge)
	default:
		answer(stack, 0)
	}
}

func hostNow(in *Instance, stack []uint64) {
	in.charge(costCall)
	stack[0] = uint64(in.call.nanos() / 1000)
}

// nanos is the guest's clock: the recorded reading and what it slept since.
func (c *call) nanos() int64 { return c.record.NowMicros*1000 + c.shift }

func hostRandom(in *Instance, stack []uint64) {
	answer(stack, in.fillRandom(arg(stack, 0), arg(stack, 1)))
}

// fillRandom fills guest memory with the call's random bytes.
func (in *Instance) fillRandom(ptr, n uint32) int32 {
	in.charge(costCall)
	b, ok := in.view(ptr, n)
	if !ok {
		return codeBadPointer
	}
	for random := in.random(); len(b) > 0; {
		piece := b[:min(len(b), randomPiece)]
		in.charge(int64(len(piece)))
		_, _ = random.Read(piece) // documented never to fail
		b = b[len(piece):]
	}
	return 0
}

// random returns the call's random bytes, which count as used from now on.
func (in *Instance) random() *rand.ChaCha8 {
	if in.call.random == nil {
		in.call.random = newRandom(in.call.record.Seed)
	}
	return in.call.random
}

// key reads a state key; the code is 0 or negative.
func (in *Instance) key(ptr, n uint32) (string, int32) {
	b, ok := in.view(ptr, n)
	switch {
	case !in.call.handling && !in.call.migrating:
		return "", codeUnavailable
	case !ok:
		return "", codeBadPointer
	case n > maxKeyBytes:
		return "", codeTooLarge
	case n == 0 || !validText(b):
		return "", codeInvalid
	}
	return string(b), 0
}

func hostStateGet(in *Instance, stack []uint64) {
	in.charge(costCall)
	key, code := in.key(arg(stack, 0), arg(stack, 1))
	ptr, limit := arg(stack, 2), arg(stack, 3)
	if code != 0 {
		answer(stack, code)
		return
	}
	value, ok := in.lookup(key)
	if !ok {
		answer(stack, codeAbsent)
		return
	}
	in.give(stack, value, ptr, limit)
}

func hostStatePut(in *Instance, stack []uint64) {
	ptr, n := arg(stack, 2), arg(stack, 3)
	in.charge(copyCost(n))
	key, code := in.key(arg(stack, 0), arg(stack, 1))
	if code != 0 {
		answer(stack, code)
		return
	}
	if _, ok := in.view(ptr, n); !ok {
		answer(stack, codeBadPointer)
		return
	}
	if int64(n) > int64(in.host.cfg.MaxEffectBytes) {
		in.room(0, int(n)) // ends the call before the copy
	}
	value, _ := in.copyOut(ptr, n)
	in.change(events.StateChange{Key: key, Value: value})
	answer(stack, 0)
}

func hostStateDelete(in *Instance, stack []uint64) {
	in.charge(costCall)
	key, code := in.key(arg(stack, 0), arg(stack, 1))
	if code == 0 {
		in.change(events.StateChange{Key: key, Delete: true})
	}
	answer(stack, code)
}

func hostFuelLeft(in *Instance, stack []uint64) {
	in.charge(costCall)
	if !in.call.handling && !in.call.migrating { // the budget of an initialisation is the node's, and its image all nodes'
		stack[0] = 0
		return
	}
	used, _ := in.used()
	stack[0] = uint64(in.call.budget) - uint64(used)
}

// goFunc adapts a hostFunc to the engine.
func goFunc(f hostFunc) api.GoModuleFunc {
	return func(ctx context.Context, _ api.Module, stack []uint64) {
		f(ctx.(*guestContext).in, stack)
	}
}
