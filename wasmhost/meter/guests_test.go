package meter

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/fixtures"
)

// guests are real programs in each language, with much of its library:
// testdata/guests.
func guests() []struct {
	name string
	runs []string // exported functions (n i32) -> i32
} {
	return []struct {
		name string
		runs []string
	}{
		{"go.wasm.gz", []string{"json", "regexp", "template", "sort"}},
		{"rust.wasm", []string{"json", "maps", "text"}},
		{"cpp.wasm", []string{"shapes", "maps", "sorting"}},
		{"assemblyscript.wasm", []string{"tree", "text", "maps"}},
	}
}

func guestModule(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "guests", name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(name, ".gz") {
		return b
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGuestsPass: the gate admits what the toolchains make.
func TestGuestsPass(t *testing.T) {
	for _, g := range guests() {
		rep, err := Check(guestModule(t, g.name), DefaultCaps())
		if err != nil || rep.Size == 0 {
			t.Errorf("%s: %v", g.name, err)
		}
	}
}

// TestGuestsRun: they compute the same metered, and use the same fuel on both
// engines and in slices of any size.
func TestGuestsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles megabytes")
	}
	const rounds = 2
	for _, g := range guests() {
		if fixtures.RaceDetector && g.name == "go.wasm.gz" {
			continue
		}
		src := guestModule(t, g.name)
		plain := newMachine(t, engines()[0], src, false, 0)
		plain.initialize()
		machines := map[string]*machine{
			"compiler":       newMachine(t, engines()[0], src, true, 1<<40),
			"compiler, thin": newMachine(t, engines()[0], src, true, 1009),
			"interpreter":    newMachine(t, engines()[1], src, true, 100_003),
		}
		for _, m := range machines {
			m.initialize()
		}
		for _, run := range g.runs {
			want, _, err := plain.run(run, 0, rounds)
			if err != nil {
				t.Fatalf("%s %s: %v", g.name, run, err)
			}
			fuel := int64(-1)
			for mode, m := range machines {
				got, used, err := m.run(run, plenty, rounds)
				if err != nil || got != want {
					t.Errorf("%s %s, %s: %d, %v, want %d", g.name, run, mode, got, err, want)
				}
				if fuel >= 0 && used != fuel {
					t.Errorf("%s %s, %s: %d fuel, elsewhere %d", g.name, run, mode, used, fuel)
				}
				fuel = used
			}
		}
		for mode, m := range machines {
			if m.memory() != plain.memory() {
				t.Errorf("%s, %s: memories differ", g.name, mode)
			}
			m.close()
		}
		plain.close()
	}
}

// TestGuestSources fails when a source or a module has changed without the
// others.
func TestGuestSources(t *testing.T) {
	folder := filepath.Join("testdata", "guests")
	sums, err := os.ReadFile(filepath.Join(folder, "source.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sums)) {
		want, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s has changed; build the guests again: task meter:guests", name)
		}
	}
}
