package wasmhost

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/caxton-run/caxton/fixtures"
)

// TestSnapshotKeepsCapabilities: what the module registered when it began is the
// guest's, whatever its snapshot builds on.
func TestSnapshotKeepsCapabilities(t *testing.T) {
	h := hostWith(t, nil, false)
	m, err := h.Compile(t.Context(), fixtures.Agent("timer"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	for _, zeros := range []bool{false, true} {
		in := start(t, h, m)
		if zeros {
			in.base = nil
		}
		snap, err := in.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		again, err := h.Restore(t.Context(), m, testMemory, snap)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Capabilities(); !slices.Equal(got, []string{"timer"}) || again.StateHash() != in.StateHash() {
			t.Errorf("over zeros %v: restored with %q", zeros, got)
		}
		again.Close()
	}
}

// TestFirstSnapshotsAreRead: those of version 1 are in logs.
func TestFirstSnapshotsAreRead(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	in := start(t, h, m)
	for n := range 12 {
		count(in, n)
	}
	for _, base := range []byte{baseZero, baseImage} {
		if base == baseZero {
			in.base = nil
		} else {
			in.base = m.image.Load()
		}
		snap, err := in.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		body, err := h.zstd.decompress(snap[snapshotHeadBytes:], testMemory)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := uvarint(body)
		globals, rest, _ := uvarint(rest)
		at := len(body) - len(rest) + 8 + 8*int(globals)
		if body[at] != 0 {
			t.Fatalf("there are %d capabilities", body[at])
		}
		old := h.zstd.compress(m.snapshotHead(1, base), slices.Delete(body, at, at+1))
		again, err := h.Restore(t.Context(), m, testMemory, old)
		if err != nil {
			t.Fatal(err)
		}
		if again.StateHash() != in.StateHash() {
			t.Errorf("base %d: another state", base)
		}
		again.Close()
	}
}

// TestDamagedCapabilities: a snapshot that claims more of them than there can be is
// damaged.
func TestDamagedCapabilities(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	in := start(t, h, m)
	for _, names := range [][]byte{{}, {33}, {1}, {1, 65}, {1, 4, 'a'}} {
		body := binary.AppendUvarint(nil, in.MemoryBytes()/pageBytes)
		body = binary.AppendUvarint(body, uint64(len(in.state)))
		body = append(append(body, make([]byte, 8+8*len(in.state))...), names...)
		var damaged *SnapshotError
		got, err := h.Restore(context.Background(), m, testMemory, h.zstd.compress(m.snapshotHead(snapshotVersion, baseZero), body))
		if !errors.As(err, &damaged) {
			t.Errorf("%v: %v, %v", names, got, err)
		}
	}
}
