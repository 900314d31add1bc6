package raftstore

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestZerosAreBehindEachAppend writes over a longer write that was torn, up to the very
// byte where the zeros end: what is left of that must not follow the append.
func TestZerosAreBehindEachAppend(t *testing.T) {
	const ahead = 64
	disk := vfs.NewMem()
	if err := disk.MkdirAll("raft", 0o755); err != nil {
		t.Fatal(err)
	}
	replace(t, disk, "raft/1.wal", bytes.Repeat([]byte{1}, 1<<10))
	f, err := walFS{fs: disk, ahead: ahead}.OpenWriter("raft", "1.wal")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end := 0
	for _, n := range []int{8, ahead, 8, ahead - 8, 16, 200} {
		if _, err := f.WriteAt(bytes.Repeat([]byte{2}, n), int64(end)); err != nil {
			t.Fatal(err)
		}
		end += n
		behind := contentOf(t, disk, "raft/1.wal")[end:][:8] // a frame's header
		if !bytes.Equal(behind, make([]byte, len(behind))) {
			t.Errorf("after an append of %d that ends at %d comes %x", n, end, behind)
		}
	}
}
