package pebblestore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/caxton-run/caxton/events"
)

// unflushed returns a log as kill -9 leaves it while three write-ahead logs wait
// for their tables, with its files by name and its events.
func unflushed(t *testing.T) (*vfs.MemFS, map[string][]byte, []events.Recorded) {
	t.Helper()
	mem, tables := vfs.NewMem(), make(chan struct{})
	s := open(t, "log", smallOptions(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			<-tables
		}
		return nil
	}))))
	logs := func() (names []string) {
		all, err := mem.List("log")
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all, func(n string) bool { return !isWAL(n) })
	}
	for i := 0; len(logs()) < 3 || i%4 != 0; i++ {
		stream := events.Stream(fmt.Sprintf("agent-%d", i/2)) // so that each log has heads of its own
		if _, err := s.Append(t.Context(), stream, events.Any(), part(fmt.Sprint(i), 2, 60_000)...); err != nil {
			t.Fatal(err)
		}
	}
	want, left := readAll(t, s), vfs.NewMem()
	if _, err := vfs.Clone(mem, left, "log", "log"); err != nil {
		t.Fatal(err)
	}
	close(tables)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return left, filesOf(t, left), want
}

// TestWriteAheadLogMissing takes each of several write-ahead logs away, and
// damages its beginning, its middle and its end. Pebble itself does not miss one,
// and would begin the streams in it anew.
func TestWriteAheadLogMissing(t *testing.T) {
	mem, files, want := unflushed(t)
	if got := examine(t, copyWith(t, mem, "LOCK", []byte{}), "no such file", want); got != harmless {
		t.Fatalf("undamaged: %s", got)
	}
	for name, content := range files {
		if !isWAL(name) {
			continue
		}
		damages := map[string][]byte{"missing": nil, "empty": {}, "half": content[:len(content)/2]}
		for _, at := range []int{20, len(content) / 2, len(content) - 50} {
			b := slices.Clone(content)
			b[at] ^= 4
			damages[fmt.Sprint("flipped at ", at)] = b
		}
		for how, left := range damages {
			t.Run(name+" "+how, func(t *testing.T) {
				clone := copyWith(t, mem, name, left)
				if got := examine(t, clone, name, want); got != named {
					t.Errorf("%s, want %s", got, named)
				}
				unchanged(t, clone, name, left, files)
			})
		}
	}
}

// TestTornTailIsLegal cuts the last group short, which nobody was told of: the
// log opens without it.
func TestTornTailIsLegal(t *testing.T) {
	mem := vfs.NewMem()
	s, want := filled(t, mem)
	before := filesOf(t, mem)
	if _, err := s.Append(t.Context(), "agent-0", events.Any(), part("torn", 3, 300)...); err != nil {
		t.Fatal(err)
	}
	after := filesOf(t, mem)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range after {
		if !isWAL(name) || retired(name, after) {
			continue
		}
		for end := len(before[name]); end < len(content); end += 50 {
			torn := copyWith(t, mem, name, content[:end])
			write(t, torn, lowWaterName, before[lowWaterName]) // as it was before the group's sync
			if got := examine(t, torn, "no such file", want); got != harmless {
				t.Errorf("%s cut at byte %d: %s", name, end, got)
			}
		}
	}
}

