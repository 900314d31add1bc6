package main

import (
	"runtime"
	"testing"
)

// TestRoomForSyncs: one more than Go would take, and what an operator says is left.
func TestRoomForSyncs(t *testing.T) {
	was := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(was)
	t.Setenv("GOMAXPROCS", "5")
	if roomForSyncs(); runtime.GOMAXPROCS(0) != was {
		t.Errorf("%d, want %d", runtime.GOMAXPROCS(0), was)
	}
	t.Setenv("GOMAXPROCS", "")
	if roomForSyncs(); runtime.GOMAXPROCS(0) != was+1 {
		t.Errorf("%d, want %d", runtime.GOMAXPROCS(0), was+1)
	}
}
