package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// sealsName is the file that says what Pebble's MANIFEST and OPTIONS hold.
// Pebble takes damage anywhere in a MANIFEST for the torn end of it, and goes on
// with the tables that it named before: a flipped bit could take whole streams
// away, and an append would then begin them anew. OPTIONS it hardly checks.
//
// It is written after each sync of a MANIFEST and not synced itself, as the
// low-water mark is; so it speaks of what is durable, if not of all of it. A
// file that it does not name is not checked. Numbers are big-endian:
//
//	0  version (1)
//	1  CRC-32C of all that follows, 4 bytes
//	5  for each file: length of name (1), name, bytes (8), CRC-32C of them (4)
//	   then zeros up to 128
const (
	sealsName    = "seals"
	sealsVersion = 1
	sealsSize    = 128 // two names of at most 40 bytes fit
	maxSealed    = 40  // bytes of a name; Pebble's have 8 and a number
)

// The files that are sealed, by the beginnings of their names.
const (
	manifestPrefix = "MANIFEST-"
	optionsPrefix  = "OPTIONS-"
)

// seal is what the first bytes of a file were when they were synced.
type seal struct {
	name  string
	bytes uint64
	crc   uint32
}

// check holds a file against its seal. One that is not there is no fault: it
// was replaced by one that is not sealed yet.
func (x seal) check(fsys vfs.FS, dir string) error {
	f, err := fsys.Open(fsys.PathJoin(dir, x.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	sum := crc32.New(castagnoli())
	n, err := io.Copy(sum, io.LimitReader(f, int64(x.bytes)))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if uint64(n) != x.bytes || sum.Sum32() != x.crc {
		return &events.CorruptError{
			Where:  "file " + x.name,
			Reason: fmt.Sprintf("its first %d bytes have CRC-32C %08x; %d were synced, with %08x", n, sum.Sum32(), x.bytes, x.crc),
		}
	}
	return nil
}

// seals keeps the newest seal of either kind of file.
type seals struct {
	fs  vfs.FS
	dir string
	log *slog.Logger

	mu       sync.Mutex // guards below, and the file
	manifest seal
	options  seal
	failed   bool // to write; told once
}

func (x *seals) path() string { return x.fs.PathJoin(x.dir, sealsName) }

// load reads the seals and checks the files that they name.
func (x *seals) load() error {
	b, there, err := readNote(x.fs, x.path(), sealsSize+1)
	if err != nil || !there {
		return err
	}
	list, ok := parseSeals(b)
	if !ok {
		x.log.Warn("seals do not read: MANIFEST and OPTIONS are not checked", "file", sealsName)
		return nil
	}
	for _, one := range list {
		if err := one.check(x.fs, x.dir); err != nil {
			return err
		}
		x.keep(one)
	}
	return nil
}

func (x *seals) keep(one seal) {
	if strings.HasPrefix(one.name, manifestPrefix) {
		x.manifest = one
	} else {
		x.options = one
	}
}

// put notes a seal in the file.
func (x *seals) put(one seal) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keep(one)
	if err := x.write(); err != nil && !x.failed {
		x.failed = true
		x.log.Warn("seals not written: damage to MANIFEST and OPTIONS may go unnoticed", "file", sealsName, "err", err)
	}
}

func (x *seals) write() error {
	f, err := x.fs.OpenReadWrite(x.path(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(encodeSeals(x.manifest, x.options), 0)
	return errors.Join(err, f.Close())
}

// sealOptions seals the OPTIONS that Pebble wrote and synced when it opened.
func (x *seals) sealOptions() error {
	names, err := x.fs.List(x.dir)
	if err != nil {
		return err
	}
	newest := ""
	for _, n := range names {
		if strings.HasPrefix(n, optionsPrefix) && (len(n) > len(newest) || len(n) == len(newest) && n > newest) {
			newest = n
		}
	}
	if newest == "" {
		return nil
	}
	f, err := x.fs.Open(x.fs.PathJoin(x.dir, newest))
	if err != nil {
		return err
	}
	sum := crc32.New(castagnoli())
	n, err := io.Copy(sum, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	x.put(seal{newest, uint64(n), sum.Sum32()})
	return nil
}

func encodeSeals(list ...seal) []byte {
	b := append(make([]byte, 0, sealsSize), sealsVersion, 0, 0, 0, 0)
	for _, one := range list {
		if one.name == "" || len(one.name) > maxSealed {
			continue
		}
		b = append(append(b, byte(len(one.name))), one.name...)
		b = binary.BigEndian.AppendUint64(b, one.bytes)
		b = binary.BigEndian.AppendUint32(b, one.crc)
	}
	b = b[:sealsSize]
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli()))
	return b
}

// parseSeals returns ok false for what encodeSeals did not write.
func parseSeals(b []byte) (list []seal, ok bool) {
	if len(b) != sealsSize || b[0] != sealsVersion || binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[5:], castagnoli()) {
		return nil, false
	}
	rest := b[5:]
	for len(rest) > 0 && rest[0] != 0 {
		n := int(rest[0])
		if n > maxSealed || len(rest) < 1+n+12 {
			return nil, false
		}
		one := seal{string(rest[1 : 1+n]), binary.BigEndian.Uint64(rest[1+n:]), binary.BigEndian.Uint32(rest[9+n:])}
		if strings.ContainsAny(one.name, `/\`) || one.bytes > 1<<40 {
			return nil, false
		}
		list, rest = append(list, one), rest[1+n+12:]
	}
	return list, len(bytes.Trim(rest, "\x00")) == 0
}

// manifestFile is a MANIFEST that Pebble writes. Its Sync seals what was written.
type manifestFile struct {
	vfs.File
	seals *seals
	seal  seal // of what was written so far
	torn  bool // a write failed: nobody knows what it holds
}

// Write implements vfs.File. The checksum is made first: a vfs may change the
// bytes that it was given.
func (f *manifestFile) Write(b []byte) (int, error) {
	f.seal.crc = crc32.Update(f.seal.crc, castagnoli(), b)
	f.seal.bytes += uint64(len(b))
	n, err := f.File.Write(b)
	if err != nil || n < len(b) {
		f.torn = true // and Pebble gives it up
	}
	return n, err
}

// Sync implements vfs.File.
func (f *manifestFile) Sync() error { return f.synced(f.File.Sync()) }

// SyncData implements vfs.File.
func (f *manifestFile) SyncData() error { return f.synced(f.File.SyncData()) }

func (f *manifestFile) synced(err error) error {
	if err == nil && !f.torn {
		f.seals.put(f.seal)
	}
	return err
}
