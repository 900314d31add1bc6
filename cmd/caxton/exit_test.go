package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// codes are the exit codes that people and scripts rely on. A code of the API
// that is not here fails TestEveryCodeHasAnExit.
func codes() map[caxtonhttp.Code]int {
	return map[caxtonhttp.Code]int{
		"INVALID_REQUEST": 2, "PAYLOAD_TOO_LARGE": 2,
		"AGENT_NOT_FOUND": 3, "DEAD_LETTER_NOT_FOUND": 3, "NODE_NOT_FOUND": 3, "BREAKER_NOT_FOUND": 3, "MESSAGE_NOT_FOUND": 3, "CONVERSATION_NOT_FOUND": 3, "MODULE_NOT_FOUND": 3, "STREAM_NOT_FOUND": 3, "STREAM_DELETED": 3, "HISTORY_REMOVED": 3, "NOT_FOUND": 3,
		"AMBIGUOUS_AGENT": 4, "NAME_TAKEN": 4, "KEY_REUSED": 4, "CONFLICT": 4, "ILLEGAL_STATE": 4,
		"BREAKER_OPEN": 5, "EMERGENCY_STOP": 4, "AGENT_SUSPENDED": 4, "AGENT_STOPPED": 4, "AGENT_FAILED": 4, "TOO_MANY_AGENTS": 4,
		"NOT_READY": 5, "SHUTTING_DOWN": 5, "READ_ONLY": 5, "DISK_LOW": 5, "OVERLOADED": 5,
		"INVALID_WASM": 1, "MIGRATION_FAILED": 1, "WASM_REFUSED": 1, "METHOD_NOT_ALLOWED": 1, "NOT_IMPLEMENTED": 1, "UNSUPPORTED_MEDIA_TYPE": 1,
		"HEADERS_TOO_LARGE": 1, "MISDIRECTED_REQUEST": 1, "FORBIDDEN": 1, "EFFECTS_TOO_LARGE": 1, "QUEUE_FULL": 1,
		"OUTCOME_UNKNOWN": 1, "REQUEST_TIMEOUT": 1, "TIMEOUT": 1, "INTERNAL": 1,
	}
}

// declaredCodes reads the constants of type Code from the package http.
func declaredCodes(t *testing.T) []caxtonhttp.Code {
	t.Helper()
	src, err := os.ReadFile("../../http/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "problem.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []caxtonhttp.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Code" {
			s, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, caxtonhttp.Code(s))
		}
		return true
	})
	return found
}

func TestEveryCodeHasAnExit(t *testing.T) {
	want, declared := codes(), declaredCodes(t)
	if len(declared) != len(want) {
		t.Errorf("%d codes declared, %d expected", len(declared), len(want))
	}
	for _, c := range declared {
		exit, ok := want[c]
		if !ok {
			t.Errorf("%s has no expected exit code", c)
			continue
		}
		err := fmt.Errorf("wrapped: %w", &caxtonhttp.ProblemError{Problem: caxtonhttp.Problem{Code: c}})
		if got := exitCode(err); got != exit {
			t.Errorf("%s exits %d, want %d", c, got, exit)
		}
	}
}

func TestOtherErrors(t *testing.T) {
	refused := &caxtonhttp.UnreachableError{URL: "http://h", Cause: fmt.Errorf("dial: %w", syscall.ECONNREFUSED)}
	for _, tc := range []struct {
		err  error
		exit int
		text string
	}{
		{nil, 0, ""},
		{errors.New("plain"), 1, "caxton: plain\n"},
		{usagef("bad %d", 1), 2, "caxton: bad 1\n"},
		{&usageError{text: "bad", next: "do this"}, 2, "caxton: bad\ndo this\n"},
		{events.Invalid("api", "must be a URL"), 2, "caxton: api must be a URL\n"},
		{refused, 5, "caxton: cannot reach http://h: connection refused; is it running? start it with: caxton server start\n"},
		{&caxtonhttp.UnreachableError{URL: "http://h", Cause: io.ErrUnexpectedEOF}, 5, "caxton: cannot reach http://h: unexpected EOF; is --api (or CAXTON_API) right?\n"},
		{&caxtonhttp.UnreachableError{URL: "http://h", Cause: context.DeadlineExceeded}, 5, "caxton: cannot reach http://h: no answer in time; is --api (or CAXTON_API) right?\n"},
		{&caxtonhttp.UnansweredError{URL: "http://h", Cause: context.DeadlineExceeded}, 1, "caxton: outcome unknown: the call was sent to http://h, and then: no answer in time\n" + lookFirst + "\n"},
		{&caxtonhttp.ProblemError{Problem: caxtonhttp.Problem{Detail: "a\x1b[31m\nb", Code: caxtonhttp.CodeConflict}}, 4, "caxton: a [31m b\n"},
	} {
		var out bytes.Buffer
		(&app{stderr: &out}).complain(tc.err)
		if got := exitCode(tc.err); got != tc.exit || out.String() != tc.text {
			t.Errorf("%v: exit %d, %q; want %d, %q", tc.err, got, out.String(), tc.exit, tc.text)
		}
	}
}

// TestServeFlags: what the flags say reaches the wiring; bare caxton says
// nothing, which means the defaults.
func TestServeFlags(t *testing.T) {
	var got serveOptions
	fake := func(_ context.Context, o serveOptions, _, _ io.Writer) error { got = o; return nil }
	for _, tc := range []struct {
		args string
		want serveOptions
	}{
		{"", serveOptions{}},
		{"server start", serveOptions{}},
		{"server start --config c --data-dir d --api-addr a:1 --metrics-addr m:2 --node-id n --bootstrap --demo --log-level debug --log-format json",
			serveOptions{"c", "d", "a:1", "m:2", "n", true, true, "debug", "json"}},
	} {
		got = serveOptions{nodeID: "not called"}
		if code := runWith(t.Context(), newApp(nil, io.Discard, io.Discard, fake), strings.Fields(tc.args)); code != 0 || got != tc.want {
			t.Errorf("caxton %s: exit %d, %+v", tc.args, code, got)
		}
	}
	failing := func(context.Context, serveOptions, io.Writer, io.Writer) error { return errors.New("port in use") }
	var stderr bytes.Buffer
	if code := runWith(t.Context(), newApp(nil, io.Discard, &stderr, failing), nil); code != 1 || stderr.String() != "caxton: port in use\n" {
		t.Errorf("a server that fails: exit %d, %q", code, stderr.String())
	}
}
