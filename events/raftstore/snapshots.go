package raftstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// Names in the directory of snapshots: one directory each, with these in it.
const (
	metaName     = "meta"     // a note: raft's SnapshotMeta as JSON
	contentsName = "contents" // a note
	filesName    = "log"      // the checkpoint
	tempPrefix   = "tmp-"
)

// snapshots is raft's SnapshotStore. A snapshot is a checkpoint on the same disk,
// most of it hard links, so it is made without copying and sent without a file in
// between. The newest one is kept, and those that are being read.
type snapshots struct {
	fs  vfs.FS
	dir string
	log *slog.Logger

	mu    lock // guards what follows
	known []*snapshot
	made  int // temporary directories, for their names
}

var _ raft.SnapshotStore = (*snapshots)(nil)

// snapshot is one that is whole. readers and gone belong to the store's mutex.
type snapshot struct {
	meta     raft.SnapshotMeta
	contents *contents
	dir      string
	readers  int
	gone     bool // another is newer: removed with its last reader
}

// openSnapshots reads what is there. Leftovers of a crash are removed; a snapshot
// that does not read is a *events.CorruptError, for raft has forgotten what came
// before it.
func openSnapshots(fsys vfs.FS, dir string, log *slog.Logger) (*snapshots, error) {
	if err := makeDir(fsys, dir); err != nil {
		return nil, err
	}
	s := &snapshots{fs: fsys, dir: dir, log: log}
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, n := range names {
		path := fsys.PathJoin(dir, n)
		if strings.HasPrefix(n, tempPrefix) {
			if err := fsys.RemoveAll(path); err != nil {
				return nil, err
			}
			continue
		}
		snap, err := s.load(path)
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", n, err)
		}
		s.known = append(s.known, snap)
	}
	slices.SortFunc(s.known, func(a, b *snapshot) int {
		if a.meta.Index != b.meta.Index {
			return int(int64(b.meta.Index) - int64(a.meta.Index))
		}
		return int(int64(b.meta.Term) - int64(a.meta.Term))
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.reap()
}

func (s *snapshots) load(path string) (*snapshot, error) {
	snap := &snapshot{dir: path}
	for _, part := range []struct {
		name string
		read func([]byte) error
	}{
		{metaName, func(b []byte) error { return json.Unmarshal(b, &snap.meta) }},
		{contentsName, func(b []byte) (err error) {
			snap.contents, err = readContents(bytes.NewReader(b))
			return err
		}},
	} {
		b, ok, err := readNote(s.fs, s.fs.PathJoin(path, part.name))
		if err == nil && !ok {
			err = &events.CorruptError{Where: "file " + part.name, Reason: "is missing"}
		}
		if err == nil {
			err = part.read(b)
		}
		if err != nil {
			return nil, err
		}
	}
	return snap, s.check(snap)
}

// check holds the files of a snapshot against its contents: their names and
// lengths, and the checksums of all but tables.
func (s *snapshots) check(snap *snapshot) error {
	dir := s.fs.PathJoin(snap.dir, filesName)
	for _, want := range snap.contents.files {
		path := s.fs.PathJoin(dir, want.name)
		info, err := s.fs.Stat(path)
		if err != nil {
			return &events.CorruptError{Where: "file " + path, Reason: err.Error()}
		}
		got := want
		got.size = uint64(info.Size())
		if !want.table() {
			if got.crc, err = checksumFile(s.fs, path); err != nil {
				return err
			}
		}
		if got != want {
			return &events.CorruptError{Where: "file " + path,
				Reason: fmt.Sprintf("holds %d bytes with CRC-32C %08x, want %d with %08x", got.size, got.crc, want.size, want.crc)}
		}
	}
	return nil
}

// temp returns a new directory for what is not yet a snapshot.
func (s *snapshots) temp() (string, error) {
	s.mu.Lock()
	s.made++
	path := s.fs.PathJoin(s.dir, fmt.Sprint(tempPrefix, s.made))
	s.mu.Unlock()
	return path, errors.Join(s.fs.RemoveAll(path), s.fs.MkdirAll(path, 0o755))
}

// checkpoint makes a copy of the replica, synced, that may become a snapshot.
func (s *snapshots) checkpoint(r *pebblestore.Replica) (*checkpoint, error) {
	path, err := s.temp()
	if err != nil {
		return nil, err
	}
	c := &checkpoint{s: s, dir: path}
	files := s.fs.PathJoin(path, filesName)
	if _, err := r.Checkpoint(files); err != nil {
		return nil, errors.Join(err, s.fs.RemoveAll(path))
	}
	if c.contents, err = listContents(s.fs, files, r.Applied(), r.Root()); err != nil {
		return nil, errors.Join(err, s.fs.RemoveAll(path))
	}
	return c, nil
}

// newest returns the newest snapshot, or nil.
func (s *snapshots) newest() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) == 0 {
		return nil
	}
	return s.known[0]
}

