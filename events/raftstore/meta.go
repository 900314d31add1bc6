package raftstore

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft-wal/types"

	"github.com/caxton-run/caxton/events"
)

// Notes beside the raft log's files. raft-wal would keep both in a bbolt file,
// which checks neither term nor vote when it reads them.
const (
	segmentsName = "segments" // which files the log has
	stableName   = "stable"   // term and vote
)

// metaStore is raft-wal's types.MetaStore in two notes. A crash leaves each as it
// was or as it was to be.
type metaStore struct {
	fs  vfs.FS
	dir string

	mu     lock // guards stable, and both notes
	stable map[string][]byte
}

// Load implements types.MetaStore. Where there are files of the log and no notes,
// the notes were lost: to begin anew would be to forget votes.
func (m *metaStore) Load(dir string) (types.PersistentState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state, found, listed, err := m.read(dir)
	if err != nil || (found && listed) {
		return state, err
	}
	if !found {
		if err := m.writeStable(); err != nil {
			return state, err
		}
	}
	return state, m.writeSegments(state)
}

// read reads both notes; found and listed say whether stable and segments are there.
// Without one of them it is a new log, or none.
func (m *metaStore) read(dir string) (state types.PersistentState, found, listed bool, err error) {
	m.dir, m.stable = dir, make(map[string][]byte)
	b, found, err := readNote(m.fs, m.path(stableName))
	if err != nil {
		return state, false, false, err
	}
	segments, listed, err := readNote(m.fs, m.path(segmentsName))
	if err != nil {
		return state, false, false, err
	}
	if !found || !listed {
		return state, found, listed, m.checkNew(listed)
	}
	if err := json.Unmarshal(b, &m.stable); err != nil {
		return state, true, true, &events.CorruptError{Where: "file " + m.path(stableName), Reason: err.Error()}
	}
	if err := json.Unmarshal(segments, &state); err != nil {
		return state, true, true, &events.CorruptError{Where: "file " + m.path(segmentsName), Reason: err.Error()}
	}
	return state, true, true, nil
}

// checkNew refuses a log that lacks a note and is not new.
func (m *metaStore) checkNew(listed bool) error {
	names, err := m.fs.List(m.dir)
	if err != nil {
		return err
	}
	missing := segmentsName
	if listed {
		missing = stableName
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".wal") || listed {
			return &events.CorruptError{Where: "file " + m.path(missing), Reason: fmt.Sprintf("is missing beside %s", n)}
		}
	}
	return nil
}

func (m *metaStore) path(name string) string { return m.fs.PathJoin(m.dir, name) }

func (m *metaStore) writeStable() error {
	b, err := json.Marshal(m.stable)
	if err != nil {
		return err
	}
	return writeNote(m.fs, m.path(stableName), b)
}

func (m *metaStore) writeSegments(state types.PersistentState) error {
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return writeNote(m.fs, m.path(segmentsName), b)
}

// CommitState implements types.MetaStore.
func (m *metaStore) CommitState(state types.PersistentState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writeSegments(state)
}

// GetStable implements types.MetaStore.
func (m *metaStore) GetStable(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stable[string(key)], nil
}

// Raft's own keys of its last vote. It writes the term first, then for whom.
const (
	lastVoteTerm = "LastVoteTerm"
	lastVoteFor  = "LastVoteCand"
)

// SetStable implements types.MetaStore. The term of a new vote takes the old vote's
// candidate away: were the power cut before the new one is written, the member would have
// voted for the old one in that term, and say so again without a look at its log.
func (m *metaStore) SetStable(key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := maps.Clone(m.stable)
	m.stable[string(key)] = append([]byte{}, value...)
	if string(key) == lastVoteTerm {
		delete(m.stable, lastVoteFor)
	}
	if err := m.writeStable(); err != nil {
		m.stable = before
		return err
	}
	return nil
}

// Close implements io.Closer.
func (m *metaStore) Close() error { return nil }
