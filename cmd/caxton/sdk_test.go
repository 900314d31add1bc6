package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// everyCall is where in a project each agent of testdata/sdk stands.
func everyCall(lang string) (from, to string) {
	switch lang {
	case "c":
		return "agent.c", "agent.c"
	case "go":
		return "main.go.txt", "main.go" // a .go file would be this package's to vet
	case "rust":
		return "lib.rs", "src/lib.rs"
	}
	return "agent.ts", "agent.ts"
}

// TestSDKs: an agent that calls everything an SDK has comes to the same in every
// language: ABI v1 whole, its codes too.
func TestSDKs(t *testing.T) {
	for _, lang := range fixtures.Languages() {
		t.Run(lang, func(t *testing.T) {
			env, missing := toolchain(lang)
			if missing != "" {
				t.Skip("this machine has no ", missing)
			}
			if fixtures.RaceDetector && lang == "go" {
				t.Skip("compiling it takes too long with the race detector")
			}
			dir := filepath.Join(t.TempDir(), "tally")
			var p begun
			if err := json.Unmarshal(caxton(t, "", "agent", "init", "--lang", lang, dir, "-o", "json"), &p); err != nil {
				t.Fatal(err)
			}
			from, to := everyCall(lang)
			src, err := os.ReadFile(filepath.Join("testdata", "sdk", from))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, to), src, 0o600); err != nil {
				t.Fatal(err)
			}
			build(t, dir, p.Build, env)
			content := `{"long":"` + strings.Repeat("x", 2000) + `"}`
			var got tried
			if err := json.Unmarshal(caxton(t, dir, "agent", "run", strings.Fields(p.Run)[3], "-m", content, "-o", "json"), &got); err != nil {
				t.Fatal(err)
			}
			checkEveryCall(t, got.Messages[0])
		})
	}
}

func checkEveryCall(t *testing.T, m triedMessage) {
	t.Helper()
	var answer map[string]any
	if err := json.Unmarshal(m.Answer.Content, &answer); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"sender": trialPrincipal, "absent": -1.0, "long": 2000.0, "parsed": -12.0, "bad": 2.0,
		"before": -1.0, "put": 0.0, "after": 5.0, "deleted": 0.0, "badkey": -3.0, "sent": 0.0, "badsend": -3.0,
		"timer": 1.0, "cancelled": 0.0, "notimer": -1.0, "capability": 0.0,
		"now": 1.0, "random": 0.0, "drawn": 1.0, "fuel": 1.0,
	}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	effects := []any{m.Logs, m.State, m.Sends, m.Timers, m.Capabilities}
	wanted := []any{
		[]events.LogLine{{Level: events.LogDebug, Text: "debug"}, {Level: events.LogError, Text: "error"}},
		[]events.StateChange{{Key: "k", Delete: true}, {Key: "kept", Value: []byte("yes")}},
		[]spoken{{Performative: events.Request, Receiver: "peer", Content: json.RawMessage("1")}},
		[]triedTimer{
			{Timer: 1, AfterUS: 60_000_000, Content: json.RawMessage("2")},
			{Timer: 2, AfterUS: 70_000_000, Content: json.RawMessage("3")}, {Timer: 2, Cancelled: true},
		},
		[]string{"add"},
	}
	if diff := cmp.Diff(wanted, effects); diff != "" {
		t.Errorf("logs, state, sends, timers, capabilities (-want +got):\n%s", diff)
	}
}