// index is the last entry in the newest snapshot; 0 without one.
func (s *snapshots) index() uint64 {
	if newest := s.newest(); newest != nil {
		return newest.meta.Index
	}
	return 0
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	if newest := s.newest(); newest != nil {
		meta := newest.meta
		return []*raft.SnapshotMeta{&meta}, nil
	}
	return nil, nil
}

// Open implements raft.SnapshotStore.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, snap := range s.known {
		if snap.meta.ID == id && !snap.gone {
			snap.readers++
			meta := snap.meta
			return &meta, newSnapshotReader(s, snap), nil
		}
	}
	return nil, nil, fmt.Errorf("snapshot %s is not there", id)
}

func (s *snapshots) release(snap *snapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap.readers--
	return s.reap()
}

// reap removes all but the newest snapshot, and those that are read. The caller
// holds mu.
func (s *snapshots) reap() error {
	var errs []error
	kept := s.known[:0]
	for i, snap := range s.known {
		snap.gone = snap.gone || i > 0
		if !snap.gone || snap.readers > 0 {
			kept = append(kept, snap)
			continue
		}
		errs = append(errs, s.remove(snap.dir))
	}
	clear(s.known[len(kept):])
	s.known = kept
	return errors.Join(errs...)
}

// remove takes a snapshot's name away first: files go one by one, and a crash between
// two of them leaves what is a leftover by its name, not a snapshot that lacks some.
func (s *snapshots) remove(path string) error {
	temp := s.fs.PathJoin(s.dir, tempPrefix+s.fs.PathBase(path))
	if err := s.fs.Rename(path, temp); err != nil {
		return err
	}
	if err := syncDir(s.fs, s.dir); err != nil {
		return err
	}
	return s.fs.RemoveAll(temp)
}

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	path, err := s.temp()
	if err != nil {
		return nil, err
	}
	return &sink{s: s, dir: path, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}, nil
}

// keep makes a snapshot of a directory that has all its files, synced, or removes it. It
// takes no newer one's place: while this one was made or received, another may have come.
func (s *snapshots) keep(dir string, meta raft.SnapshotMeta, c *contents) error {
	meta.Size = c.size()
	err := s.describe(dir, meta, c)
	if err == nil {
		err = s.adopt(dir, meta, c)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("snapshot %s: %w", meta.ID, err), s.fs.RemoveAll(dir))
	}
	return nil
}

// describe writes the notes of a snapshot.
func (s *snapshots) describe(dir string, meta raft.SnapshotMeta, c *contents) error {
	b, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	if err := writeNote(s.fs, s.fs.PathJoin(dir, contentsName), c.encode()); err != nil {
		return err
	}
	return writeNote(s.fs, s.fs.PathJoin(dir, metaName), b)
}

// adopt gives a snapshot its name.
func (s *snapshots) adopt(dir string, meta raft.SnapshotMeta, c *contents) error {
	path := s.fs.PathJoin(s.dir, meta.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, snap := range s.known {
		if snap.dir == path { // the same place in the order: either will do
			return s.fs.RemoveAll(dir)
		}
		if snap.meta.Index > meta.Index {
			return fmt.Errorf("there is one of entry %d", snap.meta.Index)
		}
	}
	if err := s.fs.Rename(dir, path); err != nil {
		return err
	}
	if err := syncDir(s.fs, s.dir); err != nil {
		return errors.Join(err, s.remove(path))
	}
	s.known = append([]*snapshot{{meta: meta, contents: c, dir: path}}, s.known...)
	if err := s.reap(); err != nil {
		s.log.Warn("an old snapshot is left", "err", err)
	}
	return nil
}
