package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/internal/config"
)

// TestTheNodeScavenges: the stage drops what is hidden, without being asked.
func TestTheNodeScavenges(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cfg := config.Default()
	cfg.Node.DataDir = t.TempDir()
	cfg.Events.ScavengeEvery = 5 * time.Millisecond
	n, err := openNode(ctx, cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close(ctx)
	const stream = "snapshot-1"
	for range 5 {
		ev := events.Event{ID: events.NewEventID(), Type: events.TypeSnapshotTaken, ContentType: events.Binary, Data: make([]byte, 1024)}
		if _, err := n.store.Append(ctx, stream, events.Any(), ev); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.store.SetStreamMetadata(ctx, stream, events.NoStream(), events.StreamMetadata{MaxCount: 3}); err != nil {
		t.Fatal(err)
	}
	told, err := n.store.SubscribeStream(ctx, pebblestore.ScavengesStream, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	stage, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- n.scavenge(stage) }()
	ev, err := told.Next(ctx)
	if err != nil {
		t.Fatalf("no scavenge is told of: %v", err)
	}
	if want := `{"streams":1,"events":2,"bytes":2048}`; string(ev.Data) != want {
		t.Errorf("scavenged %s, want %s", ev.Data, want)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

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
