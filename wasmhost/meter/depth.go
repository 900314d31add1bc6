package meter

import "github.com/caxton-run/caxton/events"

const (
	// MaxDepth is the highest call depth limit. It keeps the worst stack (StackBytes) below the 50 MB at which the
	// engine gives up by itself, and every sum far from 32 bits.
	MaxDepth = 80_000
	// maxChain is the most that calls of functions which do not count may weigh
	// together, as long as there are few; in a module with a longer chain of them
	// every function counts. It also bounds their number: the engine's interpreter
	// holds 2,000 frames.
	maxChain = 256
	// hostBytes is what a function of the host takes, with its parameters and
	// those of listeners, below the last frame.
	hostBytes = 16 << 10
	// bulkBytes is what a bulk function takes, which weighs nothing.
	bulkBytes = 1 << 10
)

// CheckDepth validates a call depth limit: 1 to 80,000. It is the host's to set,
// in DepthGlobal. Errors are *events.InvalidError for "call_depth".
func CheckDepth(depth uint32) error {
	if depth == 0 || depth > MaxDepth {
		return events.Invalidf("call_depth", "must be 1 to %d, got %d", MaxDepth, depth)
	}
	return nil
}

// StackBytes is the most of the engine's stack that a call can take under a depth
// limit and caps: the frames that count, the one that found the limit passed,
// those that do not count, a bulk function's, and the host's. The engine doubles a stack that is too
// small, so its slice is at most about twice as large.
func StackBytes(depth uint32, caps Caps) int64 {
	return (int64(depth)+maxChain)*FrameUnit + int64(caps.FrameBytes) + bulkBytes + hostBytes
}
