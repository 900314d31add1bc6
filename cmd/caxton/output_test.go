package main

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59*time.Second + 999*time.Millisecond: "59s", time.Minute: "1m0s", 192 * time.Second: "3m12s",
		time.Hour: "1h0m", 5*time.Hour + 2*time.Minute + time.Second: "5h2m", 24 * time.Hour: "1d0h", 292 * time.Hour: "12d4h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestBytesOf(t *testing.T) {
	for n, want := range map[uint64]string{0: "0B", 8: "8B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 10 << 20: "10MiB", 1 << 40: "1TiB"} {
		if got := bytesOf(n); got != want {
			t.Errorf("bytesOf(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestYAMLKeepsOrderAndTypes(t *testing.T) {
	var out bytes.Buffer
	err := writeYAML(&out, struct {
		Z string            `json:"z"`
		A []string          `json:"a"`
		N map[string]string `json:"n"`
		I uint64            `json:"i"`
		E []string          `json:"e"`
	}{Z: "true", A: []string{"x: y", "2"}, N: map[string]string{"k": "v"}, I: 7, E: []string{}})
	want := "z: \"true\"\na:\n  - 'x: y'\n  - \"2\"\nn:\n  k: v\ni: 7\ne: []\n"
	if err != nil || out.String() != want {
		t.Errorf("got %q, %v; want %q", out.String(), err, want)
	}
}

func TestGrid(t *testing.T) {
	var out bytes.Buffer
	(&app{stdout: &out}).grid([]string{"NODE-ID", "STATUS"}, [][]string{{"node-1", "alive"}, {"a-long-node-name", ""}})
	want := "NODE-ID            STATUS\nnode-1             alive\na-long-node-name\n"
	if out.String() != want {
		t.Errorf("got\n%q, want\n%q", out.String(), want)
	}
}

// TestNobodyToAsk: a device that ends every question at once is no terminal, so
// what cannot be undone is refused and not asked about.
func TestNobodyToAsk(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var asked bytes.Buffer
	err = (&app{stdin: null, stderr: &asked}).confirm("remove tally")
	var usage *usageError
	if !errors.As(err, &usage) || asked.Len() != 0 {
		t.Errorf("got %v after asking %q, want a refusal and no question", err, asked.String())
	}
}
