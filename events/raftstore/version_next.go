//go:build caxton_next

package raftstore

// The build that comes after this one, for the test that replaces one by the other: it
// is the same but for the number, and writes it into its entries as soon as it may.
const (
	memberVersion = 2
	newestEntry   = 2
)
