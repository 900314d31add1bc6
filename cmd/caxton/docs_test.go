package main

import (
	"os"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// TestAgentsDocument: docs/agents.md names every function that a guest may
// import, and shows the agents that "agent init" writes.
func TestAgentsDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/agents.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for _, module := range []string{meter.CaxtonModule, meter.EnvModule, meter.WASIModule} {
		for name := range meter.Offered(module) {
			if !strings.Contains(doc, "`"+name+"`") && !strings.Contains(doc, "`"+name+"(") && !strings.Contains(doc, "`env."+name+"`") {
				t.Errorf("docs/agents.md does not name %s.%s", module, name)
			}
		}
	}
	for _, lang := range fixtures.Languages() {
		p, err := fixtures.NewProject(lang, "tally")
		if err != nil {
			t.Fatal(err)
		}
		command, _, _ := strings.Cut(p.Build, " -o ")
		if !strings.Contains(doc, command) || !strings.Contains(doc, "caxton agent init --lang "+lang+" tally") {
			t.Errorf("docs/agents.md does not say how to begin and build an agent in %s: %s", lang, command)
		}
	}
}
