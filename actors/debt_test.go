package actors

import (
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// TestReplayDebt: what makes a snapshot due, and what does not.
func TestReplayDebt(t *testing.T) {
	type turn struct {
		events, bytes int
		fuel          events.Fuel
	}
	for _, c := range []struct {
		name    string
		turns   int
		each    turn
		last    time.Duration // what the last snapshot took
		due     bool
		resting bool
	}{
		{"nothing", 0, turn{}, 0, false, false},
		{"a few small messages", 20, turn{1, 500, 5_000}, 0, false, false},
		{"a tenth of many", 60, turn{1, 500, 5_000}, 0, false, true},
		{"many small messages", 500, turn{1, 500, 5_000}, 0, true, true},
		{"one long run", 1, turn{1, 500, 20_000_000}, 0, true, true},
		{"large messages", 3, turn{1, 400_000, 5_000}, 0, true, true},
		{"one long run, of a guest that is slow to capture", 1, turn{1, 500, 20_000_000}, 20 * time.Millisecond, false, true},
		{"many of these", 10, turn{1, 500, 20_000_000}, 20 * time.Millisecond, true, true},
		{"as many events as may be, slow to capture", 1000, turn{1, 0, 0}, time.Hour, true, true},
	} {
		var d replayDebt
		for range c.turns {
			d.add(c.each.events, c.each.bytes, c.each.fuel)
		}
		if d.due(1000, c.last) != c.due || d.dueAtRest(1000, c.last) != c.resting {
			t.Errorf("%s: %+v: due %v, at rest %v; want %v, %v", c.name, d,
				d.due(1000, c.last), d.dueAtRest(1000, c.last), c.due, c.resting)
		}
	}
}

// TestHeavyMessagesAreSnapshotted: an agent whose messages take long does not
// wait for a thousand of them.
func TestHeavyMessagesAreSnapshotted(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	heavy := `{"op":"add","n":1,"pad":"` + strings.Repeat("x", 200_000) + `"}`
	for range 5 {
		r.ask(id, heavy)
	}
	r.restart()
	r.wants(id, `{"op":"get"}`, `{"count":5}`)
	n := 0
	for _, err := range r.log.ReadStream(t.Context(), events.SnapshotStream(id), events.ReadStreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n == 0 {
		t.Error("no snapshot after a megabyte of messages")
	}
}
