// Package raftstore is the log engine of package pebblestore on a quorum: a
// events.Store whose every append is on the disks of most members before it is
// acknowledged, and which any member takes.
//
// It is hashicorp/raft for the order and raft-wal for its log, with a
// pebblestore.Replica as the state that they agree on. What this package decides
// is how changes get into the order once each, what a member proves before another
// speaks to it, and what is checked before a disk is believed.
//
// It is not a database of its own: records, indexes, roots and rules are
// pebblestore's. Members change by an operator's act only. See DESIGN.md for
// layouts, crashes and what is missing.
//
// Tests run clusters in one process, over a network and on disks that fail as they
// are told.
package raftstore
