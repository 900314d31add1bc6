package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caxton-run/caxton/events"
)

// Problem is the body of every error answer (RFC 9457).
type Problem struct {
	Type     string              `json:"type"` // a URI that names the kind of problem
	Title    string              `json:"title"`
	Status   int                 `json:"status"`
	Detail   string              `json:"detail"`   // what went wrong this time
	Instance string              `json:"instance"` // path of the request
	Code     Code                `json:"code"`
	Errors   []events.FieldError `json:"errors,omitempty"`  // fault by fault, for INVALID_REQUEST
	Matches  []events.AgentID    `json:"matches,omitempty"` // for AMBIGUOUS_AGENT
	Request  string              `json:"request_id,omitempty"`
}

// Code names a kind of problem for programs. It never changes its meaning.
type Code string

// The codes of the interface.
const (
	CodeInvalidRequest  Code = "INVALID_REQUEST"
	CodeInvalidWasm     Code = "INVALID_WASM"
	CodeWasmRefused     Code = "WASM_REFUSED"
	CodeAgentNotFound   Code = "AGENT_NOT_FOUND"
	CodeModuleNotFound  Code = "MODULE_NOT_FOUND"
	CodeStreamNotFound  Code = "STREAM_NOT_FOUND"
	CodeStreamDeleted   Code = "STREAM_DELETED"
	CodeHistoryRemoved  Code = "HISTORY_REMOVED"
	CodeNotFound        Code = "NOT_FOUND"
	CodeMessageNotFound Code = "MESSAGE_NOT_FOUND"
	CodeNoConversation  Code = "CONVERSATION_NOT_FOUND"
	CodeMethod          Code = "METHOD_NOT_ALLOWED"
	CodeNotImplemented  Code = "NOT_IMPLEMENTED"
	CodeMediaType       Code = "UNSUPPORTED_MEDIA_TYPE"
	CodeTooLarge        Code = "PAYLOAD_TOO_LARGE"
	CodeHeadersTooLarge Code = "HEADERS_TOO_LARGE"
	CodeMisdirected     Code = "MISDIRECTED_REQUEST"
	CodeForbidden       Code = "FORBIDDEN"
	CodeAmbiguous       Code = "AMBIGUOUS_AGENT"
	CodeLetterNotFound  Code = "DEAD_LETTER_NOT_FOUND"
	CodeNodeNotFound    Code = "NODE_NOT_FOUND"
	CodeBreakerNotFound Code = "BREAKER_NOT_FOUND"
	CodeMigrationFailed Code = "MIGRATION_FAILED"
	CodeNameTaken       Code = "NAME_TAKEN"
	CodeKeyReused       Code = "KEY_REUSED"
	CodeConflict        Code = "CONFLICT"
	CodeIllegalState    Code = "ILLEGAL_STATE"
	CodeAgentSuspended  Code = "AGENT_SUSPENDED"
	CodeAgentStopped    Code = "AGENT_STOPPED"
	CodeAgentFailed     Code = "AGENT_FAILED"
	CodeBreakerOpen     Code = "BREAKER_OPEN"
	CodeEmergencyStop   Code = "EMERGENCY_STOP"
	CodeAgentLimit      Code = "TOO_MANY_AGENTS"
	CodeEffectsTooLarge Code = "EFFECTS_TOO_LARGE"
	CodeQueueFull       Code = "QUEUE_FULL"
	CodeOverloaded      Code = "OVERLOADED"
	CodeDiskLow         Code = "DISK_LOW"
	CodeReadOnly        Code = "READ_ONLY"
	CodeNotReady        Code = "NOT_READY"
	CodeShuttingDown    Code = "SHUTTING_DOWN"
	CodeUnknownOutcome  Code = "OUTCOME_UNKNOWN"
	CodeRequestTimeout  Code = "REQUEST_TIMEOUT"
	CodeTimeout         Code = "TIMEOUT"
	CodeInternal        Code = "INTERNAL"
)

// kind is one row of the error table: a code, its status and title, and the
// errors that become it.
type kind struct {
	code   Code
	status int
	title  string
	causes []error
	retry  int // seconds of Retry-After; 0: no such header
}

