package raftstore

import (
	"bytes"
	"io/fs"
	"syscall"
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
	f.(*walFile).clear = true // or the first append would clear it
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

// full is a file whose disk has room for some more bytes.
type full struct {
	vfs.File
	room int
}

// WriteAt implements vfs.File.
func (f *full) WriteAt(b []byte, at int64) (int, error) {
	if len(b) > f.room {
		return 0, &fs.PathError{Op: "write", Path: "1.wal", Err: syscall.ENOSPC}
	}
	f.room -= len(b)
	return f.File.WriteAt(b, at)
}

// TestAFullDiskTakesWhatFits: an append for which there is room is none that failed,
// though its zeros find none.
func TestAFullDiskTakesWhatFits(t *testing.T) {
	disk := vfs.NewMem()
	if err := disk.MkdirAll("raft", 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := disk.Create("raft/1.wal", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := walFS{fs: disk, ahead: 64}.file(&full{f, 70}, "raft")
	for i := range 3 {
		if n, err := w.WriteAt(make([]byte, 10), int64(10*i)); n != 10 || err != nil {
			t.Errorf("append %d wrote %d bytes: %v", i, n, err)
		}
	}
	if n, err := w.WriteAt(make([]byte, 80), 30); n != 0 || err == nil {
		t.Errorf("an append without room wrote %d bytes: %v", n, err)
	}
}
