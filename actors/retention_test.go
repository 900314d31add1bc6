package actors

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// TestOldSnapshotsAndHandledEntriesGo: what nobody will read again is hidden,
// a scavenge drops it, and the agent is what it was.
func TestOldSnapshotsAndHandledEntriesGo(t *testing.T) {
	r := newRig(t, func(c *Config) { c.IdleTimeout = 20 * time.Millisecond; c.SnapshotEvery = 10 })
	id := r.deploy("counter", "counter-rust")
	ctx := context.Background()
	if _, err := r.Suspend(ctx, Command{Agent: id}); err != nil {
		t.Fatal(err)
	}
	const n = trimInboxMin + 10
	for i := range n {
		q := request(id, `{"op":"add","n":1}`)
		q.Wait = 0
		if sent, err := r.Send(ctx, q); err != nil || sent.Status != Held {
			t.Fatalf("message %d: %s, %v", i, sent.Status, err)
		}
	}
	if _, err := r.Resume(ctx, Command{Agent: id}); err != nil {
		t.Fatal(err)
	}
	r.workedOff()
	inbox := events.InboxStream(id)
	trimmed, err := r.log.SubscribeStream(ctx, events.MetadataStream(inbox), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer trimmed.Close()
	late, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := trimmed.Next(late); err != nil {
		t.Fatalf("the inbox is not trimmed: %v", err)
	}
	if md, _, _, err := r.log.StreamMetadata(ctx, inbox); err != nil || md.TruncateBefore != n {
		t.Errorf("the inbox shows entries from %d on, %v; want %d", md.TruncateBefore, err, n)
	}
	snapshots := 0
	for _, err := range r.log.ReadStream(ctx, events.SnapshotStream(id), events.ReadStreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		snapshots++
	}
	if snapshots == 0 || snapshots > keepSnapshots {
		t.Errorf("%d snapshots are shown, want 1 to %d", snapshots, keepSnapshots)
	}
	done, err := r.log.Scavenge(ctx, pebblestore.ScavengeOptions{})
	if err != nil || done.Events < n {
		t.Errorf("scavenged %+v, %v; want at least the %d entries of the inbox", done, err, n)
	}
	r.wants(id, `{"op":"get"}`, fmt.Sprintf(`{"count":%d}`, n))
	r.restart()
	r.wants(id, `{"op":"get"}`, fmt.Sprintf(`{"count":%d}`, n))
	r.workedOff()
}