// kinds is the only place where an error gets a status. The first row of which
// a cause matches (errors.Is) applies; what matches none is INTERNAL.
var kinds = []kind{
	{code: CodeInvalidRequest, status: http.StatusBadRequest, title: "The request is invalid"}, // *events.InvalidError
	{code: CodeInvalidWasm, status: http.StatusBadRequest, title: "The module is not valid WebAssembly", causes: []error{events.ErrInvalidWasm}},
	{code: CodeWasmRefused, status: http.StatusUnprocessableEntity, title: "The module is not admitted"}, // *events.RefusedError
	{code: CodeAgentNotFound, status: http.StatusNotFound, title: "No such agent", causes: []error{events.ErrAgentNotFound}},
	{code: CodeMessageNotFound, status: http.StatusNotFound, title: "No such message", causes: []error{events.ErrMessageNotFound}},
	{code: CodeNoConversation, status: http.StatusNotFound, title: "No such conversation", causes: []error{events.ErrNoConversation}},
	{code: CodeModuleNotFound, status: http.StatusNotFound, title: "No such module", causes: []error{events.ErrModuleNotFound}},
	{code: CodeStreamNotFound, status: http.StatusNotFound, title: "No such stream", causes: []error{events.ErrStreamNotFound}},
	{code: CodeStreamDeleted, status: http.StatusGone, title: "The stream was deleted", causes: []error{events.ErrStreamDeleted}},
	{code: CodeNotFound, status: http.StatusNotFound, title: "No such resource"},
	{code: CodeMethod, status: http.StatusMethodNotAllowed, title: "The resource does not have this method"},
	{code: CodeNotImplemented, status: http.StatusNotImplemented, title: "Unknown method"},
	{code: CodeMediaType, status: http.StatusUnsupportedMediaType, title: "Unsupported content type"},
	{code: CodeTooLarge, status: http.StatusRequestEntityTooLarge, title: "Too large", causes: []error{events.ErrContentTooLarge, events.ErrTooLarge}},
	{code: CodeHeadersTooLarge, status: http.StatusRequestHeaderFieldsTooLarge, title: "Request line or headers too large"},
	{code: CodeMisdirected, status: http.StatusMisdirectedRequest, title: "This server does not go by that name"},
	{code: CodeForbidden, status: http.StatusForbidden, title: "Not allowed"},
	{code: CodeAmbiguous, status: http.StatusConflict, title: "More than one agent matches", causes: []error{events.ErrAmbiguousAgent}},
	{code: CodeLetterNotFound, status: http.StatusNotFound, title: "No such dead letter", causes: []error{events.ErrLetterNotFound}},
	{code: CodeNodeNotFound, status: http.StatusNotFound, title: "No such node"},
	{code: CodeBreakerNotFound, status: http.StatusNotFound, title: "No such circuit breaker"},
	{code: CodeMigrationFailed, status: http.StatusUnprocessableEntity, title: "The new module could not take over the agent's state", causes: []error{events.ErrMigrationFailed}},
	{code: CodeNameTaken, status: http.StatusConflict, title: "The name is taken", causes: []error{events.ErrNameTaken}},
	{code: CodeKeyReused, status: http.StatusUnprocessableEntity, title: "Idempotency-Key was used for another request", causes: []error{events.ErrKeyReused}},
	{code: CodeConflict, status: http.StatusConflict, title: "Conflicting change", causes: []error{events.ErrConflict, events.ErrIDReused}},               // and *events.WrongRevisionError
	{code: CodeHistoryRemoved, status: http.StatusGone, title: "That part of the agent's history was removed", causes: []error{events.ErrHistoryRemoved}}, // after CONFLICT, which it may be the reason of
	{code: CodeIllegalState, status: http.StatusConflict, title: "Not possible in the agent's present state", causes: []error{events.ErrIllegalLifecycle}},
	{code: CodeAgentSuspended, status: http.StatusConflict, title: "The agent is suspended", causes: []error{events.ErrAgentSuspended}},
	{code: CodeAgentStopped, status: http.StatusConflict, title: "The agent is stopped", causes: []error{events.ErrAgentStopped}},
	{code: CodeAgentFailed, status: http.StatusConflict, title: "The agent has failed", causes: []error{events.ErrAgentFailed}},
	{code: CodeBreakerOpen, status: http.StatusServiceUnavailable, title: "A circuit breaker holds the agent off", causes: []error{events.ErrBreakerOpen}, retry: 60}, // *events.BreakerOpenError says when
	{code: CodeEmergencyStop, status: http.StatusServiceUnavailable, title: "An emergency stop is in force", causes: []error{events.ErrEmergencyStop}, retry: 60},
	{code: CodeAgentLimit, status: http.StatusConflict, title: "The node holds as many agents as it may", causes: []error{events.ErrTooManyAgents}},
	{code: CodeEffectsTooLarge, status: http.StatusUnprocessableEntity, title: "What the message causes is too large", causes: []error{events.ErrEffectsTooLarge}},
	{code: CodeQueueFull, status: http.StatusTooManyRequests, title: "The agent's mailbox is full", causes: []error{events.ErrMailboxFull}, retry: 1},
	{code: CodeOverloaded, status: http.StatusServiceUnavailable, title: "Too much at once", causes: []error{events.ErrOverloaded}, retry: 1},
	{code: CodeDiskLow, status: http.StatusInsufficientStorage, title: "The node's disk is nearly full", causes: []error{events.ErrDiskLow}}, // before READ_ONLY, which it may be as well
	{code: CodeReadOnly, status: http.StatusServiceUnavailable, title: "The node accepts no writes", causes: []error{events.ErrReadOnly}, retry: 5},
	{code: CodeNotReady, status: http.StatusServiceUnavailable, title: "The node is not ready", retry: 1},
	{code: CodeShuttingDown, status: http.StatusServiceUnavailable, title: "The node is shutting down", causes: []error{events.ErrShuttingDown, events.ErrClosed, context.Canceled}, retry: 5},
	{code: CodeUnknownOutcome, status: http.StatusServiceUnavailable, title: "It is not known whether the change was made", causes: []error{events.ErrUnknownOutcome}, retry: 1},
	{code: CodeRequestTimeout, status: http.StatusRequestTimeout, title: "The request took too long to arrive"},
	{code: CodeTimeout, status: http.StatusGatewayTimeout, title: "Timed out", causes: []error{events.ErrMessageTimeout, context.DeadlineExceeded}},
	{code: CodeInternal, status: http.StatusInternalServerError, title: "Internal error", causes: []error{events.ErrCorrupt, events.ErrUnknownType, events.ErrNewerSchema}},
}

