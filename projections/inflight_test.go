package projections

import (
	"cmp"
	"slices"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// sent is a message from one agent to another, as the sender's event has it.
func sent(from, to byte, sequence uint64) events.Message {
	return events.Message{Sender: agentID(from).String(), Receiver: agentID(to).String(), Sequence: sequence}
}

func pair(from, to byte) Pair { return Pair{agentID(from), agentID(to), events.Normal} }

// taken is what TakeChanged gives, in an order of its own, and whether Changed
// had said so.
func taken(t *testing.T, f *InFlight) []Pair {
	t.Helper()
	rang := false
	select {
	case <-f.Changed():
		rang = true
	default:
	}
	list := f.TakeChanged()
	if len(list) > 0 && !rang {
		t.Fatalf("%d pairs changed and nobody was told", len(list))
	}
	slices.SortFunc(list, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(a.From[15], b.From[15]), cmp.Compare(a.To[15], b.To[15]))
	})
	return list
}

func TestInFlight(t *testing.T) {
	f := NewInFlight()
	log := newTape(f)
	same(t, "at first", taken(t, f), []Pair{})

	log.agent(1, deployed(1, "a"), events.MessageHandled{Sends: []events.Message{sent(1, 2, 1), sent(1, 3, 1), sent(1, 2, 2)}})
	same(t, "pairs", taken(t, f), []Pair{pair(1, 2), pair(1, 3)})
	same(t, "taken once", taken(t, f), []Pair{})
	same(t, "1 to 2", f.Next(pair(1, 2), 0, 10), []Sent{{Sequence: 1, Revision: 1, Index: 0}, {Sequence: 2, Revision: 1, Index: 2}})
	same(t, "1 to 3", f.Next(pair(1, 3), 0, 10), []Sent{{Sequence: 1, Revision: 1, Index: 1}})
	same(t, "after the first", f.Next(pair(1, 2), 1, 10), []Sent{{Sequence: 2, Revision: 1, Index: 2}})
	same(t, "at most one", f.Next(pair(1, 2), 0, 1), []Sent{{Sequence: 1, Revision: 1, Index: 0}})
	same(t, "at most none", f.Next(pair(1, 2), 0, 0), []Sent{})
	same(t, "of nobody", f.Next(pair(2, 1), 0, 10), []Sent{})

	// Failures and quarantines send too, and end what they name.
	log.agent(2, deployed(2, "b"), events.MessageFailed{Message: sent(1, 2, 1), Sends: []events.Message{sent(2, 1, 1)}})
	same(t, "1 to 2 after its first", f.Next(pair(1, 2), 0, 10), []Sent{{Sequence: 2, Revision: 1, Index: 2}})
	same(t, "2 to 1", f.Next(pair(2, 1), 0, 10), []Sent{{Sequence: 1, Revision: 1, Index: 0}})
	log.agent(1, events.AgentQuarantined{Message: sent(2, 1, 1), Sends: []events.Message{sent(1, 2, 3)}})
	same(t, "1 to 2 with a third", f.Next(pair(1, 2), 0, 10), []Sent{{Sequence: 2, Revision: 1, Index: 2}, {Sequence: 3, Revision: 2, Index: 0}})
	if f.Len() != 3 {
		t.Fatalf("%d in flight, want 3", f.Len())
	}

	// What is at its end is nothing to look at.
	log.agent(3, deployed(3, "c"), events.MessageHandled{Message: sent(1, 3, 1)})
	same(t, "changed, but for what has ended", taken(t, f), []Pair{pair(1, 2)})
	log.agent(2, events.MessageHandled{Message: sent(1, 2, 3)})
	if f.Len() != 0 || len(f.pairs)+len(f.senders)+len(f.dirty) != 0 {
		t.Fatalf("%d in flight; keeps %v %v %v", f.Len(), f.pairs, f.senders, f.dirty)
	}
}

func TestDeadLettersEndOneSend(t *testing.T) {
	f := NewInFlight()
	log := newTape(f)
	log.agent(1, deployed(1, "a"), events.MessageHandled{Sends: []events.Message{sent(1, 2, 1), sent(1, 2, 2), sent(1, 2, 3)}})
	giveUp := func(m events.Message) { log.agent(1, events.MessageDeadLettered{Message: m}) }

	giveUp(sent(1, 2, 2))
	same(t, "the second", f.Next(pair(1, 2), 0, 10), []Sent{{Sequence: 1, Revision: 1, Index: 0}, {Sequence: 3, Revision: 1, Index: 2}})
	giveUp(sent(1, 2, 2))
	giveUp(sent(1, 2, 0))
	giveUp(sent(1, 2, 9))
	giveUp(events.Message{Receiver: "nobody"})
	same(t, "what is not in flight", f.Next(pair(1, 2), 0, 10), []Sent{{Sequence: 1, Revision: 1, Index: 0}, {Sequence: 3, Revision: 1, Index: 2}})
	if f.Len() != 2 {
		t.Fatalf("%d in flight, want 2", f.Len())
	}
	giveUp(sent(1, 2, 1))
	giveUp(sent(1, 2, 3))
	if f.Len() != 0 || len(f.pairs) != 0 {
		t.Fatalf("%d in flight, want none", f.Len())
	}
}

