package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unicode"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnreachable = 5
)

// usageError is a command line that cannot be carried out as it stands.
type usageError struct {
	text string
	next string // what to do; may be empty
}

// Error implements error.
func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// failure is an error of a command's own that says what to do about it.
type failure struct {
	exit int // 0 stands for exitFailed
	text string
	next string
}

// Error implements error.
func (e *failure) Error() string { return e.text }

// verdict is what a server's code means for the one who called: an exit code,
// and what to do next.
type verdict struct {
	exit int
	next string
}

// lookFirst is what to do when a change may have been made, or not.
const lookFirst = "look whether it was done before you repeat it; at an agent with: caxton agent get AGENT"

// judge is the table from a problem's code to a verdict.
func judge(code caxtonhttp.Code) verdict {
	switch code {
	case caxtonhttp.CodeInvalidRequest, caxtonhttp.CodeTooLarge:
		return verdict{exitUsage, ""}
	case caxtonhttp.CodeInvalidWasm:
		return verdict{exitFailed, notWasm}
	case caxtonhttp.CodeWasmRefused:
		return verdict{exitFailed, "caxton agent check FILE says more"}
	case caxtonhttp.CodeAgentNotFound:
		return verdict{exitNotFound, "see what there is with: caxton agent list"}
	case caxtonhttp.CodeMessageNotFound, caxtonhttp.CodeNoConversation:
		return verdict{exitNotFound, "only the newest million messages are found by id; caxton agent events NAME has all"}
	case caxtonhttp.CodeModuleNotFound, caxtonhttp.CodeStreamNotFound, caxtonhttp.CodeStreamDeleted:
		return verdict{exitNotFound, ""}
	case caxtonhttp.CodeHistoryRemoved:
		return verdict{exitNotFound, "see what is left by leaving out --from"}
	case caxtonhttp.CodeNotFound:
		return verdict{exitNotFound, "is --api the address of a caxton server of this version?"}
	case caxtonhttp.CodeAmbiguous:
		return verdict{exitConflict, "use one of the ids"}
	case caxtonhttp.CodeNameTaken:
		return verdict{exitConflict, "choose another name, or leave out --unique-name"}
	case caxtonhttp.CodeKeyReused, caxtonhttp.CodeConflict, caxtonhttp.CodeIllegalState:
		return verdict{exitConflict, ""}
	case caxtonhttp.CodeAgentSuspended, caxtonhttp.CodeAgentStopped, caxtonhttp.CodeAgentFailed:
		return verdict{exitConflict, "let it run again with: caxton agent resume AGENT"}
	case caxtonhttp.CodeBreakerOpen:
		return verdict{exitUnreachable, "see which and why with: caxton circuit-breaker status"}
	case caxtonhttp.CodeEmergencyStop:
		return verdict{exitConflict, "let agents run again with: caxton agents resume --all"}
	case caxtonhttp.CodeAgentLimit:
		return verdict{exitConflict, "remove agents that are no longer needed: caxton agent remove AGENT"}
	case caxtonhttp.CodeNotReady, caxtonhttp.CodeShuttingDown, caxtonhttp.CodeReadOnly, caxtonhttp.CodeOverloaded:
		return verdict{exitUnreachable, "try again later"}
	case caxtonhttp.CodeDiskLow:
		return verdict{exitUnreachable, "make room on the server's disk, or wait for its scavenge; see GET /ready"}
	case caxtonhttp.CodeLetterNotFound:
		return verdict{exitNotFound, "see what there is with: caxton dead-letter list"}
	case caxtonhttp.CodeNodeNotFound:
		return verdict{exitNotFound, "see what there is with: caxton cluster members"}
	case caxtonhttp.CodeBreakerNotFound:
		return verdict{exitNotFound, "see what there is with: caxton circuit-breaker status"}
	case caxtonhttp.CodeMigrationFailed:
		return verdict{exitFailed, "the agent goes on as it was; mend the module, and try the new build with: caxton agent update AGENT FILE --dry-run"}
	case caxtonhttp.CodeQueueFull:
		return verdict{exitFailed, "try again later, or look whether the agent runs: caxton agent get AGENT"}
	case caxtonhttp.CodeUnknownOutcome:
		return verdict{exitFailed, lookFirst}
	case caxtonhttp.CodeMisdirected:
		return verdict{exitFailed, "call the server by a name that it is configured for"}
	case caxtonhttp.CodeInternal:
		return verdict{exitFailed, "the server's log tells more"}
	}
	return verdict{exitFailed, ""}
}

// verdictOf is the only place where an error gets an exit code.
func verdictOf(err error) verdict {
	var (
		usage   *usageError
		failed  *failure
		invalid *events.InvalidError
		problem *caxtonhttp.ProblemError
		unknown *caxtonhttp.UnansweredError
		away    *caxtonhttp.UnreachableError
	)
	switch {
	case err == nil:
		return verdict{exitOK, ""}
	case errors.As(err, &usage):
		return verdict{exitUsage, usage.next}
	case errors.As(err, &failed):
		return verdict{max(failed.exit, exitFailed), failed.next}
	case errors.As(err, &invalid):
		return verdict{exitUsage, ""}
	case errors.As(err, &problem):
		return judge(problem.Code)
	case errors.As(err, &unknown):
		return verdict{exitFailed, lookFirst}
	case errors.As(err, &away) && errors.Is(err, syscall.ECONNREFUSED):
		return verdict{exitUnreachable, "is it running? start it with: caxton server start"}
	case errors.As(err, &away):
		return verdict{exitUnreachable, "is --api (or CAXTON_API) right?"}
	}
	return verdict{exitFailed, ""}
}

func exitCode(err error) int { return verdictOf(err).exit }

// complain prints an error in one line, or two when there is something to do
// about it.
func (a *app) complain(err error) {
	if err == nil {
		return
	}
	var away *caxtonhttp.UnreachableError
	text, next := oneLine(err.Error()), verdictOf(err).next
	switch {
	case next == "":
		_, _ = fmt.Fprintf(a.stderr, "caxton: %s\n", text)
	case errors.As(err, &away):
		_, _ = fmt.Fprintf(a.stderr, "caxton: %s; %s\n", text, next)
	default:
		_, _ = fmt.Fprintf(a.stderr, "caxton: %s\n%s\n", text, next)
	}
}

// oneLine keeps a server's text from writing lines, or to the terminal, of its
// own accord, and from being read in another order than it is written: controls,
// of C1 too, separators of lines, and what sets the direction of text become spaces.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s) // which is UTF-8 after it: the byte 0x9b alone is a control to some terminals
}
