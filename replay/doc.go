// Package replay rebuilds an agent from the log: its state and its guest's
// memory at the last revision, from the newest usable snapshot on, or from the
// beginning.
//
// The live system wakes agents with it, and tools examine history with it, so
// there is one way to get from events to an agent. It writes nothing.
//
// Guarantees: two rebuilds of the same events give the same state and the same
// memory; a run that goes otherwise than recorded is a *DivergedError, never
// passed over.
//
// Test it with "go test ./replay".
package replay
