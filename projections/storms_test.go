package projections

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/google/uuid"
)

// ancestor is a message by a name.
func ancestor(name string) events.MessageID {
	return events.MessageID(uuid.NewSHA1(uuid.Nil, []byte(name)))
}

// fail records a failure of agent n for an ancestor, in a conversation with n, at a second.
func fail(s *Storms, n byte, name string, second float64) {
	failFor(s, n, ancestor(name), fmt.Sprint("with ", n), second)
}

func failFor(s *Storms, n byte, from events.MessageID, conversation string, second float64) {
	p := events.MessageFailed{Outcome: events.OutcomeTrap, Message: events.Message{ID: events.NewMessageID()}}
	ev, err := events.Encode(events.NewEventID(), p, events.Metadata{CorrelationID: conversation, Ancestor: from})
	if err != nil {
		panic(err)
	}
	at := time.Unix(0, 0).Add(time.Duration(second * float64(time.Second)))
	s.Apply(events.Recorded{Event: ev, Stream: events.AgentStream(events.AgentID{0: 0xa9, 6: 0x40, 8: 0x80, 15: n}), RecordedAt: at}, p)
}

// TestStorms: as many agents as make one, for one ancestor, within the window; told
// once, and again after a quiet time.
func TestStorms(t *testing.T) {
	s := NewStorms()
	for n := range byte(StormAgents) {
		fail(s, n, fmt.Sprint("alone ", n), 0)          // each for an ancestor of its own
		failFor(s, n, events.MessageID{}, "crowded", 0) // each for its own message, from outside
	}
	for range 20 {
		fail(s, 1, "one agent", 1)
	}
	for n := range byte(StormAgents) {
		fail(s, n, "slowly", float64(n)*StormWindow.Seconds())
	}
	if got := s.Take(); len(got) != 0 {
		t.Fatalf("found %+v", got)
	}
	for n := range byte(StormAgents) {
		fail(s, n, "storm", 100)
		fail(s, n, "storm", 101)
	}
	got := s.Take()
	if len(got) != 1 {
		t.Fatalf("found %d storms, want 1", len(got))
	}
	e := got[0].Event
	if e.Ancestor != ancestor("storm") || len(e.Conversations) != StormAgents || e.Conversation() != "with 0" || e.Count != StormAgents || len(e.Agents) != StormAgents || e.Failures != 2*StormAgents-1 || e.Agents[0][15] != 0 ||
		!e.First.Equal(time.Unix(100, 0)) || e.WindowMS != 10_000 || got[0].Cause == (events.EventID{}) {
		t.Errorf("%+v", got[0])
	}
	select {
	case <-s.Changed():
	default:
		t.Error("no token")
	}
	for n := range byte(StormAgents + 2) { // it goes on, and two join
		fail(s, n, "storm", 105)
		fail(s, n, "storm", 106)
	}
	if n := len(s.Take()); n != 0 {
		t.Errorf("%d storms while one goes on", n)
	}
	joined := s.TakeSpread()
	if len(joined) != 2 || joined[0].Event.Ancestor != ancestor("storm") || len(joined[1].Event.Agents) != 1 || joined[1].Event.Agents[0][15] != StormAgents+1 {
		t.Errorf("joined: %+v", joined)
	}
	for n := range byte(StormAgents) {
		fail(s, n, "storm", 200)
	}
	if n := len(s.Take()); n != 1 {
		t.Errorf("%d storms after a quiet time, want 1", n)
	}
}

// TestStormsAreBounded: neither conversations nor failures nor storms pile up.
func TestStormsAreBounded(t *testing.T) {
	s := NewStorms()
	for i := range 3 * maxWatched {
		fail(s, byte(i), fmt.Sprint(i), 0)
	}
	for i := range 3 * maxCounted {
		fail(s, byte(i%3), "busy", 0)
	}
	if s.order.Len() != maxWatched || len(s.recent) != maxWatched {
		t.Errorf("%d conversations", s.order.Len())
	}
	if n := len(s.gathering(ancestor("busy")).failures); n != maxCounted {
		t.Errorf("%d failures of one conversation", n)
	}
	for i := range 2 * maxStorms {
		for n := range byte(StormAgents) {
			fail(s, n, fmt.Sprint("storm ", i), 0)
		}
	}
	for i := range 2 * maxSpread {
		fail(s, byte(i), fmt.Sprint("storm ", i%7), 0)
	}
	if got := s.TakeSpread(); len(got) != maxSpread {
		t.Errorf("%d that joined are kept", len(got))
	}
	if g := s.gathering(ancestor("storm 1")); len(g.named) > maxSpread {
		t.Errorf("%d agents of one storm are remembered", len(g.named))
	}
	if got := s.Take(); len(got) != maxStorms || got[maxStorms-1].Event.Ancestor != ancestor(fmt.Sprint("storm ", 2*maxStorms-1)) {
		t.Errorf("%d storms are kept", len(got))
	}
}

