package raftstore

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// stall holds up the syncs of a disk between begin and end.
type stall struct {
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
			n.slow.pass()
		}
		return nil
	}))
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
