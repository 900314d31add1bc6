package agent

import (
	"testing"

	"github.com/caxton-run/caxton/events"
)

func send(to byte) Outgoing { return Outgoing{To: agentID(to)} }

func TestSequencesCountPerReceiver(t *testing.T) {
	l := newLife(t)
	var got []string
	for _, round := range [][]Outgoing{{send(2), send(3), send(2)}, {send(3)}, {send(2), send(1)}} {
		r := l.run(outsider(1), events.OutcomeOK)
		r.Sends = round
		for _, m := range one[events.MessageHandled](t, l.do(Finish{Run: r})).Sends {
			got = append(got, m.Receiver[len(m.Receiver)-1:]+":"+string(rune('0'+m.Sequence)))
		}
	}
	same(t, "receiver and sequence of each send", got, []string{"2:1", "3:1", "2:2", "3:2", "2:3", "1:1"})
}

// A reply uses the same sequences as a send to the same agent, after it.
func TestReplyFollowsSends(t *testing.T) {
	l := newLife(t)
	r := l.run(fromAgent(2, 1), events.OutcomeOK)
	r.Sends, r.Replied, r.Reply = []Outgoing{send(2)}, true, []byte(`1`)
	sends := one[events.MessageHandled](t, l.do(Finish{Run: r})).Sends
	if len(sends) != 2 || sends[0].Sequence != 1 || sends[1].Sequence != 2 || sends[1].InReplyTo == "" {
		t.Fatalf("sends are %+v", sends)
	}
}

// A failure told to an agent uses a sequence as well: the next send must not.
func TestFailureUsesASequence(t *testing.T) {
	l := newLife(t)
	failed := one[events.MessageFailed](t, l.do(Finish{Run: l.run(fromAgent(2, 1), events.OutcomeTrap)}))
	if len(failed.Sends) != 1 || failed.Sends[0].Sequence != 1 || failed.Reply != nil {
		t.Fatalf("failure was told by %+v and %v", failed.Sends, failed.Reply)
	}
	wantNotice(t, &failed.Sends[0], events.Failure, "Trap", "because")
	r := l.run(outsider(2), events.OutcomeOK)
	r.Sends = []Outgoing{send(2)}
	if m := one[events.MessageHandled](t, l.do(Finish{Run: r})).Sends[0]; m.Sequence != 2 {
		t.Fatalf("sequence is %d, want 2", m.Sequence)
	}
}

func TestAddressing(t *testing.T) {
	l := newLife(t)
	cause := outsider(1)
	cause.Hops = 3
	r := l.run(cause, events.OutcomeOK)
	guest := events.Message{ // all that a guest may not say
		ID: messageID(200), Sender: "user:root", Receiver: "a name", Sequence: 77, Hops: 0,
		Performative: events.CFP, ConversationID: "own", ReplyWith: "r", Content: []byte(`[]`),
	}
	r.Sends = []Outgoing{{Message: guest, To: agentID(2)}, send(2)}
	sends := one[events.MessageHandled](t, l.do(Finish{Run: r})).Sends
	same(t, "first", sends[0], events.Message{
		ID: sends[0].ID, Sender: agentID(1).String(), Receiver: agentID(2).String(), Sequence: 1, Hops: 4,
		Performative: events.CFP, ConversationID: "own", ReplyWith: "r", Content: []byte(`[]`),
	})
	same(t, "second", sends[1], events.Message{
		ID: sends[1].ID, Sender: agentID(1).String(), Receiver: agentID(2).String(), Sequence: 2, Hops: 4,
		Performative: events.Inform, ConversationID: "talk",
	})
	if sends[0].ID == guest.ID || sends[0].ID == sends[1].ID || sends[0].ID == cause.ID {
		t.Fatal("ids are not their own")
	}
}