// TestStormsThatAreOverAreForgotten, with their failures: there may be no others to push
// them out. A clock that was set forward and back again is no reason.
func TestStormsThatAreOverAreForgotten(t *testing.T) {
	s := NewStorms()
	const later = 2 * 3600
	for i := range 100 {
		fail(s, byte(i), fmt.Sprint("storm ", i%10), 1)
	}
	fail(s, 1, "another", later)
	if s.order.Len() != 1 || len(s.recent) != 1 {
		t.Errorf("%d ancestors are remembered, want 1", s.order.Len())
	}
	for n := range byte(StormAgents) {
		fail(s, n, "storm of now", 2)
	}
	if got := s.Take(); len(got) != 11 || got[10].Event.Ancestor != ancestor("storm of now") {
		t.Errorf("found %d storms, want 11", len(got))
	}
}

// TestAStormNamesAFew of its conversations.
func TestAStormNamesAFew(t *testing.T) {
	s := NewStorms()
	for i := range 2 * maxStormTalks {
		failFor(s, 1, ancestor("many"), fmt.Sprint("talk ", i), 1)
	}
	for n := range byte(StormAgents) {
		fail(s, n, "many", 1)
	}
	got := s.Take()
	if len(got) != 1 || len(got[0].Event.Conversations) != maxStormTalks || got[0].Event.Conversation() != "talk 0" {
		t.Errorf("%+v", got)
	}
}

// TestStormsOfATrimmedLog: what a rebuild finds in what is left of an old storm was
// recorded when there was all of it.
func TestStormsOfATrimmedLog(t *testing.T) {
	s := NewStorms()
	s.Settle(0, 1, time.Unix(2, 0).Add(stormOver/2))
	for n := range byte(StormAgents) {
		fail(s, n, "young", 1) // at position 0
	}
	if got := s.Take(); len(got) != 1 {
		t.Fatalf("found %+v, want the one that may not be recorded yet", got)
	}
	s.Recorded()
	s = NewStorms()
	s.Settle(0, 1, time.Unix(2, 0).Add(stormOver))
	for n := range byte(StormAgents) {
		fail(s, n, "old", 1) // at position 0
	}
	if got := s.Take(); len(got) != 0 {
		t.Fatalf("found again: %+v", got)
	}
	s.Recorded()
	if got := s.Settled(); got != 0 {
		t.Fatalf("settled before %d while failures count", got)
	}
	s.Apply(events.Recorded{Position: 7, RecordedAt: time.Unix(2, 0).Add(2 * stormOver)}, events.AgentRemoved{})
	if got := s.Settled(); got != 8 {
		t.Fatalf("settled before %d once it is over, want 8", got)
	}
}

// TestStormsAreSettledWhenRecorded: until the log has a storm, nothing of it may go.
func TestStormsAreSettledWhenRecorded(t *testing.T) {
	s := NewStorms()
	for n := range byte(StormAgents) {
		fail(s, n, "storm", 1)
	}
	later := func() {
		s.Apply(events.Recorded{Position: 7, RecordedAt: time.Unix(2, 0).Add(2 * stormOver)}, events.AgentRemoved{})
	}
	later()
	for _, step := range []struct {
		name string
		do   func()
		want events.Position
	}{
		{"found", func() {}, 0},
		{"taken", func() { s.Take() }, 0},
		{"recorded", func() { s.Recorded() }, 8},
		{"nothing taken", func() { s.Take() }, 8},
		{"one has joined", func() { fail(s, 77, "storm", 3) }, 0},
		{"it is taken", func() { s.TakeSpread() }, 0},
		{"its breaker is open", func() { s.Recorded(); later() }, 8},
	} {
		if step.do(); s.Settled() != step.want {
			t.Errorf("%s: settled before %d, want %d", step.name, s.Settled(), step.want)
		}
	}
}

// TestAnAgentThatJoinsAStormCostsLittle, however many there are: what is told of it
// names no other, and nobody looks through those that failed before.
func TestAnAgentThatJoinsAStormCostsLittle(t *testing.T) {
	s := NewStorms()
	join := func(n uint32) {
		id := events.AgentID{6: 0x40, 8: 0x80}
		binary.BigEndian.PutUint32(id[12:], n)
		p := events.MessageFailed{Outcome: events.OutcomeTrap, Message: events.Message{ID: events.NewMessageID()}}
		ev, err := events.Encode(events.NewEventID(), p, events.Metadata{CorrelationID: "one", Ancestor: ancestor("storm")})
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(events.Recorded{Event: ev, Stream: events.AgentStream(id), RecordedAt: time.Unix(100, 0)}, p)
	}
	cost := func(from uint32) (bytes uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for n := range uint32(100) {
			join(from + n)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	few := cost(0)
	for n := range uint32(maxCounted) {
		join(1000 + n)
	}
	if many := cost(10_000); many > 4*few {
		t.Errorf("100 agents that join many allocate %d bytes, those that join few %d", many, few)
	}
}
