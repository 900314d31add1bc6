package pebblestore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// closed returns a file system with a closed log, its files by name, and its
// events.
func closedLog(t *testing.T) (*vfs.MemFS, map[string][]byte, []events.Recorded) {
	t.Helper()
	mem := vfs.NewMem()
	s, want := filled(t, mem)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return mem, filesOf(t, mem), want
}

// filesOf returns the files of a log by name.
func filesOf(t *testing.T, fsys vfs.FS) map[string][]byte {
	t.Helper()
	names, err := fsys.List("log")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, n := range names {
		files[n] = contents(t, fsys, n)
	}
	return files
}

// kindOf is what sort of file a name means.
func kindOf(name string) string {
	switch {
	case isWAL(name):
		return "log"
	case strings.HasSuffix(name, ".sst"):
		return "sst"
	case strings.HasPrefix(name, "marker."):
		return strings.Join(strings.Split(name, ".")[:2], ".")
	}
	kind, _, _ := strings.Cut(name, "-")
	return kind
}

// copyWith is a copy of a log in which one file holds something else; nil
// removes it.
func copyWith(t *testing.T, mem *vfs.MemFS, name string, content []byte) *vfs.MemFS {
	t.Helper()
	clone := vfs.NewMem()
	if _, err := vfs.Clone(mem, clone, "log", "log"); err != nil {
		t.Fatal(err)
	}
	if content == nil {
		if err := clone.Remove("log/" + name); err != nil {
			t.Fatal(err)
		}
		return clone
	}
	write(t, clone, name, bytes.Clone(content)) // a vfs may change what it is given
	return clone
}

// outcome of a log with a damaged file.
const (
	harmless = "harmless" // all events are there, and Verify finds no fault
	told     = "told"     // as harmless, and the server's log names the file
	named    = "named"    // an error, or Verify, names the damage
	wrong    = "wrong"
)

// examine looks at a log as "caxton log verify --deep" does, then opens it as a
// server does and reads all of it. What is served is what was written.
func examine(t *testing.T, fsys vfs.FS, name string, want []events.Recorded) string {
	t.Helper()
	warned := new(lines)
	look := smallOptions(fsys)
	look.ReadOnly, look.Logger = true, slog.New(slog.NewTextHandler(warned, nil))
	first := served(t, look, want)
	serve := smallOptions(fsys)
	second := served(t, serve, want)
	switch {
	case first == wrong || second == wrong:
		return wrong
	case first == harmless && warned.about(name) > 0:
		return told
	}
	return first
}

// served opens and reads a log.
func served(t *testing.T, opts Options, want []events.Recorded) string {
	t.Helper()
	s, err := Open("log", opts)
	if err != nil {
		if !errors.Is(err, events.ErrCorrupt) {
			t.Errorf("open: %v", err)
		}
		return named
	}
	defer s.Close()
	n := 0
	for ev, err := range s.ReadAll(t.Context(), events.ReadAllOptions{}) {
		if errors.Is(err, events.ErrCorrupt) {
			return named
		}
		if err != nil || n >= len(want) || ev.ID != want[n].ID || !bytes.Equal(ev.Data, want[n].Data) || ev.Stream != want[n].Stream {
			t.Errorf("event %d: %+v, %v", n, ev, err)
			return wrong
		}
		n++
	}
	if len(faults(t, s)) > 0 {
		return named
	}
	if n < len(want) {
		t.Errorf("%d of %d events are served, and no error", n, len(want))
		return wrong
	}
	return harmless
}

