package replay

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
)

const (
	goldenSnapshot   = "../events/testdata/golden/SnapshotTaken.bin"
	goldenSnapshotV1 = "../events/testdata/golden/v1/SnapshotTaken.bin"
	goldenSnapshotV2 = "../events/testdata/golden/v2/SnapshotTaken.bin"
)

// TestGoldenSnapshot holds the bytes of a snapshot still: its layout, and the form
// of the agent's state in it. A change of either needs another snapshotVersion, or
// snapshots of before it would be read as something else.
func TestGoldenSnapshot(t *testing.T) {
	id, list := v1Log(t)
	st := foldOf(t, id, upToFailure(t, list))
	evs, err := EncodeSnapshot(st, []byte("the guest's memory"))
	if err != nil || len(evs) != 1 {
		t.Fatalf("%d events, %v", len(evs), err)
	}
	ev := evs[0]
	if ev.Type != events.TypeSnapshotTaken || ev.ContentType != events.Binary || string(ev.Metadata) != `{"schemaVersion":1}` {
		t.Errorf("event is %s, %s, %s", ev.Type, ev.ContentType, ev.Metadata)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if _, err := os.Stat(goldenSnapshot); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(goldenSnapshot, ev.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := read(t, goldenSnapshot)
	if d := cmp.Diff(string(want), string(ev.Data)); d != "" {
		t.Errorf("snapshot (-golden +encoded):\n%s", d)
	}
	got, err := decodeSnapshot([][]byte{want})
	if err != nil || string(got.memory) != "the guest's memory" || encoded(t, got.state) != encoded(t, st) {
		t.Errorf("memory %q, %v, or another state", got.memory, err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A snapshot of another version is named as one, before anything else of it is
// looked at.
func TestSnapshotOfAnotherVersion(t *testing.T) {
	b := read(t, goldenSnapshot)
	b[0] = snapshotVersion + 1
	if _, err := decodeSnapshot([][]byte{b}); !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), "unknown version 4") {
		t.Errorf("%v, want one that names the version", err)
	}
}

// Snapshots of older versions read as the same state: what is new was not there.
func TestSnapshotOfOlderVersions(t *testing.T) {
	now, err := decodeSnapshot([][]byte{read(t, goldenSnapshot)})
	if err != nil {
		t.Fatal(err)
	}
	for version, file := range map[byte]string{1: goldenSnapshotV1, 2: goldenSnapshotV2} {
		b := read(t, file)
		old, err := decodeSnapshot([][]byte{b})
		if err != nil || b[0] != version || encoded(t, old.state) != encoded(t, now.state) || !bytes.Equal(old.memory, now.memory) {
			t.Errorf("version %d: memory %q, %v, or another state", version, old.memory, err)
		}
	}
}
