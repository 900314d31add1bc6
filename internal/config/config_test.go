package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/caxton-run/caxton/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	file := write(t, `
server:
  port: ${PORT:-7000}
  metrics_port: 7001
  allowed_hosts: [localhost, "caxton.example"]
node: {id: "${NAME}-1", data_dir: $$data}
runtime:
  idle_timeout: 90s
  max_module_bytes: 16MiB
  limits: {defaults: {max_memory_bytes: 1000000, max_fuel: 5}}
`)
	got, err := Load(Sources{
		File:    file,
		Environ: []string{"NAME=blue", "CAXTON__SERVER__METRICS_PORT=7002", "CAXTON_SERVICE_HOST=10.0.0.1", "CAXTON__SECURITY__API__ALLOW_UNAUTHENTICATED=true"},
		Flags:   map[string]string{"runtime.idle_timeout": "2m", "server.host": "0.0.0.0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Server = Server{Host: "0.0.0.0", Port: 7000, MetricsHost: "127.0.0.1", MetricsPort: 7002, AllowedHosts: []string{"localhost", "caxton.example"}}
	want.Node = Node{ID: "blue-1", DataDir: "$data"}
	want.Security.API.AllowUnauthenticated = true
	want.Runtime.IdleTimeout = 2 * time.Minute
	want.Runtime.MaxModuleBytes = 16 << 20
	want.Runtime.Limits.Defaults.MaxMemoryBytes = 1_000_000
	want.Runtime.Limits.Defaults.MaxFuel = 5
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestFaults wants each fault to name its key, and what to do about it.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		file  string
		env   string
		wants []string
	}{
		{"unknown key", "server: {prot: 1}", "", []string{"server.prot", "did you mean server.port?", "config.yaml"}},
		{"unknown variable", "", "CAXTON__SERVER__PROT=1", []string{"server.prot", "the environment"}},
		{"nothing alike", "zzzzzzzzzzzzzzzzzzzz: 1", "", []string{"zzzzzzzzzzzzzzzzzzzz", "is not a key"}},
		{"section for a value", "server: {port: {x: 1}}", "", []string{"server.port.x"}},
		{"not a number", "server: {port: high}", "", []string{"server.port", "whole number", "high", "config.yaml"}},
		{"not a duration", "runtime: {idle_timeout: 5}", "", []string{"runtime.idle_timeout", "1m30s"}},
		{"not a size", "runtime: {max_module_bytes: 8XB}", "", []string{"runtime.max_module_bytes"}},
		{"not a truth", "security: {api: {allow_unauthenticated: perhaps}}", "", []string{"true or false"}},
		{"a list for a value", "node: {id: [a]}", "", []string{"node.id", "one value"}},
		{"a value for a list", "server: {allowed_hosts: 5}", "", []string{"server.allowed_hosts", "list"}},
		{"two at once", "server: {port: 70000, metrics_port: -1}", "", []string{"server.port", "0 to 65535", "70000", "server.metrics_port", "-1"}},
		{"reachable without authentication", "server: {host: 0.0.0.0}", "", []string{"server.host", "security.api.allow_unauthenticated"}},
		{"same port", "server: {port: 9, metrics_port: 9}", "", []string{"server.metrics_port", "must differ"}},
		{"a watermark below the one before", "events: {disk: {refuse_percent: 84}}", "", []string{"events.disk.refuse_percent", "85 to 100", "84"}},
		{"retention below what audits need", "events: {retention: 24h, audit: {retention: 48h}}", "", []string{"events.retention", "events.audit.retention", "48h0m0s", "24h0m0s"}},
		{"retention and no scavenge", "events: {retention: 24h, scavenge_every: 0s}", "", []string{"events.retention", "events.scavenge_every"}},
		{"a breaker that never opens", "breaker: {consecutive_failures: 0, failure_percent: 101, open_time: 10ms}", "", []string{"breaker.consecutive_failures", "1 to 1000", "breaker.failure_percent", "101", "breaker.open_time", "1s to 24h0m0s"}},
		{"default over ceiling", "runtime: {limits: {ceilings: {max_fuel: 5}}}", "", []string{"runtime.limits.defaults.max_fuel", "at most 5"}},
		{"no default", "node: {id: '${NOPE}'}", "", []string{"NOPE", "line 1"}},
		{"open brace", "node: {id: '${NOPE'}", "", []string{"${ without }"}},
		{"not YAML", "server: [", "", []string{"config.yaml"}},
		{"not a mapping", "- 1", "", []string{"config.yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := Sources{Environ: []string{c.env}}
			if c.file != "" {
				src.File = write(t, c.file)
			}
			_, err := Load(src)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q: %v", want, err)
				}
			}
		})
	}
}

func TestMissingFileIsNamed(t *testing.T) {
	_, err := Load(Sources{File: "/nonexistent/caxton.yaml"})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent/caxton.yaml") {
		t.Fatal(err)
	}
}

func TestFaultsAreInvalidErrors(t *testing.T) {
	_, err := Load(Sources{Flags: map[string]string{"server.port": "x"}})
	var invalid *events.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != "server.port" {
		t.Fatalf("%#v", err)
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "5": 5, "5B": 5, "2kb": 2000, "1 MiB": 1 << 20, "3GiB": 3 << 30} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1TiB", "1.5MB", "99999999999GiB", "18446744073709551616"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}

// FuzzParse feeds files: whatever they hold, the answer is a configuration
// within its bounds or an error.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a: b", "server: {port: ${PORT:-1}}", "x: &a [*a]", "node: {id: $$}", "? [a]: b", "a: !!binary x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := parse(text, []string{"PORT=5"})
		if err != nil {
			return
		}
		cfg := Default()
		for key, x := range fieldsOf(&cfg) {
			if v, ok := doc[key]; ok {
				_ = x.set(v)
			}
		}
	})
}

// FuzzParseBytes: whatever is accepted means the same in bytes and in any case.
func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"64MiB", "1", "0GB", "99999999999999999999", "1KiBKiB", "é", " 3 kb "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseBytes(s)
		if err != nil {
			return
		}
		for _, same := range []string{fmt.Sprint(uint64(n)), fmt.Sprint(uint64(n)) + "B", strings.ToLower(s), strings.ToUpper(s)} {
			if back, err := ParseBytes(same); err != nil || back != n {
				t.Errorf("%q is %d, but %q is %d, %v", s, n, same, back, err)
			}
		}
	})
}
