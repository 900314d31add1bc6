package raftstore

import (
	"bytes"
	"encoding/binary"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
)

// TestTwoPowerCutsInOnePlace tears an append of two entries, and then one of a shorter
// entry in its place, of which the disk keeps the commit and not the data, so that the
// second entry of the first append follows it. The log ends before both.
func TestTwoPowerCutsInOnePlace(t *testing.T) {
	disk := &syncedFS{FS: vfs.NewMem()}
	open := func(last uint64) *logs {
		t.Helper()
		l, err := openTestLogs(t, disk)
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.LastIndex()
		if err != nil || got != last {
			t.Fatalf("the last entry is %d, %v; want %d", got, err, last)
		}
		return l
	}
	l := open(0)
	store(t, l, 1, 1, 1)
	name := ""
	names, err := disk.List("raft")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".wal") {
			name = path.Join("raft", n)
		}
	}
	at := len(bytes.TrimRight(contentOf(t, disk, name), "\x00")) // a commit ends with its checksum
	at = int(padded(int64(at)))
	mark := contentOf(t, disk, "raft/"+markName)
	// cut appends and closes, and returns the file as it was synced before, and after, and
	// the length of the first frame. The mark is as before: the append never returned.
	cut := func(entries ...*raft.Log) (before, after []byte, frame int) {
		t.Helper()
		before, disk.synced = contentOf(t, disk, name), nil
		if err := l.StoreLogs(entries); err != nil {
			t.Fatal(err)
		}
		if n := len(disk.synced); n > 1 {
			before = disk.synced[n-2]
		}
		after = contentOf(t, disk, name)
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		replace(t, disk, "raft/"+markName, mark)
		before = append(before, make([]byte, max(0, len(after)-len(before)))...)
		return before, after, walFrame + int(padded(int64(binary.LittleEndian.Uint32(after[at+4:]))))
	}
	entry := func(index, term uint64, size int) *raft.Log {
		return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: bytes.Repeat([]byte{1}, size)}
	}

	_, after, long := cut(entry(2, 1, 64), entry(3, 1, 64))
	clear(after[at+walFrame:][:long-walFrame]) // the data of entry 2
	replace(t, disk, name, after)
	l = open(1)

	torn, after, short := cut(entry(2, 2, 64-walFrame))
	if short+walFrame != long || after[at+short] != segment.FrameCommit {
		t.Fatalf("frames of %d and %d bytes: the second commit does not end where entry 3 began", long, short)
	}
	copy(torn[at:][:walFrame], after[at:])
	copy(torn[at+short:][:walFrame], after[at+short:])
	replace(t, disk, name, torn)
	l = open(1)
	store(t, l, 3, 2, 5)
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	l = open(5)
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
}

// syncedFS remembers what was synced of raft-wal's files.
type syncedFS struct {
	vfs.FS
	synced [][]byte
}

// OpenReadWrite implements vfs.FS.
func (s *syncedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name, c, opts...)
	if err != nil || !strings.HasSuffix(name, ".wal") {
		return f, err
	}
	return &syncedFile{f, s}, nil
}

type syncedFile struct {
	vfs.File
	fs *syncedFS
}

// Sync implements vfs.File.
func (f *syncedFile) Sync() error { return f.SyncData() }

// SyncData implements vfs.File.
func (f *syncedFile) SyncData() error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	f.fs.synced = append(f.fs.synced, b)
	return f.File.Sync()
}

// TestTornVote cuts the power between the two writes of a vote: the member has voted for
// nobody in the new term, and holds who asks for its vote against its own log.
func TestTornVote(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l, err := openTestLogs(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	vote := func(term uint64, who string) error {
		if err := l.SetUint64([]byte(lastVoteTerm), term); err != nil || who == "" {
			return err
		}
		return l.Set([]byte(lastVoteFor), []byte(who))
	}
	if err := vote(1, "another"); err != nil {
		t.Fatal(err)
	}
	if who, err := l.Get([]byte(lastVoteFor)); err != nil || string(who) != "another" {
		t.Errorf("voted for %q, %v", who, err)
	}
	if err := vote(2, ""); err != nil {
		t.Fatal(err)
	}
	cut := disk.CrashClone(crashAll())
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if l, err = openTestLogs(t, cut); err != nil {
		t.Fatal(err)
	}
	defer l.close()
	term, err := l.GetUint64([]byte(lastVoteTerm))
	if err != nil || term != 2 {
		t.Errorf("voted in term %d, %v", term, err)
	}
	if who, err := l.Get([]byte(lastVoteFor)); err != nil || who != nil {
		t.Errorf("after the cut: voted in term 2 for %q, %v", who, err)
	}
}
