package events

// OutcomeStatus is how one run of a guest ended.
type OutcomeStatus string

// How a run ends. All but OK drop the message's effects.
const (
	OutcomeOK              OutcomeStatus = "OK"
	OutcomeNoHandler       OutcomeStatus = "NoHandler"       // the module exports no caxton_handle
	OutcomeRefused         OutcomeStatus = "Refused"         // caxton_handle returned non-zero
	OutcomeOutOfFuel       OutcomeStatus = "OutOfFuel"       // max_fuel spent
	OutcomeTimeout         OutcomeStatus = "Timeout"         // max_execution_time_ms passed; not deterministic
	OutcomeMemoryLimit     OutcomeStatus = "MemoryLimit"     // a trap after memory.grow was denied
	OutcomeStackOverflow   OutcomeStatus = "StackOverflow"   // call depth
	OutcomeTrap            OutcomeStatus = "Trap"            // any other Wasm trap, proc_exit, abort
	OutcomeKilled          OutcomeStatus = "Killed"          // from outside; not deterministic
	OutcomeBadABI          OutcomeStatus = "BadABI"          // the guest broke the calling convention
	OutcomeExpired         OutcomeStatus = "Expired"         // not run: its reply_by had passed
	OutcomeEffectsTooLarge OutcomeStatus = "EffectsTooLarge" // its events do not fit one append, or its state would pass its bound
	OutcomeNodeCrash       OutcomeStatus = "NodeCrash"       // the node's process ended twice while it ran; it is not run again
	OutcomeHostFault       OutcomeStatus = "HostFault"       // a fault of caxton itself, not of the guest
)

// Recurs reports whether the same message would end the same way again, so that
// trying it again is useless.
func (s OutcomeStatus) Recurs() bool {
	switch s {
	case OutcomeTimeout, OutcomeKilled, OutcomeHostFault, OutcomeNodeCrash:
		return false
	}
	return true
}

// Counts says whether a run tells anything of how its agent does (told), and whether it is
// a failure: for circuit breakers, and for storms. A refusal tells nothing, for the guest
// works and says no; nor do a run that somebody else ended, a message that came too late
// to be run, and a module that takes no messages at all.
func (s OutcomeStatus) Counts() (told, failed bool) {
	switch s {
	case OutcomeOK:
		return true, false
	case OutcomeOutOfFuel, OutcomeTimeout, OutcomeMemoryLimit, OutcomeStackOverflow,
		OutcomeTrap, OutcomeBadABI, OutcomeEffectsTooLarge, OutcomeHostFault:
		return true, true
	}
	return false, false
}

// HostRecord is everything a guest learned from outside its message and its
// state: with it a replay is exact.
type HostRecord struct {
	NowMicros int64  `json:"now_us"`         // the one clock reading of the message, µs since the Unix epoch
	Seed      uint64 `json:"seed,omitempty"` // of the guest's random bytes (ChaCha8)

	ContentLimit int `json:"content_limit,omitempty"` // bytes of content that the guest could send; 0 is 256 KiB

	Machine string `json:"machine,omitempty"` // processor's architecture, as Go calls it, of a guest that computes with floats; absent for others
}

// MaxContent is the most content, in bytes, that one send or reply may have.
func (h HostRecord) MaxContent() int {
	if h.ContentLimit == 0 {
		return MaxMessageContent
	}
	return h.ContentLimit
}

// LogLevel of a guest's log line.
type LogLevel string

// The levels a guest can log at.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// LogLine is one line a guest wrote.
type LogLine struct {
	Level LogLevel `json:"level"`
	Text  string   `json:"text"` // valid UTF-8; invalid bytes were replaced
}

// StateChange is one write of a guest to its durable key-value state.
type StateChange struct {
	Key    string `json:"key"`
	Value  []byte `json:"value,omitempty"` // base64 in JSON
	Delete bool   `json:"delete,omitempty"`
}
