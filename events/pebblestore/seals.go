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
	"math"
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
// file that it does not name is not checked; so it keeps the seal of the MANIFEST
// before, which is in use until the marker moves on. Numbers are big-endian:
//
//	0  version (1)
//	1  CRC-32C of all that follows, 4 bytes
//	5  for each file: length of name (1), name, bytes (8), CRC-32C of them (4)
//	   then zeros up to 128
const (
	sealsName    = "seals"
	sealsVersion = 1
	sealsSize    = 128 // three names of at most 28 bytes fit
	maxSealed    = 40  // bytes of a name; Pebble's have 8 or 9 and a number, of 6 digits and hardly ever more
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

// check holds a file against its seal. A MANIFEST that is gone is no fault here:
// it was replaced, or its name was not synced yet; one that the marker names Pebble
// will miss.
func (x seal) check(fsys vfs.FS, dir string) error {
	now, err := sealOf(fsys, dir, x.name, int64(x.bytes))
	if errors.Is(err, fs.ErrNotExist) {
		return x.replaced(fsys, dir)
	}
	if err == nil && now != x {
		err = &events.CorruptError{
			Where:  "file " + x.name,
			Reason: fmt.Sprintf("its first %d bytes have CRC-32C %08x; %d were synced, with %08x", now.bytes, now.crc, x.bytes, x.crc),
		}
	}
	return err
}

// replaced returns nil for OPTIONS that are gone when newer ones have taken their
// place that are not sealed yet.
func (x seal) replaced(fsys vfs.FS, dir string) error {
	if strings.HasPrefix(x.name, manifestPrefix) {
		return nil
	}
	names, err := fsys.List(dir)
	if err != nil || newer(newest(names, optionsPrefix), x.name) {
		return err
	}
	return &events.CorruptError{Where: "file " + x.name, Reason: "is missing"}
}

// newer compares names that differ in their number only.
func newer(a, b string) bool { return len(a) > len(b) || len(a) == len(b) && a > b }

// newest returns the name with the highest number of those that begin alike, or
// "".
func newest(names []string, prefix string) (found string) {
	for _, n := range names {
		if strings.HasPrefix(n, prefix) && newer(n, found) {
			found = n
		}
	}
	return found
}

// sealOf seals a file as it is, or its first bytes.
func sealOf(fsys vfs.FS, dir, name string, most int64) (seal, error) {
	f, err := fsys.Open(fsys.PathJoin(dir, name))
	if err != nil {
		return seal{}, err
	}
	sum := crc32.New(castagnoli())
	n, err := io.Copy(sum, io.LimitReader(f, most))
	return seal{name, uint64(n), sum.Sum32()}, errors.Join(err, f.Close())
}

// seals keeps the newest seal of either kind of file.
type seals struct {
	fs  vfs.FS
	dir string
	log *slog.Logger

	mu       sync.Mutex // guards below, and the file
	before   seal       // of the MANIFEST before
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

// keep remembers a seal. Of two MANIFESTs the second is the newer.
func (x *seals) keep(one seal) {
	switch {
	case !strings.HasPrefix(one.name, manifestPrefix):
		x.options = one
	case one.name == x.manifest.name:
		x.manifest = one
	default:
		x.before, x.manifest = x.manifest, one
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
	_, err = f.WriteAt(x.encode(), 0)
	return errors.Join(err, f.Close())
}

// encode leaves out the MANIFEST before when numbers have grown so long that not
// all three fit.
func (x *seals) encode() []byte {
	list := []seal{x.before, x.manifest, x.options}
	if size := 5 + 3*13 + len(x.before.name) + len(x.manifest.name) + len(x.options.name); size > sealsSize {
		list = list[1:]
	}
	return encodeSeals(list...)
}

// sealOptions seals the OPTIONS that Pebble wrote and synced when it opened.
func (x *seals) sealOptions() error {
	names, err := x.fs.List(x.dir)
	if err != nil {
		return err
	}
	name := newest(names, optionsPrefix)
	if name == "" {
		return nil
	}
	one, err := sealOf(x.fs, x.dir, name, math.MaxInt64)
	if err == nil {
		x.put(one)
	}
	return err
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

// manifestFile is a MANIFEST that Pebble writes. Its Sync seals what was written,
// and the first one syncs its name too: Pebble moves the marker to it and then
// syncs the directory once, and of two new names a power cut may keep the second.
type manifestFile struct {
	vfs.File
	fs    *guardFS
	seal  seal // of what was written so far
	torn  bool // a write failed: nobody knows what it holds
	named bool // its name is durable
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
	if err == nil && !f.named {
		err = syncDir(f.fs, f.fs.dir)
	}
	if err != nil {
		return err
	}
	f.named = true
	if !f.torn {
		f.fs.seals.put(f.seal)
	}
	return nil
}
