package pebblestore

import "sync/atomic"

// Stats are counts since Open, and sizes now.
type Stats struct {
	Appends   uint64 // that wrote
	Events    uint64 // written
	Bytes     uint64 // of events written: type, data and metadata
	Syncs     uint64 // group commits
	DiskBytes uint64 // of all files of the log; 0 after Close
}

type counters struct{ appends, events, bytes, syncs atomic.Uint64 }

func (c *counters) count(g *group) {
	if g.batch == nil {
		return
	}
	c.appends.Add(uint64(g.appends))
	c.events.Add(uint64(g.events))
	c.bytes.Add(uint64(g.bytes))
	c.syncs.Add(1)
}

// Stats returns counts and sizes. It costs microseconds: read it for a scrape,
// not for each append.
func (s *Store) Stats() Stats {
	st := Stats{
		Appends: s.counters.appends.Load(), Events: s.counters.events.Load(),
		Bytes: s.counters.bytes.Load(), Syncs: s.counters.syncs.Load(),
	}
	if s.enter() == nil {
		defer s.leave()
		st.DiskBytes = s.db.Metrics().DiskSpaceUsage()
	}
	return st
}
