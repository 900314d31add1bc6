package projections

import (
	"errors"
	"fmt"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// able deploys n agents that can all do the same.
func able(n int, skill string) (*Agents, []events.AgentID) {
	a := NewAgents("n1")
	var ids []events.AgentID
	pos := events.Position(0)
	for i := range n {
		id := events.AgentID{0: byte(i + 1), 15: 7}
		ids = append(ids, id)
		for rev, p := range []events.Payload{events.AgentDeployed{AgentID: id, Name: "x"}, events.CapabilityRegistered{Capability: skill}} {
			a.Apply(events.Recorded{Stream: events.AgentStream(id), Revision: events.Revision(rev), Position: pos}, p)
			pos++
		}
	}
	return a, ids
}

func apply(a *Agents, id events.AgentID, p events.Payload) {
	v, _ := a.Get(id)
	a.Apply(events.Recorded{Stream: events.AgentStream(id), Revision: v.Revision + 1}, p)
}

// TestCapabilitySpreads: conversations spread over those who can, each stays where
// it is, and only those of an agent that goes move.
func TestCapabilitySpreads(t *testing.T) {
	const n, conversations = 5, 5000
	a, ids := able(n, "sum")
	chosen, count := make([]events.AgentID, conversations), map[events.AgentID]int{}
	for i := range conversations {
		id, err := a.ResolveFor("capability:sum", fmt.Sprint("talk-", i))
		if err != nil {
			t.Fatal(err)
		}
		chosen[i] = id
		count[id]++
	}
	for id, got := range count {
		if got < conversations/n*8/10 || got > conversations/n*12/10 {
			t.Errorf("%s has %d of %d conversations", id, got, conversations)
		}
	}
	apply(a, ids[0], events.AgentRemoved{})
	apply(a, ids[1], events.AgentSuspended{})
	for i, before := range chosen {
		id, err := a.ResolveFor("capability:sum", fmt.Sprint("talk-", i))
		if err != nil || id == ids[0] || id == ids[1] {
			t.Fatalf("talk-%d goes to %s, %v", i, id, err)
		}
		if before != ids[0] && before != ids[1] && id != before {
			t.Fatalf("talk-%d moved without need", i)
		}
	}
}

func TestCapabilityFallsBack(t *testing.T) {
	a, ids := able(2, "sum")
	apply(a, ids[0], events.AgentSuspended{})
	apply(a, ids[1], events.AgentFailed{})
	if id, err := a.ResolveFor("capability:sum", "x"); err != nil || id != ids[0] {
		t.Errorf("got %s, %v, want the suspended one", id, err)
	}
	apply(a, ids[0], events.AgentRemoved{})
	if _, err := a.ResolveFor("capability:sum", "x"); !errors.Is(err, events.ErrAgentNotFound) {
		t.Errorf("got %v", err)
	}
	apply(a, ids[1], events.AgentRemoved{})
	if len(a.skills) != 0 {
		t.Errorf("removed agents are still found by %v", a.skills)
	}
	var invalid *events.InvalidError
	if _, err := a.ResolveFor("capability:", "x"); !errors.As(err, &invalid) {
		t.Errorf("of no name: %v", err)
	}
	if _, err := a.ResolveFor("x", "talk"); !errors.Is(err, events.ErrAgentNotFound) {
		t.Errorf("of a name: %v", err)
	}
}
