package raftstore

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/caxton-run/caxton/events"
)

// ServerID names a member for as long as its disk lives. It is random and lies in
// the data directory: a member whose disk was wiped is another one and cannot vote
// in the old one's place.
type ServerID uuid.UUID

// ClusterID names a cluster. All of its members know it, and speak to nobody who
// names another.
type ClusterID uuid.UUID

// String returns the id's usual form.
func (id ServerID) String() string { return uuid.UUID(id).String() }

// String returns the id's usual form.
func (id ClusterID) String() string { return uuid.UUID(id).String() }

// identityName is the note that holds server id (16) and cluster id (16, zeros
// for a member that waits to be added).
const identityName = "identity"

// identity is who this member is.
type identity struct {
	fs   vfs.FS
	path string
	self ServerID

	mu      sync.Mutex // guards cluster, and the note
	cluster ClusterID
}

// openIdentity reads who this member is, or chooses an id for one that is new.
func openIdentity(fsys vfs.FS, dir string) (*identity, error) {
	id := &identity{fs: fsys, path: fsys.PathJoin(dir, identityName)}
	b, ok, err := readNote(fsys, id.path)
	if err != nil {
		return nil, err
	}
	if !ok {
		if err := checkNoMember(fsys, dir, id.path); err != nil {
			return nil, err
		}
		id.self = ServerID(uuid.New())
		return id, id.store()
	}
	return readIdentity(b, fsys, id.path)
}

// readIdentity reads the note of who this member is.
func readIdentity(b []byte, fsys vfs.FS, path string) (*identity, error) {
	id := &identity{fs: fsys, path: path}
	if len(b) != len(id.self)+len(id.cluster) {
		return nil, &events.CorruptError{Where: "file " + path, Reason: fmt.Sprintf("holds %d bytes", len(b))}
	}
	copy(id.self[:], b)
	copy(id.cluster[:], b[len(id.self):])
	return id, nil
}

// checkNoMember refuses a directory without an identity in which a member was: with a new
// id it would be no member of the cluster whose log it holds, and lead nobody. A member has
// its identity on the disk before it has a raft log.
func checkNoMember(fsys vfs.FS, dir, note string) error {
	_, err := fsys.Stat(fsys.PathJoin(dir, raftDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return &events.CorruptError{Where: "file " + note, Reason: "is missing beside a raft log"}
}

// checkHasVotes refuses the member of a cluster that has no note of its term and vote: it
// would vote again where it has voted. It had one before it knew its cluster.
func checkHasVotes(fsys vfs.FS, dir string, cluster ClusterID) error {
	path := fsys.PathJoin(dir, raftDir, stableName)
	_, err := fsys.Stat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if cluster == (ClusterID{}) {
		return nil
	}
	return &events.CorruptError{Where: "file " + path, Reason: "is missing, and the member belongs to cluster " + cluster.String()}
}

func (id *identity) store() error {
	return writeNote(id.fs, id.path, append(append([]byte{}, id.self[:]...), id.cluster[:]...))
}

// of returns the cluster; zeros while this member belongs to none.
func (id *identity) of() ClusterID {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.cluster
}

// join makes this member one of a cluster, for good. It reports false when it
// belongs to another.
func (id *identity) join(cluster ClusterID) (bool, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.cluster != (ClusterID{}) {
		return id.cluster == cluster, nil
	}
	id.cluster = cluster
	if err := id.store(); err != nil {
		id.cluster = ClusterID{}
		return false, fmt.Errorf("note the cluster: %w", err)
	}
	return true, nil
}

// leave makes this member one of another cluster, whatever it was.
func (id *identity) leave(cluster ClusterID) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	id.cluster = cluster
	return id.store()
}
