package main

import "testing"

// TestGuestBounds: what guests have on the heap fits beside their memories, on a node
// of any size that the configuration admits; a large node's are the defaults.
func TestGuestBounds(t *testing.T) {
	for _, limit := range []uint64{64 << 20, 256 << 20, 1 << 30, 16 << 30, 1 << 50} {
		cfg := guestBounds(limit)
		if err := cfg.Validate(); err != nil {
			t.Errorf("%d bytes: %v", limit, err)
		}
		if heap := uint64(cfg.ImageMemory + cfg.GuestStacks); heap > limit*3/8 || limit >= 128<<20 && heap > limit/4 {
			t.Errorf("of %d bytes, images and stacks may take %d", limit, heap)
		}
	}
	if got, want := guestBounds(16<<30), guestBounds(0); got.ImageMemory != want.ImageMemory || got.GuestStacks != want.GuestStacks {
		t.Errorf("a large node has less than the defaults: %+v", got)
	}
}
