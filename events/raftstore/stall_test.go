package raftstore

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// stall holds up the syncs of a disk between begin and end.
type stall struct {
	lag func() // how long a sync of the raft log takes; nil in real time

	mu      sync.Mutex // guards what follows
	over    chan struct{}
	waiting int
}

// disk is a member's, which may hang.
func (n *node) disk() vfs.FS {
	if n.slow == nil {
		return n.fs
	}
	return errorfs.Wrap(n.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			n.slow.sync(op.Path)
		}
		return nil
	}))
}

// sync is one of a file. In simulated time only those of the raft log, and of term and
// vote, can be held up: others are waited for with mutexes, which stop that time.
func (s *stall) sync(path string) {
	if s.lag == nil {
		s.pass()
		return
	}
	if strings.HasSuffix(path, ".wal") || strings.Contains(path, "/"+stableName) {
		s.lag()
		s.pass()
	}
}

// stall is that of one disk: in simulated time each sync takes a drawn while.
func (n *testNet) stall() *stall {
	if n.rng == nil {
		return &stall{}
	}
	return &stall{lag: func() {
		n.mu.Lock()
		lag := time.Duration(n.rng.Int64N(int64(laneMost)))
		n.mu.Unlock()
		<-time.After(lag)
	}}
}

func (s *stall) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = make(chan struct{})
}

func (s *stall) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.over)
	s.over = nil
}

func (s *stall) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting > 0
}

// pass returns when the disk does not hang.
func (s *stall) pass() {
	s.mu.Lock()
	over := s.over
	if over == nil {
		s.mu.Unlock()
		return
	}
	s.waiting++
	s.mu.Unlock()
	<-over
	s.mu.Lock()
	s.waiting--
	s.mu.Unlock()
}

// TestStoppedLeaderHoldsNobody asks a leader that takes nothing from its connection:
// the one that asks hears of it in time, and so does the one that waits for its turn.
func TestStoppedLeaderHoldsNobody(t *testing.T) {
	ours, theirs := net.Pipe() // nobody reads theirs
	defer theirs.Close()
	g := &gate{open: make(map[*conn]struct{})}
	s := &session{within: 20 * time.Millisecond, conn: &conn{Conn: ours, raw: ours, g: g}, wait: make(map[uint64]chan frame)}
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			if _, err := s.ask(t.Context(), nil, askReadIndex, nil); !errors.Is(err, errSession) {
				t.Errorf("asked a stopped leader: %v", err)
			}
		})
	}
	asking.Wait()

	ours, theirs = net.Pipe()
	defer theirs.Close()
	s = &session{within: time.Hour, conn: &conn{Conn: ours, raw: ours, g: g}, wait: make(map[uint64]chan frame)}
	asking.Go(func() { s.ask(t.Context(), nil, askReadIndex, nil) }) //nolint:errcheck // it is ended
	s.end()
	asking.Wait()
}
