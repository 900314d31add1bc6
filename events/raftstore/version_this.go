//go:build !caxton_next

package raftstore

// What this build understands. memberVersion rises when anything that members give
// each other gets a new version, and version_next.go with it.
const (
	memberVersion = 1 // of all; see version.go
	newestEntry   = 1 // of entries
)
