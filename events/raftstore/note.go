package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// A note is a small file that is replaced as a whole: a version byte, a CRC-32C of
// what follows (big-endian), and the body.
const (
	noteVersion = 1
	noteHeader  = 5
	maxNote     = 4 << 20 // bytes: a list of some thousand segments fits
	tempSuffix  = ".tmp"
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// writeNote replaces a note. When it returns nil the new one is durable; a crash
// leaves the old or the new.
func writeNote(fsys vfs.FS, path string, body []byte) error {
	b := append([]byte{noteVersion, 0, 0, 0, 0}, body...)
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(body, castagnoli()))
	f, err := fsys.Create(path+tempSuffix, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(path+tempSuffix, path); err != nil {
		return err
	}
	return syncDir(fsys, fsys.PathDir(path))
}

// readNote returns a note's body; ok is false when there is none. One that does
// not read is a *events.CorruptError.
func readNote(fsys vfs.FS, path string) (body []byte, ok bool, err error) {
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, false, err
	}
	bad := func(format string, args ...any) error {
		return &events.CorruptError{Where: "file " + path, Reason: fmt.Sprintf(format, args...)}
	}
	if len(b) < noteHeader {
		return nil, false, bad("%d bytes are too few", len(b))
	}
	if b[0] != noteVersion {
		return nil, false, bad("unknown version %d", b[0])
	}
	body = b[noteHeader:]
	if want, got := binary.BigEndian.Uint32(b[1:]), crc32.Checksum(body, castagnoli()); want != got {
		return nil, false, bad("CRC-32C is %08x, the file says %08x", got, want)
	}
	return body, true, nil
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes a directory durable, if it is not there.
func makeDir(fsys vfs.FS, dir string) error {
	if _, err := fsys.Stat(dir); err == nil {
		return nil
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDir(fsys, fsys.PathDir(dir))
}
