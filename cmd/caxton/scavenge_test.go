package main

import (
	"context"
	"testing"
)

// TestUntilRung: what is done ends when the bell rings, or by itself, or with its context.
func TestUntilRung(t *testing.T) {
	bell := make(chan struct{}, 1)
	wait := func(ctx context.Context) bool {
		<-ctx.Done()
		return true
	}
	bell <- struct{}{}
	if done, rung := untilRung(t.Context(), bell, wait); !done || !rung {
		t.Errorf("rung: %v %v", done, rung)
	}
	if done, rung := untilRung(t.Context(), bell, func(context.Context) bool { return true }); !done || rung {
		t.Errorf("by itself: %v %v", done, rung)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if done, rung := untilRung(ctx, bell, wait); !done || rung {
		t.Errorf("with its context: %v %v", done, rung)
	}
}
