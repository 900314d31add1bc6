package projections

import (
	"testing"

	"github.com/caxton-run/caxton/events"
)

func TestInboxes(t *testing.T) {
	b := NewInboxes()
	log := newTape(b)
	log.agent(1, deployed(1, "a"))
	log.agent(2, deployed(2, "b"))
	check := func(what string, total int, waiting ...events.AgentID) {
		t.Helper()
		got := b.Waiting()
		if len(got) == 2 && got[0][15] > got[1][15] {
			got[0], got[1] = got[1], got[0]
		}
		same(t, what, got, waiting)
		if b.Len() != total {
			t.Fatalf("%s: %d wait, want %d", what, b.Len(), total)
		}
	}
	one, two := agentID(1), agentID(2)
	check("nothing", 0)
	entries := []events.Revision{log.inbox(1), log.inbox(1), log.inbox(1), log.inbox(1)}
	other := log.inbox(2)
	check("five", 5, one, two)
	log.agent(1, events.MessageHandled{Inbox: &entries[1]}, events.MessageHandled{Inbox: &entries[1]}, events.MessageHandled{})
	check("one handled", 4, one, two)
	log.agent(1, events.AgentSuspended{})
	check("one agent held", 4, two)
	log.agent(2, events.MessageFailed{Inbox: &other}, events.AgentFailed{})
	check("the other's failed", 3)
	log.inbox(2)
	check("one more for the failed agent", 4)
	log.agent(2, events.AgentResumed{})
	log.agent(1, events.AgentResumed{}, events.AgentQuarantined{Inbox: &entries[0]}, events.InboxSkipped{Inbox: entries[2]})
	check("both run", 2, one, two)
	log.agent(1, events.MessageHandled{Inbox: &entries[3]})
	check("one is done", 1, two)
	if b.LenOf(two) != 1 || b.LenOf(one) != 0 || b.Open(one, entries[3]) {
		t.Fatalf("%d and %d wait, the ended one: %v", b.LenOf(two), b.LenOf(one), b.Open(one, entries[3]))
	}
	log.agent(2, events.AgentSuspended{}, events.AgentRemoved{})
	check("the other removed: it has one to give up", 1, two)
	left := other + 1
	log.agent(2, events.MessageDeadLettered{}, events.MessageDeadLettered{Inbox: &left})
	check("given up", 0)
	if len(b.waiting) != 0 || len(b.moods) != 1 {
		t.Fatalf("keeps %v and %v", b.waiting, b.moods)
	}
}

// A message on its way into the inbox while its agent is removed waits to be
// given up: it was acknowledged.
func TestInboxOfTheRemoved(t *testing.T) {
	b := NewInboxes()
	log := newTape(b)
	log.agent(1, deployed(1, "a"), events.AgentSuspended{}, events.AgentRemoved{})
	rev := log.inbox(1)
	same(t, "waiting", b.Waiting(), []events.AgentID{agentID(1)})
	log.agent(1, events.MessageDeadLettered{Inbox: &rev})
	if b.Len() != 0 || len(b.Waiting()) != 0 {
		t.Fatalf("%d wait, for %v", b.Len(), b.Waiting())
	}
}

// TestInboxOfNobody: an agent that never was does nothing, once somebody has looked; one
// that is there, or comes to be, does.
func TestInboxOfNobody(t *testing.T) {
	b := NewInboxes()
	log := newTape(b)
	log.inbox(1)
	same(t, "waiting before a look", b.Waiting(), []events.AgentID{agentID(1)})
	for range 2 {
		b.Disown(agentID(1))
		b.Disown(agentID(2)) // has nothing in its inbox, and costs nothing
	}
	if len(b.Waiting()) != 0 || b.Runnable() != 0 || b.LenOf(agentID(1)) != 1 || len(b.moods) != 1 {
		t.Fatalf("waiting %v, %d can be seen to, %d are there", b.Waiting(), b.Runnable(), b.LenOf(agentID(1)))
	}
	log.agent(1, deployed(1, "a"))
	b.Disown(agentID(1))
	same(t, "waiting once it is deployed", b.Waiting(), []events.AgentID{agentID(1)})
}
