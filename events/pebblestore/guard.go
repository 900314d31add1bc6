package pebblestore

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guardFS tells of the first failed write to the write-ahead log or to its
// directory before Pebble hears of it. Pebble answers some of these failures
// with a panic that would end the process before the marker is written.
//
// Failures of tables are not told: Pebble tries those again, and the
// write-ahead log holds what they would have.
//
// A MANIFEST is sealed on the way. Only what lies in dir is the log's: a copy is
// made through here too, and its disk may fail by itself.
type guardFS struct {
	vfs.FS
	dir    string
	failed func(f failure)
	seals  *seals
}

// failure is a failed operation.
type failure struct {
	why string
	dir bool // a sync of the directory
}

// guardedFile is a file of the write-ahead log, or the directory.
type guardedFile struct {
	vfs.File
	name string
	fs   *guardFS
}

func isWAL(name string) bool { return strings.HasSuffix(name, ".log") }

// own reports whether a file is in the log's directory.
func (g *guardFS) own(name string) bool { return g.FS.PathDir(name) == g.FS.PathJoin(g.dir) }

// tell passes err on, and its story to failed.
func (g *guardFS) tell(op, name string, err error) error {
	if err != nil {
		g.failed(failure{why: fmt.Sprintf("%s %s: %v", op, name, err), dir: op == "sync" && !isWAL(name)})
	}
	return err
}

func (g *guardFS) guard(op, name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, g.tell(op, name, err)
	}
	return &guardedFile{File: f, name: name, fs: g}, nil
}

// Create implements vfs.FS.
func (g *guardFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.Create(name, category)
	if !g.own(name) {
		return f, err
	}
	if base := g.FS.PathBase(name); err == nil && strings.HasPrefix(base, manifestPrefix) {
		return &manifestFile{File: f, fs: g, seal: seal{name: base}}, nil
	}
	if !isWAL(name) {
		return f, err
	}
	return g.guard("create", name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (g *guardFS) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.ReuseForWrite(old, name, category)
	if !isWAL(name) || !g.own(name) {
		return f, err
	}
	return g.guard("reuse", name, f, err)
}

// OpenDir implements vfs.FS.
func (g *guardFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if g.FS.PathJoin(name) != g.FS.PathJoin(g.dir) {
		return f, err
	}
	return g.guard("open", name, f, err)
}

// Unwrap implements vfs.FS.
func (g *guardFS) Unwrap() vfs.FS { return g.FS }

// Write implements vfs.File.
func (f *guardedFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, f.fs.tell("write", f.name, err)
}

// Sync implements vfs.File.
func (f *guardedFile) Sync() error { return f.fs.tell("sync", f.name, f.File.Sync()) }

// SyncData implements vfs.File.
func (f *guardedFile) SyncData() error { return f.fs.tell("sync", f.name, f.File.SyncData()) }

// SyncTo implements vfs.File.
func (f *guardedFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.fs.tell("sync", f.name, err)
}

// Close implements vfs.File: a failed close may be a write that failed late.
func (f *guardedFile) Close() error { return f.fs.tell("close", f.name, f.File.Close()) }