// problemBase is where the kinds of problem are explained.
const problemBase = "https://caxton.run/problems/"

// codeError is an error of this package's own: it names its row directly.
type codeError struct {
	code   Code
	detail string
}

// Error implements error.
func (e *codeError) Error() string { return e.detail }

func refuse(code Code, format string, args ...any) error {
	return &codeError{code: code, detail: fmt.Sprintf(format, args...)}
}

func kindOf(code Code) kind {
	for _, k := range kinds {
		if k.code == code {
			return k
		}
	}
	return kinds[len(kinds)-1]
}

// classify finds the row of an error.
func classify(err error) kind {
	var (
		own     *codeError
		invalid *events.InvalidError
		refused *events.RefusedError
		wrong   *events.WrongRevisionError
		waiting *notReadyError
	)
	switch {
	case errors.As(err, &own):
		return kindOf(own.code)
	case errors.As(err, &invalid):
		return kindOf(CodeInvalidRequest)
	case errors.As(err, &refused):
		return kindOf(CodeWasmRefused)
	case errors.As(err, &wrong):
		return kindOf(CodeConflict)
	case errors.As(err, &waiting):
		return kindOf(CodeNotReady)
	}
	for _, k := range kinds {
		for _, cause := range k.causes {
			if errors.Is(err, cause) {
				return k
			}
		}
	}
	return kindOf(CodeInternal)
}

// problemOf describes an error to a caller. The text of an internal error stays
// here: it may name files and addresses.
func problemOf(err error, instance, requestID string) (Problem, kind) {
	k := classify(err)
	p := Problem{
		Type:     problemBase + strings.ReplaceAll(strings.ToLower(string(k.code)), "_", "-"),
		Title:    k.title,
		Status:   k.status,
		Detail:   err.Error(),
		Instance: instance,
		Code:     k.code,
		Request:  requestID,
	}
	var invalid *events.InvalidError
	if errors.As(err, &invalid) {
		p.Errors = invalid.Fields
		if len(p.Errors) > maxFaults {
			p.Errors = p.Errors[:maxFaults]
		}
		p.Detail = (&events.InvalidError{Fields: p.Errors}).Error()
	}
	var waiting *notReadyError
	if errors.As(err, &waiting) {
		p.Errors = waiting.missing.Fields
	}
	var ambiguous *events.AmbiguousError
	if errors.As(err, &ambiguous) {
		p.Matches = ambiguous.Matches
	}
	if k.code == CodeInternal {
		p.Detail = "something went wrong inside; the server's log tells more under request " + requestID
	}
	return p, k
}

// encode returns the problem's JSON.
func (p Problem) encode() []byte {
	b, err := json.Marshal(p)
	if err != nil { // strings, an int and ids: cannot fail
		panic(err)
	}
	return b
}

// clip shortens a caller's text for an error message.
func clip(s string) string {
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return s
}
