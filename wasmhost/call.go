package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/caxton-run/caxton/events"
)

// StateReader is an agent's durable key-value state as it was before the
// message. Values are not changed and not kept.
type StateReader interface {
	Get(key string) (value []byte, ok bool)
}

// Call is one message and what the guest may know and use while it handles it.
type Call struct {
	Message *events.Message
	Host    events.HostRecord
	Fuel    events.Fuel   // at most; 0 lets nothing run
	Timeout time.Duration // wall clock; 0 means none, as in a replay
	State   StateReader   // nil is empty
	Agent   AgentReader   // nil has neither timers nor capabilities
	Long    bool          // it is expected to compute for long: in the background, if there is a place
	Deep    bool          // calls nest as deep as the meter lets any, whatever Config.CallDepth: for what succeeded under another meter

	background bool // it runs there
}

// Outcome is what a call came to. Effects (Reply, Sends, State, Timers, Capabilities) are set only
// with OutcomeOK; Logs with any.
type Outcome struct {
	Status       events.OutcomeStatus
	GuestStatus  int32 // what caxton_handle returned, with OutcomeRefused
	Detail       string
	Reply        []byte // content, as the guest gave it
	Replied      bool   // whether Reply counts: an empty reply is one
	Sends        []events.Message
	Logs         []events.LogLine
	State        []events.StateChange // the last change of each key, in order of the first
	Timers       []TimerChange        // in order
	Capabilities []string             // registered, in order; none that the agent had
	Fuel         events.Fuel          // used, at most Call.Fuel
	SeedUsed     bool                 // whether a replay needs Host.Seed

	// Short is set when the node had no memory for the run, which as its Status is a
	// HostFault: that says nothing of the guest, and passes. It wraps
	// events.ErrOverloaded. What no guest of this node could be given leaves it nil.
	Short error
}

// Handle runs caxton_handle on one message. It never panics, and returns soon
// after Timeout, Kill or the end of ctx (both OutcomeKilled) at the latest.
func (in *Instance) Handle(ctx context.Context, c Call) (out Outcome) {
	if !in.mod.info.HandlesMessages {
		return Outcome{Status: events.OutcomeNoHandler, Detail: "the module does not export " + exportHandle}
	}
	if c.Long && in.handleInBackground(ctx, c, &out) {
		return out
	}
	in.serve(ctx, &c, nil, &out)
	return out
}

// serve runs one call into the guest: a message, or a change of its module. Call
// and Outcome are large, so they are not passed on as values: copies of them would
// take a fifth of the smallest call.
func (in *Instance) serve(ctx context.Context, c *Call, change *Change, out *Outcome) {
	switch {
	case in.killed.Load():
		out.Status, out.Detail = events.OutcomeKilled, "killed"
		return
	case in.broken.Load():
		out.Status, out.Detail = events.OutcomeHostFault, "the instance is not usable after a failure"
		return
	case in.mod.abi != "":
		out.Status, out.Detail = events.OutcomeBadABI, in.mod.abi
		return
	case !in.claim():
		out.Status, out.Detail = events.OutcomeHostFault, "the instance is in use or closed"
		return
	}
	defer in.served(out)
	if change != nil {
		in.begin(ctx, c, nil)
		in.call.migrating = true
		in.outcome(in.deliver(change.encode(), in.guest.ExportedFunction(exportMigrate)), out)
		return
	}
	ways := in.entries()
	body, err := encodeMessage(ways.message, c.Message)
	if err != nil {
		out.Status, out.Detail = events.OutcomeHostFault, err.Error()
		return
	}
	if cap(body) <= maxWarmMessage {
		ways.message = body[:0]
	}
	in.begin(ctx, c, body)
	in.call.handling = true
	in.outcome(in.deliver(body, ways.handle), out)
}

// served is the end of serve, however it came.
func (in *Instance) served(out *Outcome) {
	if r := recover(); r != nil {
		*out = Outcome{Status: events.OutcomeHostFault, Detail: fmt.Sprintf("panic: %.200v", r)}
	}
	if out.Status != events.OutcomeOK {
		in.broken.Store(true)
	}
	in.clock = max(in.clock, in.call.nanos())
	in.call = call{}
	in.rest()
	in.unclaim()
}

// badABI is a guest that broke the calling convention.
type badABI struct{ detail string }

func (e *badABI) Error() string { return e.detail }

// refused is a non-zero status of the function that was called.
type refused struct {
	by     string
	status int32
}

func (e *refused) Error() string { return fmt.Sprintf("%s returned %d", e.by, e.status) }

// deliver puts a message, or what else f takes, into the guest's memory and calls f
// with it.
func (in *Instance) deliver(body []byte, f api.Function) error {
	ways := in.entries()
	size := uint32(len(body)) // bounded by the size of a message
	in.stack[0] = uint64(size)
	if err := in.enter(ways.alloc); err != nil {
		return err
	}
	ptr := uint32(in.stack[0])
	if ptr == 0 {
		return &badABI{fmt.Sprintf("%s(%d) returned 0", exportAlloc, size)}
	}
	if !in.mem.Write(ptr, body) {
		return &badABI{fmt.Sprintf("%s(%d) returned %d, beyond the memory of %d bytes", exportAlloc, size, ptr, in.mem.Size())}
	}
	in.stack[0], in.stack[1] = uint64(ptr), uint64(size)
	if err := in.enter(f); err != nil {
		return err
	}
	if status := int32(in.stack[0]); status != 0 {
		return &refused{in.serving(), status}
	}
	return nil
}

