package events

import (
	"testing"
	"time"
)

// TestCauses follows a chain: who came from outside began it, each next event names the
// one before, and what goes on for too long begins anew with the message in between.
func TestCauses(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	step := func(id byte, c Cause, at time.Duration) (Metadata, Cause) {
		t.Helper()
		md := c.Of(MessageID{id}, Metadata{CorrelationID: "c"})
		next, err := CauseOf(Recorded{Event: Event{ID: EventID{id}, Metadata: md.Encode()}, RecordedAt: begin.Add(at)}, MessageID{id})
		if err != nil {
			t.Fatal(err)
		}
		return md, next
	}
	md, c := step(1, Cause{}, 0)
	if md.CausationID != (MessageID{1}).String() || !md.Ancestor.IsZero() || md.AncestorOf(MessageID{1}) != (MessageID{1}) || md.CorrelationID != "c" {
		t.Errorf("from outside: %+v", md)
	}
	for i, want := range []struct {
		at       time.Duration
		ancestor byte
	}{{0, 1}, {ChainAge / 2, 1}, {ChainAge, 1}, {ChainAge + 1000, 1}, {ChainAge + 2000, 5}, {2*ChainAge + 1000, 5}, {2*ChainAge + 1001, 5}, {9 * ChainAge, 8}, {9 * ChainAge, 9}} {
		id := byte(2 + i)
		md, c = step(id, c, want.at)
		if md.CausationID != (EventID{id - 1}).String() || md.AncestorOf(MessageID{id}) != (MessageID{want.ancestor}) {
			t.Errorf("message %d: %+v, want it to come of %d", id, md, want.ancestor)
		}
	}
}

// TestACauseThatDoesNotRead is an error, not another cause.
func TestACauseThatDoesNotRead(t *testing.T) {
	if c, err := CauseOf(Recorded{Event: Event{Metadata: []byte(`{"ancestor":"nobody"}`)}}, MessageID{1}); err == nil {
		t.Errorf("%+v", c)
	}
}
