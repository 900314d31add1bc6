package raftstore

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// wellMeant refuses a request that raft would end the process for: what another member
// sends is its word only, and a build that is broken must not take all of them with it.
func wellMeant(r raft.RPC) error {
	switch ask := r.Command.(type) {
	case *raft.AppendEntriesRequest:
		for i, e := range ask.Entries {
			if e == nil {
				return fmt.Errorf("entry %d of the request is none", i)
			}
			if err := checkType(e); err != nil {
				return fmt.Errorf("entry %d: %w", e.Index, err)
			}
		}
	case *raft.InstallSnapshotRequest:
		if r.Reader == nil || ask.Size < 0 {
			return fmt.Errorf("snapshot of %d bytes", ask.Size)
		}
		return checkConfiguration(ask.Configuration)
	}
	return nil
}

// checkType refuses an entry that raft does not know how to apply.
func checkType(e *raft.Log) error {
	switch e.Type {
	case raft.LogCommand, raft.LogNoop, raft.LogBarrier:
		return nil
	case raft.LogConfiguration:
		return checkConfiguration(e.Data)
	}
	return fmt.Errorf("is of the unknown type %d", e.Type)
}

// checkConfiguration looks whether raft can read a set of members: it panics if not.
func checkConfiguration(b []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("configuration of %d bytes does not read: %v", len(b), p)
		}
	}()
	raft.DecodeConfiguration(b)
	return nil
}
