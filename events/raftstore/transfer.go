package raftstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// checkpoint is a raft.FSMSnapshot: a copy of the log that is on the disk already.
type checkpoint struct {
	s        *snapshots
	dir      string
	contents *contents
	adopted  bool
}

// Persist implements raft.FSMSnapshot.
func (c *checkpoint) Persist(to raft.SnapshotSink) error {
	k, ok := to.(*sink)
	if !ok {
		return errors.New("snapshot sink is not one of this store's")
	}
	if err := c.s.fs.RemoveAll(k.dir); err != nil {
		return err
	}
	k.dir, k.contents, c.adopted = c.dir, c.contents, true
	return nil
}

// Release implements raft.FSMSnapshot.
func (c *checkpoint) Release() {
	if !c.adopted {
		c.s.fs.RemoveAll(c.dir) //nolint:errcheck // a leftover goes with the next start
	}
}

// sink is a raft.SnapshotSink. It either adopts a checkpoint or takes apart a
// stream from another member.
type sink struct {
	s        *snapshots
	meta     raft.SnapshotMeta
	dir      string
	contents *contents // when all files are there

	to   *io.PipeWriter
	done chan error // of capacity 1: from the goroutine that unpacks
}

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.meta.ID }

// Write implements io.Writer. The goroutine that it starts ends with Close or
// Cancel.
func (k *sink) Write(b []byte) (int, error) {
	if k.to == nil {
		var from *io.PipeReader
		from, k.to = io.Pipe()
		k.done = make(chan error, 1)
		go func() {
			err := k.unpack(from)
			from.CloseWithError(err) //nolint:errcheck // always nil
			k.done <- err
		}()
	}
	return k.to.Write(b)
}

// Close implements io.Closer: the snapshot is one from now on, or was refused.
func (k *sink) Close() error {
	if k.to != nil {
		k.to.Close() //nolint:errcheck // always nil
		if err := <-k.done; err != nil {
			return errors.Join(fmt.Errorf("snapshot %s: %w", k.meta.ID, err), k.s.fs.RemoveAll(k.dir))
		}
	}
	if k.contents == nil {
		return errors.Join(fmt.Errorf("snapshot %s is empty", k.meta.ID), k.s.fs.RemoveAll(k.dir))
	}
	return k.s.keep(k.dir, k.meta, k.contents)
}

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error {
	if k.to != nil {
		k.to.CloseWithError(errors.New("cancelled")) //nolint:errcheck // always nil
		<-k.done
	}
	return k.s.fs.RemoveAll(k.dir)
}

// unpack writes the files of a stream, synced, and believes none of them before
// the log in them was looked at.
func (k *sink) unpack(from io.Reader) error {
	c, err := readContents(from)
	if err != nil {
		return err
	}
	dir := k.s.fs.PathJoin(k.dir, filesName)
	if err := k.s.fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range c.files {
		if err := k.unpackFile(dir, f, from); err != nil {
			return fmt.Errorf("file %s: %w", f.name, err)
		}
	}
	if err := errors.Join(syncDir(k.s.fs, dir), syncDir(k.s.fs, k.dir)); err != nil {
		return err
	}
	if err := inspect(context.Background(), k.s.fs, dir, c); err != nil {
		return err
	}
	k.contents = c
	return nil
}

func (k *sink) unpackFile(dir string, want file, from io.Reader) error {
	f, err := k.s.fs.Create(k.s.fs.PathJoin(dir, want.name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	sum := crc32.New(castagnoli())
	// The checksum comes first: a vfs may change the bytes that it was given.
	_, err = io.CopyN(io.MultiWriter(sum, f), from, int64(want.size))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	var tail [4]byte
	if _, err := io.ReadFull(from, tail[:]); err != nil {
		return err
	}
	sent := binary.BigEndian.Uint32(tail[:])
	if sum.Sum32() != sent || (!want.table() && sent != want.crc) {
		return &events.CorruptError{Where: "file " + want.name,
			Reason: fmt.Sprintf("CRC-32C is %08x, sent %08x, made with %08x", sum.Sum32(), sent, want.crc)}
	}
	return nil
}

// inspect reads every table of the log in a snapshot, and compares its root with that
// which it was made with, or sent with: damage on another's disk stays there. It adds no
// file.
func inspect(ctx context.Context, fsys vfs.FS, dir string, c *contents) (err error) {
	o := pebblestore.DefaultOptions()
	o.FS, o.ReadOnly, o.BallastBytes = unlockedFS{fsys}, true, 0
	s, err := pebblestore.Open(dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.Root() != c.root() {
		return &events.CorruptError{Where: "snapshot", Reason: fmt.Sprintf("holds the log %s, its contents say %s", s.Root(), c.root())}
	}
	return s.VerifyTables(ctx)
}

// unlockedFS leaves out the file that keeps others from a log: nobody else opens that of a
// snapshot, and who only looks at one leaves nothing in it.
type unlockedFS struct{ vfs.FS }

// Lock implements vfs.FS.
func (unlockedFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// clone makes a directory with the files of a snapshot that may take a log's
// place. Tables are linked, for they never change.
func (s *snapshots) clone(snap *snapshot) (string, error) {
	path, err := s.temp()
	if err != nil {
		return "", err
	}
	from := s.fs.PathJoin(snap.dir, filesName)
	for _, f := range snap.contents.files {
		put := vfs.Copy
		if f.table() {
			put = vfs.LinkOrCopy
		}
		if err := put(s.fs, s.fs.PathJoin(from, f.name), s.fs.PathJoin(path, f.name)); err != nil {
			return "", err
		}
	}
	return path, errors.Join(syncDir(s.fs, path), syncDir(s.fs, s.dir))
}

// snapshotReader streams a snapshot, opening one file after the other.
type snapshotReader struct {
	s    *snapshots
	snap *snapshot
	part io.Reader // what is read now
	next int       // file
	f    vfs.File  // nil between files
	sum  hash.Hash32
	once bool
}

func newSnapshotReader(s *snapshots, snap *snapshot) *snapshotReader {
	return &snapshotReader{s: s, snap: snap, part: bytes.NewReader(snap.contents.encode())}
}

// Read implements io.Reader.
func (r *snapshotReader) Read(b []byte) (int, error) {
	for {
		n, err := r.part.Read(b)
		if n > 0 || (err != nil && err != io.EOF) {
			return n, err
		}
		if err == nil {
			continue
		}
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
}

// advance goes on to the checksum after a file, or to the next file.
func (r *snapshotReader) advance() error {
	if r.f != nil {
		err := r.f.Close()
		r.f = nil
		r.part = bytes.NewReader(binary.BigEndian.AppendUint32(nil, r.sum.Sum32()))
		return err
	}
	files := r.snap.contents.files
	if r.next == len(files) {
		return io.EOF
	}
	want := files[r.next]
	f, err := r.s.fs.Open(r.s.fs.PathJoin(r.snap.dir, filesName, want.name))
	if err != nil {
		return err
	}
	r.next++
	r.f, r.sum = f, crc32.New(castagnoli())
	r.part = io.TeeReader(io.LimitReader(f, int64(want.size)), r.sum)
	return nil
}

// Close implements io.Closer.
func (r *snapshotReader) Close() error {
	if r.once {
		return nil
	}
	r.once = true
	var err error
	if r.f != nil {
		err = r.f.Close()
	}
	return errors.Join(err, r.s.release(r.snap))
}
