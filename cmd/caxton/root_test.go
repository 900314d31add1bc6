package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWhereTheServerIs: the flag, then the environment, then the configuration
// file of the server.
func TestWhereTheServerIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("server: {host: 127.0.0.2, port: 81}\n")
	for _, c := range []struct{ api, env, config, want string }{
		{"", "", "", ""},
		{"", "", file, "http://127.0.0.2:81"},
		{"", "http://b", file, "http://b"},
		{"http://a", "http://b", file, "http://a"},
	} {
		a := &app{api: c.api, config: c.config, getenv: func(string) string { return c.env }}
		if got, err := a.apiURL(); err != nil || got != c.want {
			t.Errorf("--api %q, CAXTON_API %q, --config %q: %q, %v", c.api, c.env, c.config, got, err)
		}
	}
	a := &app{config: file, getenv: func(string) string { return "" }}
	write("server: {host: \"::\", port: 81}\nsecurity: {api: {allow_unauthenticated: true}}\n")
	if got, err := a.apiURL(); err != nil || got != "http://localhost:81" {
		t.Errorf("a server on every address: %q, %v", got, err)
	}
	write("server: {prot: 81}\n")
	if got, err := a.apiURL(); err == nil {
		t.Errorf("a key that does not exist: %q", got)
	}
}