// What an agent sends has ids that follow from what it handled: the same
// message decided again names its sends alike, another message or another agent
// does not.
func TestSendIDsFollowFromTheMessage(t *testing.T) {
	ids := func(l *life, n byte) events.MessageID {
		r := l.run(outsider(n), events.OutcomeOK)
		r.Sends = []Outgoing{send(2)}
		out, err := Decide(l.st, Finish{Run: r})
		if err != nil {
			t.Fatal(err)
		}
		return one[events.MessageHandled](t, out).Sends[0].ID
	}
	l := newLife(t)
	other := &life{tb: t, st: new(State)}
	other.do(Deploy{Event: deployment(9)})
	first := ids(l, 1)
	if again := ids(l, 1); again != first {
		t.Errorf("decided again: %s and %s", first, again)
	}
	if ids(l, 2) == first {
		t.Error("another message, the same id")
	}
	if ids(other, 1) == first {
		t.Error("another agent, the same id")
	}
}

func TestUndeliverableSends(t *testing.T) {
	l := newLife(t)
	r := l.run(outsider(1), events.OutcomeOK)
	r.Sends = []Outgoing{
		{Message: events.Message{Receiver: "nobody"}, Dead: events.DeadAgentNotFound, Detail: "no such name"},
		send(2),
	}
	out := l.do(Finish{Run: r})
	same(t, "events", types(out), []events.Type{"MessageHandled", "MessageDeadLettered"})
	letter := out[1].(events.MessageDeadLettered)
	same(t, "letter", letter, events.MessageDeadLettered{
		Reason: events.DeadAgentNotFound, Detail: "no such name",
		Message: events.Message{
			ID: letter.Message.ID, Performative: events.Inform, Sender: agentID(1).String(), Receiver: "nobody",
			ConversationID: "talk", Hops: 1,
		},
	})
	if m := out[0].(events.MessageHandled).Sends[0]; m.Sequence != 1 {
		t.Fatalf("what led nowhere used a sequence: the next is %d", m.Sequence)
	}
}

func TestHopLimit(t *testing.T) {
	for _, c := range []struct {
		hops int
		dead bool
	}{{events.MaxHops - 1, false}, {events.MaxHops, true}} {
		l := newLife(t)
		cause := fromAgent(2, 1)
		cause.Hops = c.hops
		r := l.run(cause, events.OutcomeOK)
		r.Sends, r.Replied, r.Reply = []Outgoing{send(3)}, true, []byte(`1`)
		out := l.do(Finish{Run: r})
		if !c.dead {
			if m := one[events.MessageHandled](t, out).Sends[0]; m.Hops != events.MaxHops {
				t.Fatalf("hops are %d, want %d", m.Hops, events.MaxHops)
			}
			continue
		}
		same(t, "events", types(out), []events.Type{"MessageHandled", "MessageDeadLettered", "MessageDeadLettered"})
		for _, p := range out[1:] {
			letter := p.(events.MessageDeadLettered)
			if letter.Reason != events.DeadHopLimit || letter.Message.Sequence != 0 || letter.Message.Hops > events.MaxHops {
				t.Fatalf("letter is %+v", letter)
			}
		}
		same(t, "sends", out[0].(events.MessageHandled).Sends, []events.Message{})
	}
}

// A dead letter given up later leaves its sequence used: the receiver may have
// seen it.
func TestDeadLetterKeepsTheSequence(t *testing.T) {
	l := newLife(t)
	r := l.run(outsider(1), events.OutcomeOK)
	r.Sends = []Outgoing{send(2)}
	m := one[events.MessageHandled](t, l.do(Finish{Run: r})).Sends[0]
	letter := events.MessageDeadLettered{Message: m, Reason: events.DeadRefused, Attempts: 3}
	same(t, "event", l.do(DeadLetter{Event: letter}), []events.Payload{letter})
	again := one[events.MessageHandled](t, l.do(Finish{Run: r})).Sends[0]
	if again.Sequence != 2 {
		t.Fatalf("the next sequence is %d, want 2", again.Sequence)
	}
}
