package raftstore

import "github.com/hashicorp/raft"

// wire is raft's transport. Heartbeats are handled by the goroutines of connections,
// beside raft's own, and one of a later term writes to the disk: raft panics when that
// is closed already. So none is handled when raft is asked nothing more.
type wire struct {
	*raft.NetworkTransport
	s *Store
}

// SetHeartbeatHandler implements raft.Transport.
func (w *wire) SetHeartbeatHandler(handle func(raft.RPC)) {
	w.NetworkTransport.SetHeartbeatHandler(func(r raft.RPC) { w.heartbeat(r, handle) })
}

func (w *wire) heartbeat(r raft.RPC, handle func(raft.RPC)) {
	if !w.s.useRaft() {
		r.Respond(nil, raft.ErrRaftShutdown)
		return
	}
	defer w.s.release()
	handle(r)
}
