package raftstore

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft-wal/types"
)

// walFS gives raft-wal's files a place in a vfs.FS, so that one disk crashes as a
// whole.
type walFS struct {
	fs    vfs.FS
	ahead int // bytes, see walFile.WriteAt
}

// aheadOfSegment is the part of a file of the log that is written ahead: 256 KiB of
// 64 MiB take a disk no longer than a sync.
const aheadOfSegment = 256

// clearsAtATime is how many bytes of a file are looked at for what was torn.
const clearsAtATime = 64 << 10

var _ types.VFS = walFS{}

// ListDir implements types.VFS.
func (w walFS) ListDir(dir string) ([]string, error) {
	names, err := w.fs.List(dir)
	slices.Sort(names)
	return names, err
}

// Create implements types.VFS. The room is reserved where the system can.
func (w walFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	path := w.fs.PathJoin(dir, name)
	if _, err := w.fs.Stat(path); err == nil {
		return nil, fs.ErrExist
	}
	f, err := w.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	if err := f.Preallocate(0, int64(size)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	file := w.file(f, dir)
	file.clear = true // the system makes it empty
	return file, nil
}

func (w walFS) file(f vfs.File, dir string) *walFile {
	return &walFile{File: f, fs: w.fs, dir: dir, ahead: w.ahead, unnamed: true}
}

// Delete implements types.VFS.
func (w walFS) Delete(dir, name string) error {
	if err := w.fs.Remove(w.fs.PathJoin(dir, name)); err != nil {
		return err
	}
	return syncDir(w.fs, dir)
}

// OpenReader implements types.VFS.
func (w walFS) OpenReader(dir, name string) (types.ReadableFile, error) {
	return w.fs.Open(w.fs.PathJoin(dir, name))
}

// OpenWriter implements types.VFS.
func (w walFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	path := w.fs.PathJoin(dir, name)
	if _, err := w.fs.Stat(path); err != nil { // OpenReadWrite would make it
		return nil, err
	}
	f, err := w.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return w.file(f, dir), nil
}

// walFile is a file of the log. Its first sync syncs its directory too.
type walFile struct {
	vfs.File
	fs      vfs.FS
	dir     string
	unnamed bool  // the directory may not name it yet; raft-wal syncs from one goroutine
	ahead   int   // bytes of zeros that are written behind what is appended
	zeroed  int64 // where those end
	clear   bool  // behind what is appended, nothing is but zeros that are on the disk
}

// WriteAt implements types.WritableFile: raft-wal appends, from one goroutine. Behind
// what is appended come zeros, now and then, in which the next appends are written: a
// sync of what does not change the length of the file, nor what is known to be written
// of it, has nothing to note besides. There is nothing behind an append that counts, and
// raft-wal takes zeros for the end: an append that fills them is followed by others, for
// what comes then may be left of a longer one that was torn. They may lie beyond what was
// reserved: a full disk that has room for the append, but not for them, does without.
//
// Where the first append comes the log ended when it was opened. What is behind was torn,
// and is cleared on the disk before: if this append is torn as well, raft-wal could find
// entries of that one behind it, would take it for whole, and not look at its checksum.
func (f *walFile) WriteAt(b []byte, at int64) (int, error) {
	if !f.clear {
		if err := clearFrom(f.File, at); err != nil {
			return 0, err
		}
		f.clear = true
	}
	n, err := f.File.WriteAt(b, at)
	if end := at + int64(len(b)); err == nil && end >= f.zeroed {
		zeros, err := f.File.WriteAt(make([]byte, f.ahead), end)
		if err != nil && !vfs.IsNoSpaceError(err) {
			return n, err
		}
		f.zeroed = end + int64(zeros)
	}
	return n, err
}

// Sync implements types.WritableFile.
func (f *walFile) Sync() error {
	if !f.unnamed {
		return f.SyncData()
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.unnamed = false
	return syncDir(f.fs, f.dir)
}

// clearFrom leaves nothing but zeros in f from an offset on, and syncs those that it writes.
func clearFrom(f vfs.File, from int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	cleared, zeros, b := false, make([]byte, clearsAtATime), make([]byte, clearsAtATime)
	for ; from < info.Size(); from += int64(len(b)) {
		b = b[:min(clearsAtATime, info.Size()-from)]
		if _, err := f.ReadAt(b, from); err != nil {
			return err
		}
		if bytes.Equal(b, zeros[:len(b)]) {
			continue
		}
		if _, err := f.WriteAt(zeros[:len(b)], from); err != nil {
			return err
		}
		cleared = true
	}
	if !cleared {
		return nil
	}
	return f.Sync()
}
