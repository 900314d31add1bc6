package raftstore

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft-wal/types"
)

// walFS gives raft-wal's files a place in a vfs.FS, so that one disk crashes as a
// whole.
type walFS struct{ fs vfs.FS }

var _ types.VFS = walFS{}

// ListDir implements types.VFS.
func (w walFS) ListDir(dir string) ([]string, error) {
	names, err := w.fs.List(dir)
	slices.Sort(names)
	return names, err
}

// Create implements types.VFS. The room is reserved where the system can; the
// length of the file still grows, which costs the sync of each append a little.
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
	return &walFile{File: f, fs: w.fs, dir: dir, unnamed: true}, nil
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
	return &walFile{File: f, fs: w.fs, dir: dir, unnamed: true}, nil
}

// walFile is a file of the log. Its first sync syncs its directory too.
type walFile struct {
	vfs.File
	fs      vfs.FS
	dir     string
	unnamed bool // the directory may not name it yet; raft-wal syncs from one goroutine
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