// serving names the function that the call is for.
func (in *Instance) serving() string {
	if in.call.migrating {
		return exportMigrate
	}
	return exportHandle
}

// outcome tells what a run came to.
func (in *Instance) outcome(err error, out *Outcome) {
	c := &in.call
	c.flushLines(in.host.cfg.MaxLogBytes)
	status, detail := in.classify(err)
	used, over := in.used()
	if in.linear.exhausted {
		// The guest was told -1, as at its own limit. What it did then is nothing
		// that a replay would repeat.
		status, detail = events.OutcomeHostFault, "the node has no more memory for guests"
	} else if over && status != events.OutcomeTimeout && status != events.OutcomeKilled {
		// Whatever it came to, it took more than it had: a straight line of
		// code may pass the end before the next check.
		status, detail = events.OutcomeOutOfFuel, in.fuelDetail()
	}
	out.Status, out.Detail, out.Logs = status, detail, c.logs
	out.Fuel, out.SeedUsed, out.Short = used, c.random != nil, in.short()
	switch status {
	case events.OutcomeOK:
		out.Reply, out.Replied = c.reply, c.replied
		out.Sends, out.State, out.Timers = c.sends, c.changes, c.timers.list
		out.Capabilities = c.registered
	case events.OutcomeRefused:
		var no *refused
		if errors.As(err, &no) {
			out.GuestStatus = no.status
		}
	}
}

// short is why the node had no memory for the call; nil when it had.
func (in *Instance) short() error {
	if in.call.stackFull {
		return fmt.Errorf("wasmhost: guests' stacks have all of %d bytes: %w", in.host.cfg.GuestStacks, events.ErrOverloaded)
	}
	return in.linear.short()
}

func (in *Instance) fuelDetail() string {
	return fmt.Sprintf("used all of its fuel, %d", in.call.budget)
}

// classify tells the ways apart in which a call into a guest can end.
func (in *Instance) classify(err error) (events.OutcomeStatus, string) {
	if err == nil {
		return events.OutcomeOK, ""
	}
	var no *refused
	if errors.As(err, &no) {
		return events.OutcomeRefused, no.Error()
	}
	var abi *badABI
	if errors.As(err, &abi) {
		return events.OutcomeBadABI, abi.detail
	}
	status, detail := in.call.stop, in.call.stopDetail
	text := err.Error()
	switch {
	case status != "":
	case int32(in.depth.Get()) < 0:
		return events.OutcomeStackOverflow, fmt.Sprintf("calls nest deeper than %d", in.call.depth)
	case strings.HasPrefix(text, "stack overflow"), strings.HasPrefix(text, "wasm error: stack overflow"):
		// The depth limit comes first (meter.StackBytes): no replay has to repeat this.
		return events.OutcomeHostFault, "the engine's stack is full"
	case strings.HasPrefix(text, "wasm error: "):
		status, detail = events.OutcomeTrap, trapDetail(text)
	default:
		return events.OutcomeHostFault, firstLine(text)
	}
	if status == events.OutcomeTrap && in.linear.denied {
		return events.OutcomeMemoryLimit, fmt.Sprintf("needs more than %d bytes of memory: %s", in.linear.limit+in.mod.charge, detail)
	}
	return status, detail
}

// maxTrapFrames of the guest's stack are told: enough to find the place.
const maxTrapFrames = 8

// trapDetail makes one line of an engine's trap: what, and in which functions.
func trapDetail(text string) string {
	lines := strings.Split(strings.TrimPrefix(text, "wasm error: "), "\n")
	var frames []string
	for _, l := range lines[1:] {
		name, ok := withoutTypes(strings.TrimSpace(l))
		if !ok || len(frames) == maxTrapFrames {
			continue
		}
		frames = append(frames, frameName(strings.TrimPrefix(name, ".")))
	}
	detail := lines[0]
	if len(frames) > 0 {
		detail += " in " + strings.Join(frames, " < ")
	}
	return firstLine(detail)
}

// withoutTypes takes the types off a frame, which is told as "name(i32,i64) i32" or, with
// several results, "name(i32) (i32,i64)". They are looked for at its end: a name may have
// parentheses too, and those of C++ have. Other lines are no frames.
func withoutTypes(line string) (name string, ok bool) {
	end := strings.LastIndexByte(line, '(')
	if end > 0 && strings.HasSuffix(line[:end], ") ") {
		end = strings.LastIndexByte(line[:end], '(')
	}
	if end < 0 {
		return "", false
	}
	return line[:end], true
}

// frameName is what a profile calls a function (functionName) that the engine calls
// "$n": n is its number after the meter added one before it.
func frameName(name string) string {
	digits, nameless := strings.CutPrefix(name, "$")
	n, err := strconv.ParseUint(digits, 10, 32)
	if !nameless || err != nil || n == 0 {
		return name
	}
	return fmt.Sprintf("func[%d]", n-1)
}
