package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/fixtures"
)

// TestProjectsBuild builds what "agent init" writes with the command that its
// README names, where the machine has the tools, and tries the module. Go is
// where this test is.
func TestProjectsBuild(t *testing.T) {
	for _, lang := range fixtures.Languages() {
		t.Run(lang, func(t *testing.T) {
			env, missing := toolchain(lang)
			if missing != "" {
				t.Skip("this machine has no ", missing)
			}
			dir := filepath.Join(t.TempDir(), "tally")
			var p begun
			if err := json.Unmarshal(caxton(t, "", "agent", "init", "--lang", lang, dir, "-o", "json"), &p); err != nil {
				t.Fatal(err)
			}
			build(t, dir, p.Build, env)
			wasm := strings.Fields(p.Run)[3] // caxton agent run FILE
			if b, err := os.ReadFile(filepath.Join(dir, wasm)); err != nil || !strings.Contains(string(b), "\x04name") {
				t.Errorf("the module has no section of names, so a Trap names no functions: %v", err)
			}
			if fixtures.RaceDetector && lang == "go" {
				return // it was built; to compile it again is too much here
			}
			caxton(t, dir, "agent", "check", wasm)
			tryTally(t, dir, wasm)
		})
	}
}

// TestAssemblyScriptSDK calls every function of the SDK from an agent. This compiler
// looks into no function that nothing calls, so a project that builds says little of
// the others.
func TestAssemblyScriptSDK(t *testing.T) {
	env, missing := toolchain("assemblyscript")
	if missing != "" {
		t.Skip("this machine has no ", missing)
	}
	source, err := os.ReadFile("testdata/sdk/every.ts")
	if err != nil {
		t.Fatal(err)
	}
	sdk, err := os.ReadFile("../../fixtures/sdk/assemblyscript/caxton.ts")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:@external\(.*\) )?export (?:declare )?function (\w+)`).FindAllSubmatch(sdk, -1) {
		if name := string(m[1]); name != "caxton_alloc" && !strings.Contains(string(source), "caxton."+name+"(") {
			t.Errorf("every.ts does not call %s", name)
		}
	}
	dir := filepath.Join(t.TempDir(), "every")
	var p begun
	if err := json.Unmarshal(caxton(t, "", "agent", "init", "--lang", "assemblyscript", dir, "-o", "json"), &p); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "agent.ts"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	build(t, dir, p.Build, env)
	caxton(t, dir, "agent", "check", "every.wasm")
	const message = `{"text":"a \"b\"\n\u0001 \\ ü 🎲"}`
	var got tried
	if err := json.Unmarshal(caxton(t, dir, "agent", "run", "every.wasm", "-m", message, "-o", "json"), &got); err != nil {
		t.Fatal(err)
	}
	var want, answer any
	if a := got.Messages[0].Answer; json.Unmarshal([]byte(message), &want) != nil || a == nil || json.Unmarshal(a.Content, &answer) != nil {
		t.Fatalf("%+v", got.Messages[0])
	}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Error(diff)
	}
}

// build runs a project's own command, but for what would ask the network.
func build(t *testing.T, dir, command string, env []string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", strings.TrimPrefix(command, "npm install && "))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// tryTally does what the projects' README proposes.
func tryTally(t *testing.T, dir, wasm string) {
	t.Helper()
	var got tried
	if err := json.Unmarshal(caxton(t, dir, "agent", "run", wasm, "-m", `{"n":2}`, "-m", `{"n":3}`, "-o", "json"), &got); err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, m := range got.Messages {
		total += i + 2
		var answer struct {
			Total int `json:"total"`
		}
		if m.Answer == nil || json.Unmarshal(m.Answer.Content, &answer) != nil || answer.Total != total {
			t.Errorf("message %d: %+v, want a total of %d", i+1, m, total)
		}
		if len(m.State) != 1 || string(m.State[0].Value) != fmt.Sprint(total) {
			t.Errorf("message %d: state %+v, want total = %d", i+1, m.State, total)
		}
	}
	refused := exec.Command("caxton", "agent", "run", wasm, "-m", `{"n":"two"}`)
	refused.Dir = dir
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "log      warn: content.n must be a whole number") {
		t.Errorf("a message that it cannot take: %v\n%s", err, out)
	}
}

// caxton runs the program, which TestMain put into PATH, and returns what it
// prints.
func caxton(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("caxton", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if ee, ok := err.(*exec.ExitError); ok {
			stderr = string(ee.Stderr)
		}
		t.Fatalf("caxton %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr)
	}
	return out
}

// toolchain returns what a language's compiler needs in its environment, or the
// name of what is missing.
func toolchain(lang string) (env []string, missing string) {
	switch lang {
	case "go":
		return []string{"GOWORK=off", "GOFLAGS=", "GOTOOLCHAIN=local"}, ""
	case "c":
		out, err := exec.Command("clang", "--print-targets").Output()
		if err != nil || !strings.Contains(string(out), "wasm32") {
			return nil, "clang for wasm32"
		}
		for _, tool := range []string{"wasm-ld", "make"} {
			if _, err := exec.LookPath(tool); err != nil {
				return nil, tool
			}
		}
		return nil, ""
	case "rust":
		return rustToolchain()
	}
	for _, tool := range []string{"npm", "asc"} { // npm would have to fetch the compiler
		if _, err := exec.LookPath(tool); err != nil {
			return nil, tool + " in PATH, where npm install of a project puts asc in node_modules/.bin"
		}
	}
	return nil, ""
}

// rustToolchain finds a pair of compiler and cargo that know the target: the
// first in PATH may be one without it, beside the distribution's.
func rustToolchain() (env []string, missing string) {
	path := os.Getenv("PATH")
	for _, dir := range filepath.SplitList(path) {
		rustc := filepath.Join(dir, "rustc")
		root, err := exec.Command(rustc, "--print", "sysroot").Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(root)), "lib", "rustlib", "wasm32-unknown-unknown")); err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cargo")); err == nil {
			return []string{"RUSTC=" + rustc, "PATH=" + dir + string(os.PathListSeparator) + path}, ""
		}
	}
	return nil, "cargo with the target wasm32-unknown-unknown"
}