// TestManifestBeforeIsSealed cuts the power when a new MANIFEST is sealed and the
// marker names the old one still: that one is checked too.
func TestManifestBeforeIsSealed(t *testing.T) {
	mem, _, want := closedLog(t)
	var cut *vfs.MemFS
	fsys := vfs.NewCrashableMem()
	if _, err := vfs.Clone(mem, fsys, "log", "log", vfs.CloneSync); err != nil {
		t.Fatal(err)
	}
	s := open(t, "log", smallOptions(errorfs.Wrap(fsys, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.Contains(op.Path, manifestMarker) && cut == nil {
			cut = fsys.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
		}
		return nil
	}))))
	if err := s.Close(); err != nil || cut == nil {
		t.Fatal(err, cut)
	}
	files, old := filesOf(t, cut), ""
	for name := range files {
		if kindOf(name) == "marker.manifest" {
			old = name[strings.Index(name, "MANIFEST"):]
		}
	}
	if newest := newest([]string{old, "MANIFEST-000001"}, manifestPrefix); newest != old || len(files[old]) == 0 {
		t.Fatalf("the marker names %q", old)
	}
	if got := examine(t, copyWith(t, cut, "LOCK", []byte{}), "no such file", want); got != harmless {
		t.Errorf("undamaged: %s", got)
	}
	for name := range files { // its name may be lost while its seal is not: one file was synced, the directory not
		if kindOf(name) == "MANIFEST" && name != old {
			if got := examine(t, copyWith(t, cut, name, nil), "no such file", want); got != harmless {
				t.Errorf("without %s, which is not in use yet: %s", name, got)
			}
		}
	}
	for at := range files[old] {
		damaged := slices.Clone(files[old])
		damaged[at] ^= 1
		if got := examine(t, copyWith(t, cut, old, damaged), old, want); got != named {
			t.Fatalf("byte %d of %s: %s, want %s", at, old, got, named)
		}
	}
}

// TestLogWithoutNotesGetsThem opens a log as it was before there were notes: with
// neither file it opens, and from then on misses them.
func TestLogWithoutNotesGetsThem(t *testing.T) {
	mem, _, want := closedLog(t)
	s := open(t, "log", smallOptions(mem))
	if err := errors.Join(s.db.Delete(notedKey(), pebble.Sync), s.db.Flush(), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{lowWaterName, sealsName} {
		if err := mem.Remove("log/" + name); err != nil {
			t.Fatal(err)
		}
	}
	if got := examine(t, mem, "no such file", want); got != harmless {
		t.Fatalf("without notes: %s", got)
	}
	for _, name := range []string{lowWaterName, sealsName} {
		if got := examine(t, copyWith(t, mem, name, nil), name, want); got != named {
			t.Errorf("without %s: %s, want %s", name, got, named)
		}
	}
}

// TestCopyHasNotes damages a copy of a log: it is protected as the log is.
func TestCopyHasNotes(t *testing.T) {
	mem := vfs.NewMem()
	source := smallOptions(mem)
	s := open(t, "source", source)
	if err := newWorkers(s, newLedger(), 1, 1)[0].work(t.Context(), 10, 2000); err != nil {
		t.Fatal(err)
	}
	want := readAll(t, s)
	if _, err := s.Checkpoint("log"); err != nil {
		t.Fatal(err)
	}
	for name, content := range filesOf(t, mem) {
		kind := kindOf(name)
		if kind == "LOCK" {
			continue
		}
		if got := examine(t, copyWith(t, mem, name, nil), name, want); got != named {
			t.Errorf("%s missing: %s, want %s", name, got, named)
		}
		if len(content) == 0 {
			continue
		}
		flipped := slices.Clone(content)
		flipped[len(flipped)/3] ^= 1
		wanted := named
		if kind == sealsName || kind == lowWaterName {
			wanted = told
		}
		if got := examine(t, copyWith(t, mem, name, flipped), name, want); got != wanted {
			t.Errorf("%s flipped: %s, want %s", name, got, wanted)
		}
	}
}

// TestFlippedBitInWriteAheadLogs flips bits all over several write-ahead logs that
// are all needed, more with CAXTON_LONG=1.
func TestFlippedBitInWriteAheadLogs(t *testing.T) {
	mem, files, want := unflushed(t)
	for name, content := range files {
		if !isWAL(name) {
			continue
		}
		found := make(map[string]int)
		for i, bit := range bitsToFlip(t, len(content)) {
			if i%8 != 0 { // each takes a third of a second: a reader looks for what comes after
				continue
			}
			damaged := slices.Clone(content)
			damaged[bit/8] ^= 1 << (bit % 8)
			clone := copyWith(t, mem, name, damaged)
			got := examine(t, clone, name, want)
			found[got]++
			if got == named {
				unchanged(t, clone, name, damaged, files)
			} else if bit/8 < len(content)-walTrailer {
				t.Errorf("bit %d of %d of %s: %s, want %s", bit, len(content)*8, name, got, named)
			}
		}
		t.Logf("%s: %d bytes, flips %v", name, len(content), found)
	}
}
