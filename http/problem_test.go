package http

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// sentinels pairs every Err… of package events with the code that a caller is
// to see. TestEverySentinelHasACode finds the ones that are missing here.
func sentinels() map[string]struct {
	err  error
	code Code
} {
	return map[string]struct {
		err  error
		code Code
	}{
		"ErrStreamNotFound":   {events.ErrStreamNotFound, CodeStreamNotFound},
		"ErrStreamDeleted":    {events.ErrStreamDeleted, CodeStreamDeleted},
		"ErrHistoryRemoved":   {events.ErrHistoryRemoved, CodeHistoryRemoved},
		"ErrReadOnly":         {events.ErrReadOnly, CodeReadOnly},
		"ErrDiskLow":          {events.ErrDiskLow, CodeDiskLow},
		"ErrTooLarge":         {events.ErrTooLarge, CodeTooLarge},
		"ErrCorrupt":          {events.ErrCorrupt, CodeInternal},
		"ErrIDReused":         {events.ErrIDReused, CodeConflict},
		"ErrUnknownOutcome":   {events.ErrUnknownOutcome, CodeUnknownOutcome},
		"ErrClosed":           {events.ErrClosed, CodeShuttingDown},
		"ErrAgentNotFound":    {events.ErrAgentNotFound, CodeAgentNotFound},
		"ErrAgentFailed":      {events.ErrAgentFailed, CodeAgentFailed},
		"ErrAgentSuspended":   {events.ErrAgentSuspended, CodeAgentSuspended},
		"ErrLetterNotFound":   {events.ErrLetterNotFound, CodeLetterNotFound},
		"ErrMigrationFailed":  {events.ErrMigrationFailed, CodeMigrationFailed},
		"ErrAgentStopped":     {events.ErrAgentStopped, CodeAgentStopped},
		"ErrNameTaken":        {events.ErrNameTaken, CodeNameTaken},
		"ErrMailboxFull":      {events.ErrMailboxFull, CodeQueueFull},
		"ErrKeyReused":        {events.ErrKeyReused, CodeKeyReused},
		"ErrConflict":         {events.ErrConflict, CodeConflict},
		"ErrTooManyAgents":    {events.ErrTooManyAgents, CodeAgentLimit},
		"ErrInvalidWasm":      {events.ErrInvalidWasm, CodeInvalidWasm},
		"ErrShuttingDown":     {events.ErrShuttingDown, CodeShuttingDown},
		"ErrOverloaded":       {events.ErrOverloaded, CodeOverloaded},
		"ErrMessageTimeout":   {events.ErrMessageTimeout, CodeTimeout},
		"ErrEffectsTooLarge":  {events.ErrEffectsTooLarge, CodeEffectsTooLarge},
		"ErrModuleNotFound":   {events.ErrModuleNotFound, CodeModuleNotFound},
		"ErrMessageNotFound":  {events.ErrMessageNotFound, CodeMessageNotFound},
		"ErrNoConversation":   {events.ErrNoConversation, CodeNoConversation},
		"ErrAmbiguousAgent":   {events.ErrAmbiguousAgent, CodeAmbiguous},
		"ErrContentTooLarge":  {events.ErrContentTooLarge, CodeTooLarge},
		"ErrBreakerOpen":      {events.ErrBreakerOpen, CodeBreakerOpen},
		"ErrEmergencyStop":    {events.ErrEmergencyStop, CodeEmergencyStop},
		"ErrIllegalLifecycle": {events.ErrIllegalLifecycle, CodeIllegalState},
		"ErrUnknownType":      {events.ErrUnknownType, CodeInternal},
		"ErrNewerSchema":      {events.ErrNewerSchema, CodeInternal},
	}
}

func TestEverySentinelHasACode(t *testing.T) {
	table := sentinels()
	declared := declaredErrors(t, "../events")
	if len(declared) < 20 {
		t.Fatalf("found only %v", declared)
	}
	for _, name := range declared {
		row, ok := table[name]
		if !ok {
			t.Errorf("events.%s stands in no row of this test, and perhaps of the error table", name)
			continue
		}
		if got := classify(fmt.Errorf("deploy agent x: %w", row.err)).code; got != row.code {
			t.Errorf("events.%s becomes %s, want %s", name, got, row.code)
		}
		if named := listed(row.err); !named {
			t.Errorf("events.%s is in no row of kinds: it becomes %s by falling through", name, row.code)
		}
	}
}

func listed(err error) bool {
	for _, k := range kinds {
		for _, c := range k.causes {
			if c == err {
				return true
			}
		}
	}
	return false
}

// declaredErrors lists the package-level variables Err… of a package.
func declaredErrors(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				for _, n := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(n.Name, "Err") {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

func TestTypedErrors(t *testing.T) {
	id := events.NewAgentID()
	for _, tc := range []struct {
		err    error
		code   Code
		status int
	}{
		{events.Invalid("name", "must not be empty"), CodeInvalidRequest, 400},
		{&events.RefusedError{Rule: "too_many_locals", Detail: "9"}, CodeWasmRefused, 422},
		{&events.WrongRevisionError{Stream: "agent-x"}, CodeConflict, 409},
		{&events.AmbiguousError{Ref: "a", Matches: []events.AgentID{id}}, CodeAmbiguous, 409},
		{&events.CorruptError{Where: "/var/lib/caxton/000001.log", Reason: "checksum"}, CodeInternal, 500},
		{context.DeadlineExceeded, CodeTimeout, 504},
		{context.Canceled, CodeShuttingDown, 503},
		{errors.New("disk /dev/sda1 on fire"), CodeInternal, 500},
	} {
		p, _ := problemOf(fmt.Errorf("x: %w", tc.err), "/p", "r-1")
		if p.Code != tc.code || p.Status != tc.status {
			t.Errorf("%v becomes %d %s, want %d %s", tc.err, p.Status, p.Code, tc.status, tc.code)
		}
		if leaked := strings.Contains(p.Detail, "/dev") || strings.Contains(p.Detail, "/var"); leaked {
			t.Errorf("internal detail given away: %q", p.Detail)
		}
	}
}

func TestKindsAreWellFormed(t *testing.T) {
	seen := map[Code]bool{}
	for _, k := range kinds {
		if seen[k.code] || k.title == "" || k.status < 400 || http.StatusText(k.status) == "" {
			t.Errorf("row %+v", k)
		}
		if retry := k.status == 429 || k.status == 503; retry != (k.retry > 0) {
			t.Errorf("%s with status %d has Retry-After %d", k.code, k.status, k.retry)
		}
		seen[k.code] = true
	}
}

// TestCommandErrorsReachTheCaller: whatever a command returns arrives with the
// table's status on every route that changes something.
func TestCommandErrorsReachTheCaller(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	for name, row := range sentinels() {
		r.node.mu.Lock()
		r.node.fail = row.err
		r.node.mu.Unlock()
		k := kindOf(row.code)
		for _, call := range [][3]string{
			{"POST", "/agents", `{"name":"n","wasm_module":"AGFzbQEAAAA="}`},
			{"POST", "/agents/a/messages", `{}`},
			{"POST", "/agents/a/suspend", `{}`},
			{"POST", "/agents/a/resume", `{}`},
			{"DELETE", "/agents/a", `{}`},
		} {
			got := exchange(t, r, call[0], base+call[1], call[2], "Content-Type", "application/json")
			wantProblem(t, got, k.status, k.code)
			if (got.header.Get("Retry-After") != "") != (k.retry > 0) {
				t.Errorf("%s: Retry-After %q", name, got.header.Get("Retry-After"))
			}
		}
	}
}
