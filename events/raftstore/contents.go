package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// contents is what a snapshot consists of. It is the head of the stream in which a
// snapshot travels, and a note beside its files. Numbers are big-endian:
//
//	0  version (1)
//	1  index of the last entry applied, 8 bytes
//	9  position after the last event (8), root (32)
//	49 number of files, 4 bytes
//	53 per file: length of name (1), name, bytes (8), CRC-32C (4; 0 for a table)
//	   CRC-32C of all before, 4 bytes
//
// After it come the files, one after the other, each with the CRC-32C of what was
// sent of it. Tables are not read when the snapshot is made, for they are most of
// it; they have checksums of their own, which the receiver looks at.
type contents struct {
	applied uint64
	end     pebblestore.Root
	files   []file
}

type file struct {
	name string
	size uint64
	crc  uint32
}

const (
	contentsVersion = 1
	contentsHeader  = 53
	maxFiles        = 1 << 20
	tableSuffix     = ".sst"
)

func (f file) table() bool { return strings.HasSuffix(f.name, tableSuffix) }

func (c *contents) root() pebblestore.Root { return c.end }

// size is the length of the stream.
func (c *contents) size() int64 {
	n := int64(len(c.encode()))
	for _, f := range c.files {
		n += int64(f.size) + 4
	}
	return n
}

func (c *contents) encode() []byte {
	b := append(make([]byte, 0, contentsHeader+64*len(c.files)), contentsVersion)
	b = binary.BigEndian.AppendUint64(b, c.applied)
	b = binary.BigEndian.AppendUint64(b, uint64(c.end.Next))
	b = append(b, c.end.Hash[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.files)))
	for _, f := range c.files {
		b = append(append(b, byte(len(f.name))), f.name...)
		b = binary.BigEndian.AppendUint64(b, f.size)
		b = binary.BigEndian.AppendUint32(b, f.crc)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func badContents(format string, args ...any) error {
	return &events.CorruptError{Where: "contents of a snapshot", Reason: fmt.Sprintf(format, args...)}
}

// readContents reads the head of a stream. Errors are *events.CorruptError and the
// reader's.
func readContents(from io.Reader) (*contents, error) {
	sum := crc32.New(castagnoli())
	r := io.TeeReader(from, sum)
	head := make([]byte, contentsHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, badContents("cut short: %v", err)
	}
	if head[0] != contentsVersion {
		return nil, badContents("unknown version %d", head[0])
	}
	c := &contents{
		applied: binary.BigEndian.Uint64(head[1:]),
		end:     pebblestore.Root{Next: events.Position(binary.BigEndian.Uint64(head[9:])), Hash: [32]byte(head[17:49])},
	}
	n := binary.BigEndian.Uint32(head[49:])
	if n > maxFiles {
		return nil, badContents("%d files", n)
	}
	for range n {
		var length [1]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return nil, badContents("cut short: %v", err)
		}
		b := make([]byte, int(length[0])+12)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, badContents("cut short: %v", err)
		}
		name := string(b[:length[0]])
		if name == "" || strings.ContainsAny(name, `/\`) || name == "." || name == ".." {
			return nil, badContents("file is named %q", name)
		}
		b = b[length[0]:]
		c.files = append(c.files, file{name, binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])})
	}
	want := sum.Sum32()
	var tail [4]byte
	if _, err := io.ReadFull(from, tail[:]); err != nil {
		return nil, badContents("cut short: %v", err)
	}
	if got := binary.BigEndian.Uint32(tail[:]); got != want {
		return nil, badContents("CRC-32C is %08x, they say %08x", want, got)
	}
	return c, nil
}

// listContents describes a checkpoint in dir.
func listContents(fsys vfs.FS, dir string, applied uint64, end pebblestore.Root) (*contents, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	c := &contents{applied: applied, end: end}
	for _, name := range names {
		path := fsys.PathJoin(dir, name)
		info, err := fsys.Stat(path)
		if err != nil {
			return nil, err
		}
		f := file{name: name, size: uint64(info.Size())}
		if !f.table() {
			if f.crc, err = checksumFile(fsys, path); err != nil {
				return nil, err
			}
		}
		c.files = append(c.files, f)
	}
	return c, nil
}

func checksumFile(fsys vfs.FS, path string) (uint32, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return 0, err
	}
	sum := crc32.New(castagnoli())
	_, err = io.Copy(sum, f)
	return sum.Sum32(), errors.Join(err, f.Close())
}
