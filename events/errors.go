package events

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinels of the log.
var (
	ErrStreamNotFound = errors.New("stream not found")
	ErrStreamDeleted  = errors.New("stream deleted")
	ErrReadOnly       = errors.New("store is read-only")
	ErrDiskLow        = errors.New("disk is nearly full")
	ErrTooLarge       = errors.New("append exceeds 1 MiB")
	ErrCorrupt        = errors.New("corrupt data")
	ErrIDReused       = errors.New("event id reused for another event")
	ErrUnknownOutcome = errors.New("outcome of append unknown")
	ErrClosed         = errors.New("closed")
)

// Sentinels of agents and their messages.
var (
	ErrAgentNotFound    = errors.New("agent not found")
	ErrLetterNotFound   = errors.New("no such dead letter")
	ErrAgentFailed      = errors.New("agent failed: supervision gave up")
	ErrAgentSuspended   = errors.New("agent is suspended")
	ErrAgentStopped     = errors.New("agent is stopped, or about to be")
	ErrMigrationFailed  = errors.New("the new module's migration failed")
	ErrNameTaken        = errors.New("agent name is taken")
	ErrMailboxFull      = errors.New("mailbox is full")
	ErrKeyReused        = errors.New("Idempotency-Key reused with another request")
	ErrConflict         = errors.New("conflicting change")
	ErrTooManyAgents    = errors.New("agent limit reached")
	ErrInvalidWasm      = errors.New("invalid wasm module")
	ErrOverloaded       = errors.New("overloaded")
	ErrShuttingDown     = errors.New("shutting down")
	ErrMessageTimeout   = errors.New("timed out")
	ErrEffectsTooLarge  = errors.New("effects do not fit an append")
	ErrModuleNotFound   = errors.New("module not found")
	ErrMessageNotFound  = errors.New("message not found")
	ErrNoConversation   = errors.New("conversation not found")
	ErrAmbiguousAgent   = errors.New("more than one agent matches")
	ErrContentTooLarge  = errors.New("message content too large")
	ErrEmergencyStop    = errors.New("an emergency stop is in force")
	ErrIllegalLifecycle = errors.New("illegal in the agent's present state")
)

// WrongRevisionError is an append whose expectation did not hold: someone else
// wrote to the stream.
type WrongRevisionError struct {
	Stream   Stream
	Expected ExpectedRevision
	Actual   Revision // of the last event; meaningless when Exists is false
	Exists   bool     // whether the stream has events
}

// Error implements error.
func (e *WrongRevisionError) Error() string {
	actual := "no stream"
	if e.Exists {
		actual = fmt.Sprint(uint64(e.Actual))
	}
	return fmt.Sprintf("stream %s: expected revision %s, found %s", e.Stream, e.Expected, actual)
}

// CorruptError names where damaged data was found. It is ErrCorrupt.
type CorruptError struct {
	Where  string // file, key or position
	Reason string
}

// Error implements error.
func (e *CorruptError) Error() string { return "corrupt data: " + e.Where + ": " + e.Reason }

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// FieldError is one fault of a request.
type FieldError struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// InvalidError lists the faults of a request, each with its field and bound.
type InvalidError struct{ Fields []FieldError }

// Error implements error.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + " " + f.Reason
	}
	return strings.Join(parts, "; ")
}

// Invalid returns an *InvalidError with one fault.
func Invalid(field, reason string) error {
	return &InvalidError{Fields: []FieldError{{Field: field, Reason: reason}}}
}

// Invalidf is Invalid with a formatted reason.
func Invalidf(field, format string, args ...any) error {
	return Invalid(field, fmt.Sprintf(format, args...))
}

// Faults gathers field errors. Its zero value is empty and ready.
type Faults struct{ fields []FieldError }

// Add records a fault.
func (f *Faults) Add(field, format string, args ...any) {
	f.fields = append(f.fields, FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// Merge records err: the faults of an *InvalidError one by one, any other error
// as a fault of field.
func (f *Faults) Merge(field string, err error) {
	if err == nil {
		return
	}
	var inv *InvalidError
	if errors.As(err, &inv) {
		f.fields = append(f.fields, inv.Fields...)
		return
	}
	f.Add(field, "%s", err.Error())
}

// Err returns all faults as one *InvalidError, or nil.
func (f *Faults) Err() error {
	if len(f.fields) == 0 {
		return nil
	}
	return &InvalidError{Fields: f.fields}
}

// RefusedError is a module that is valid Wasm and yet not admitted: it breaks a
// cap of the gate, imports what is not offered, or cannot be compiled within
// bounds.
type RefusedError struct {
	Rule   string // snake_case name of the rule, e.g. "too_many_locals"
	Detail string // what was found and the bound
}

// Error implements error.
func (e *RefusedError) Error() string { return "module refused: " + e.Rule + ": " + e.Detail }

// AmbiguousError lists the agents that a name or prefix matches. It is
// ErrAmbiguousAgent.
type AmbiguousError struct {
	Ref     string
	Matches []AgentID
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	ids := make([]string, len(e.Matches))
	for i, id := range e.Matches {
		ids[i] = id.String()
	}
	return fmt.Sprintf("%q matches more than one agent: %s", e.Ref, strings.Join(ids, ", "))
}

// Is makes errors.Is(err, ErrAmbiguousAgent) true.
func (e *AmbiguousError) Is(target error) bool { return target == ErrAmbiguousAgent }
