package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]uint64{
		"0": 0, "1": 1, "7B": 7, "10KB": 10_000, "10kib": 10 << 10, "64MiB": 64 << 20, "2MB": 2_000_000, "1GiB": 1 << 30, "3gb": 3_000_000_000,
		"18446744073709551615": 1<<64 - 1,
	} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "B", "MiB", "-1", "1.5MiB", "1 MiB", "1M", "1K", "1iB", "1BB", "1TiB", "18446744073709551616", "18446744073709551615KB", "+1"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", in, got)
		}
	}
}

// FuzzParseSize: whatever is accepted means the same in bytes and in any case.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"64MiB", "1", "0GB", "99999999999999999999", "1KiBKiB", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseSize(s)
		if err != nil {
			return
		}
		if digits := strings.TrimRight(s, "BbIiKkMmGg"); n == 0 && strings.Trim(digits, "0") != "" {
			t.Errorf("parseSize(%q) = 0", s)
		}
		for _, same := range []string{fmt.Sprint(n), fmt.Sprint(n) + "B", strings.ToLower(s), strings.ToUpper(s)} {
			if back, err := parseSize(same); err != nil || back != n {
				t.Errorf("parseSize(%q) = %d, but parseSize(%q) = %d, %v", s, n, same, back, err)
			}
		}
	})
}

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
