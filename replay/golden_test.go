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
)

// TestGoldenSnapshot holds the bytes of a snapshot still: its layout, and the JSON
// of the agent's state in it. A change of either needs another snapshotVersion, or
// snapshots of before it would be read as something else.
func TestGoldenSnapshot(t *testing.T) {
	id, list := v1Log(t)
	state, memory := stateOf(t, id, upToFailure(t, list)), []byte("the guest's memory")
	got := bytes.Join([][]byte{{snapshotVersion, 0, 0, byte(len(state) >> 8), byte(len(state))}, state, memory}, nil)
	st, rest, err := DecodeSnapshot(got)
	if err != nil || !bytes.Equal(rest, memory) {
		t.Fatalf("memory %q, %v", rest, err)
	}
	ev, err := EncodeSnapshot(st, memory)
	if err != nil {
		t.Fatal(err)
	}
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
	want, err := os.ReadFile(goldenSnapshot)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(ev.Data)); d != "" {
		t.Errorf("snapshot (-golden +encoded):\n%s", d)
	}
}

// A snapshot of another version is named as one, before anything else of it is
// looked at.
func TestSnapshotOfAnotherVersion(t *testing.T) {
	b, err := os.ReadFile(goldenSnapshot)
	if err != nil {
		t.Fatal(err)
	}
	b[0] = snapshotVersion + 1
	if _, _, err := DecodeSnapshot(b); !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), "unknown version 3") {
		t.Errorf("%v, want one that names the version", err)
	}
}

// A snapshot of version 1 reads as the same state: what is new was not there.
func TestSnapshotOfVersionOne(t *testing.T) {
	old, err := os.ReadFile(goldenSnapshotV1)
	if err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(goldenSnapshot)
	if err != nil {
		t.Fatal(err)
	}
	if old[0] != 1 || !bytes.Equal(old[1:], now[1:]) {
		t.Fatal("the golden snapshots differ in more than their version")
	}
	st, memory, err := DecodeSnapshot(old)
	if err != nil {
		t.Fatal(err)
	}
	ev, err := EncodeSnapshot(st, memory)
	if err != nil || !bytes.Equal(ev.Data, now) {
		t.Errorf("written again as %q, %v", ev.Data, err)
	}
}
