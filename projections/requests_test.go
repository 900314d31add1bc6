package projections

import (
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// TestRequestsAreFoundForADay: those to capabilities, by the newest event about each.
func TestRequestsAreFoundForADay(t *testing.T) {
	const key = `"user:test""k"`
	a, b := events.NewAgentID(), events.NewAgentID()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	x := NewRequests()
	x.most = 2
	apply := func(s events.Stream, at time.Duration, p events.Payload) {
		x.Apply(events.Recorded{Stream: s, RecordedAt: start.Add(at)}, p)
	}
	skill, other := events.KeyedMessageID(key, "capability:a"), events.KeyedMessageID(key, "capability:b")
	plain, free := events.KeyedMessageID(key, a.String()), events.NewMessageID()
	apply(events.InboxStream(a), 0, events.MessageReceived{Message: events.Message{ID: skill}, IdempotencyKey: key})
	apply(events.AgentStream(a), time.Hour, events.MessageHandled{Message: events.Message{ID: skill}, IdempotencyKey: key})
	apply(events.AgentStream(a), time.Hour, events.MessageHandled{Message: events.Message{ID: plain}, IdempotencyKey: key})
	apply(events.AgentStream(a), time.Hour, events.MessageHandled{Message: events.Message{ID: free}})
	apply(events.AgentStream(b), 2*time.Hour, events.MessageDeadLettered{Message: events.Message{ID: other}, IdempotencyKey: key})
	for name, tc := range map[string]struct {
		id    events.MessageID
		after time.Duration
		want  events.AgentID
	}{
		"handled": {skill, 25 * time.Hour, a}, "too old": {skill, 25*time.Hour + time.Second, events.AgentID{}},
		"dead": {other, 3 * time.Hour, b}, "to an id": {plain, time.Hour, events.AgentID{}}, "without a key": {free, time.Hour, events.AgentID{}},
	} {
		if got, ok := x.Find(tc.id, start.Add(tc.after)); got != tc.want || ok == got.IsZero() {
			t.Errorf("%s: %v, %t", name, got, ok)
		}
	}
	more := events.KeyedMessageID(key, "capability:c")
	apply(events.AgentStream(b), 3*time.Hour, events.MessageFailed{Message: events.Message{ID: more}, IdempotencyKey: key})
	if _, ok := x.Find(skill, start.Add(3*time.Hour)); !ok || len(x.young) != 1 || len(x.old) != 2 {
		t.Errorf("one generation on: found %t, %d and %d", ok, len(x.young), len(x.old))
	}
	apply(events.AgentStream(b), 28*time.Hour, events.AgentQuarantined{Message: events.Message{ID: free}, IdempotencyKey: key})
	if len(x.young) != 1 || len(x.old) != 1 {
		t.Errorf("a day later: %d and %d", len(x.young), len(x.old))
	}
}

// TestFormerAgents: removed ones by id and name, the newest first, for a day.
func TestFormerAgents(t *testing.T) {
	f, start := newFormer(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ids := []events.AgentID{events.NewAgentID(), events.NewAgentID(), events.NewAgentID()}
	for i, id := range ids {
		f.add(formerAgent{id, "a", start.Add(time.Duration(i) * 13 * time.Hour)})
	}
	a := NewAgents("here")
	a.former = f
	if got := a.Former("a"); len(got) != 2 || got[0] != ids[2] || got[1] != ids[1] {
		t.Errorf("by name %v, want %v from the end, without the first", got, ids)
	}
	if got := a.Former(ids[1].String()); len(got) != 1 || got[0] != ids[1] {
		t.Errorf("by id %v", got)
	}
	if got := append(a.Former(ids[0].String()), a.Former("b")...); got != nil {
		t.Errorf("unknown %v", got)
	}
}