// A receiver that starts to take messages again, or never will, is a reason to
// look at what is on its way to it, and at nothing else.
func TestReceiversChange(t *testing.T) {
	for name, change := range map[string]events.Payload{"resumed": events.AgentResumed{}, "removed": events.AgentRemoved{}} {
		f := NewInFlight()
		log := newTape(f)
		log.agent(1, events.MessageHandled{Sends: []events.Message{sent(1, 2, 1), sent(1, 3, 1)}})
		log.agent(3, events.MessageHandled{Sends: []events.Message{sent(3, 2, 1)}})
		taken(t, f)
		log.agent(2, change)
		same(t, name, taken(t, f), []Pair{pair(1, 2), pair(3, 2)})
		log.agent(1, change)
		same(t, "a sender "+name, taken(t, f), []Pair{})
		log.agent(2, events.AgentSuspended{})
		same(t, "suspended", taken(t, f), []Pair{})
	}
}

func TestInFlightIgnoresOutsiders(t *testing.T) {
	f := NewInFlight()
	log := newTape(f)
	log.agent(1, events.MessageHandled{Sends: []events.Message{sent(1, 1, 1)}})
	log.agent(1, events.MessageHandled{Message: events.Message{Sender: "user:a", Sequence: 1}})
	log.agent(1, events.MessageHandled{Message: events.Message{Sender: agentID(1).String()}})
	log.put("agent-x", events.MessageHandled{Sends: []events.Message{sent(1, 2, 1)}})
	same(t, "to itself", f.Next(pair(1, 1), 0, 10), []Sent{{Sequence: 1, Revision: 0, Index: 0}})
	if f.Len() != 1 {
		t.Fatalf("%d in flight, want 1", f.Len())
	}
	log.agent(1, events.MessageHandled{Message: sent(1, 1, 1), Sends: []events.Message{sent(1, 1, 2)}})
	same(t, "to itself again", f.Next(pair(1, 1), 0, 10), []Sent{{Sequence: 2, Revision: 3, Index: 0}})
}

// What Next gave stays as it was.
func TestNextGivesACopy(t *testing.T) {
	f := NewInFlight()
	log := newTape(f)
	log.agent(1, events.MessageHandled{Sends: []events.Message{sent(1, 2, 1), sent(1, 2, 2), sent(1, 2, 3)}})
	got := f.Next(pair(1, 2), 0, 10)
	log.agent(1, events.MessageDeadLettered{Message: sent(1, 2, 2)})
	same(t, "what was given", got, []Sent{{Sequence: 1, Revision: 0, Index: 0}, {Sequence: 2, Revision: 0, Index: 1}, {Sequence: 3, Revision: 0, Index: 2}})
}

// TestNobodyEndsASendFromAnInbox: what is written into an inbox by somebody else ends
// nothing; an agent's own stream says what the agent did.
func TestNobodyEndsASendFromAnInbox(t *testing.T) {
	f, b := NewInFlight(), NewInboxes()
	log := newTape(f)
	log.agent(1, deployed(1, "a"), events.MessageHandled{Sends: []events.Message{sent(1, 2, 1)}})
	rev := events.Revision(0)
	b.Apply(events.Recorded{Stream: events.InboxStream(agentID(2))}, events.MessageReceived{})
	for _, p := range []events.Payload{events.MessageHandled{Message: sent(1, 2, 1), Inbox: &rev}, events.InboxSkipped{}} {
		rec := events.Recorded{Stream: events.InboxStream(agentID(2)), Revision: 1}
		f.Apply(rec, p)
		b.Apply(rec, p)
	}
	b.Apply(events.Recorded{Stream: events.AgentStream(agentID(2)), Revision: 1}, events.MessageReceived{})
	if f.Len() != 1 || b.Len() != 1 {
		t.Errorf("%d sends are in flight, want 1; %d messages stand in the inbox, want 1", f.Len(), b.Len())
	}
}