// TestFlippedBit flips bits over the whole length of every file of a log, many
// with CAXTON_LONG=1 and every bit with CAXTON_LONG=all, each in a copy of its
// own. Each one is named, but in what nobody reads. A part of the long form is
// one file (-run 'TestFlippedBit/log') or some bytes of it (CAXTON_BYTES=0-999).
func TestFlippedBit(t *testing.T) {
	mem, files, want := closedLog(t)
	end := rootOf(t, mem)
	files[isolatedName] = []byte(isolation{why: "why\n", durable: &end}.text()) // in its own copies only: it makes a log read-only
	for name, content := range files {
		if retired(name, files) {
			continue // its events are in tables: nobody reads it again
		}
		t.Run(kindOf(name), func(t *testing.T) {
			found := make(map[string]int)
			for _, bit := range bitsToFlip(t, len(content)) {
				damaged := bytes.Clone(content)
				damaged[bit/8] ^= 1 << (bit % 8)
				clone := copyWith(t, mem, name, damaged)
				got := examine(t, clone, name, want)
				found[got]++
				if got == named && kindOf(name) != "sst" { // of damage to a table only a reader knows
					unchanged(t, clone, name, damaged, files)
				}
				if wanted := flipped(name, bit/8, content); !slices.Contains(wanted, got) {
					t.Errorf("bit %d of the %d bytes of %s: %s, want %s", bit, len(content), name, got, wanted)
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%s: %d bytes, flips %v", name, len(content), found)
		})
	}
}

// flipped is what may come of a flipped bit in a byte of a file.
func flipped(name string, at int, content []byte) []string {
	switch kindOf(name) {
	case "log":
		if at >= len(content)-walTrailer {
			return []string{named, harmless}
		}
		return []string{named}
	case "sst", "MANIFEST", "OPTIONS":
		return []string{named}
	case sealsName, lowWaterName, isolatedName:
		return []string{told}
	}
	return nil // of a kind that nobody knows
}

// bitsToFlip are the bits of a file, or as many as there is time for, spread over
// its length.
func bitsToFlip(t *testing.T, size int) (bits []int) {
	t.Helper()
	first, last := 0, size-1
	if part := os.Getenv("CAXTON_BYTES"); part != "" {
		if _, err := fmt.Sscanf(part, "%d-%d", &first, &last); err != nil {
			t.Fatalf("CAXTON_BYTES: %v", err)
		}
	}
	n := (min(last, size-1) - first + 1) * 8
	most := map[string]int{"": 20, "all": n}[os.Getenv("CAXTON_LONG")]
	if most == 0 {
		most = 400
	}
	most = min(most, n)
	for i := range most {
		bits = append(bits, first*8+i*(n-1)/max(most-1, 1))
	}
	return bits
}

// unchanged checks that each file of a damaged log is what it was, the damaged
// one too, after it was refused.
func unchanged(t *testing.T, fsys vfs.FS, name string, damaged []byte, files map[string][]byte) {
	t.Helper()
	for other, kept := range files {
		if other == name {
			kept = damaged
		}
		if kept != nil && kindOf(other) != "LOCK" && other != isolatedName && !bytes.Equal(contents(t, fsys, other), kept) {
			t.Errorf("%s was changed", other)
		}
	}
}

// walTrailer is the length of what Pebble puts behind the last record of a
// write-ahead log that it closes. It says nothing.
const walTrailer = 11

// retired reports whether a write-ahead log is not the newest.
func retired(name string, files map[string][]byte) bool {
	for other := range files {
		if isWAL(name) && isWAL(other) && other > name {
			return true
		}
	}
	return false
}

// TestFileCutShort removes each file of a log, and cuts each short.
func TestFileCutShort(t *testing.T) {
	mem, files, want := closedLog(t)
	type damage struct{ kind, how string }
	expected := map[damage]string{ // the others are named
		{"LOCK", "missing"}: harmless, // made anew
		{"log", "-1"}:       harmless, // the trailer
	}
	for name, content := range files {
		if retired(name, files) {
			continue
		}
		cuts := map[string][]byte{"missing": nil}
		if n := len(content); n > 0 {
			cuts["half"], cuts["empty"], cuts["-1"] = content[:n/2], []byte{}, content[:n-1]
		}
		for how, left := range cuts {
			t.Run(fmt.Sprint(name, " ", how), func(t *testing.T) {
				wanted, ok := expected[damage{kindOf(name), how}]
				if !ok {
					wanted = named
				}
				clone := copyWith(t, mem, name, left)
				if got := examine(t, clone, name, want); got != wanted {
					t.Errorf("%s, want %s", got, wanted)
				}
				if wanted == named {
					unchanged(t, clone, name, left, files)
				}
			})
		}
	}
}

// TestNewDirectoryIsNotDamaged opens a log on directories that the making of one
// left behind when power failed.
func TestNewDirectoryIsNotDamaged(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var seen [][]string
	for range 3 {
		s := open(t, "log", smallOptions(mem))
		names, err := mem.List("log")
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, names)
		mem = mem.CrashClone(vfs.CrashCloneCfg{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.ContainsFunc(seen[0], func(n string) bool { return strings.HasPrefix(n, manifestMarker) }) {
		t.Errorf("a log has no marker: %v", seen[0])
	}
}

// FuzzSeals: whatever the file holds, it reads as something or as nothing.
func FuzzSeals(f *testing.F) {
	f.Add(encodeSeals(seal{"MANIFEST-000001", 100, 7}, seal{"OPTIONS-000003", 9, 8}))
	f.Add(encodeSeals())
	f.Add(make([]byte, sealsSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, ok := parseSeals(b); ok && !bytes.Equal(encodeSeals(list...), b) {
			t.Errorf("%+v comes from other bytes", list)
		}
	})
}
