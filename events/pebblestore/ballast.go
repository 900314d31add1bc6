package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ballastName is the file that keeps room: when the disk is full it is removed,
// and its room is what a scavenge, its compactions and a clean Close work with.
// Its content means nothing and is never read; the server makes and removes it.
const ballastName = "ballast"

// ballastChunk is how much is written at once where room cannot be reserved
// without writing.
const ballastChunk = 1 << 20

// ballast is the file. It belongs to whoever looks at the disk.
type ballast struct {
	fs    vfs.FS
	dir   string
	size  int64 // bytes; 0: none
	there bool
}

func (b *ballast) path() string { return b.fs.PathJoin(b.dir, ballastName) }

// find notes whether there is a ballast from before.
func (b *ballast) find() {
	_, err := b.fs.Stat(b.path())
	b.there = err == nil
}

// take reserves the room. What it could not finish it removes again.
func (b *ballast) take() error {
	f, err := b.fs.Create(b.path(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = b.reserve(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = syncDir(b.fs, b.dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("reserve %d bytes: %w", b.size, err), b.remove())
	}
	b.there = true
	return nil
}

// reserve asks the file system for blocks without writing them; some have no
// way to, and there zeros are written.
func (b *ballast) reserve(f vfs.File) error {
	err := f.Preallocate(0, b.size)
	if !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.ENOSYS) {
		return err
	}
	zeros := make([]byte, min(b.size, ballastChunk))
	for left := b.size; left > 0; left -= int64(len(zeros)) {
		if _, err := f.Write(zeros[:min(left, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return nil
}

// drop gives the room back. A process that has the file open would keep the
// room; nobody has.
func (b *ballast) drop() error {
	if err := b.remove(); err != nil {
		return err
	}
	b.there = false
	return syncDir(b.fs, b.dir)
}

func (b *ballast) remove() error {
	if err := b.fs.Remove(b.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
