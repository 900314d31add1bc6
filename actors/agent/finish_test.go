package agent

import (
	"encoding/json"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// one returns the only event of a decision, as its type.
func one[P events.Payload](t *testing.T, list []events.Payload) P {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("events are %v, want one", types(list))
	}
	p, ok := list[0].(P)
	if !ok {
		t.Fatalf("event is %s, want %s", list[0].EventType(), p.EventType())
	}
	return p
}

// fullRun is a run with something in every field, of a message from a sender.
func fullRun(l *life, m events.Message, status events.OutcomeStatus) Run {
	waited := events.Revision(4)
	r := l.run(m, status)
	r.Inbox, r.Key, r.BodyHash = &waited, ScopedKey("user:anonymous", "k"), "hash"
	r.Host.Seed, r.GuestStatus = 99, 17
	r.Replied, r.Reply = true, []byte(`{"ok":true}`)
	r.Sends = []Outgoing{{Message: events.Message{Content: []byte(`"hello"`)}, To: agentID(2)}}
	r.Logs = []events.LogLine{{Level: events.LogWarn, Text: "line"}}
	r.State = []events.StateChange{{Key: "k", Value: []byte("v")}}
	return r
}

func TestHandledKeepsAllOfTheRun(t *testing.T) {
	l := newLife(t)
	r := fullRun(l, outsider(1), events.OutcomeOK)
	e := one[events.MessageHandled](t, l.do(Finish{Run: r}))
	same(t, "event", e, events.MessageHandled{
		Message: r.Message, Outcome: events.OutcomeOK, Reply: e.Reply, Sends: e.Sends,
		Logs: r.Logs, State: r.State, Host: r.Host, Fuel: r.Fuel, MeterVersion: r.MeterVersion,
		Module: l.st.Module, Inbox: r.Inbox, IdempotencyKey: r.Key, BodyHash: r.BodyHash,
	})
	if e.Reply == nil || len(e.Sends) != 1 {
		t.Fatalf("reply %v and %d sends, want one of each", e.Reply, len(e.Sends))
	}
	if l.st.Handled != 1 || !l.st.InboxDone(4) {
		t.Fatalf("handled %d, inbox done %v", l.st.Handled, l.st.InboxDone(4))
	}
	if v, _ := l.st.Get("k"); string(v) != "v" {
		t.Fatalf("state reads %q", v)
	}
	use, ok := l.st.Key(r.Key)
	want := KeyUse{MessageID: r.Message.ID, BodyHash: "hash", Revision: l.st.Revision, AtMicros: begin}
	if !ok || use != want {
		t.Fatalf("key stands for %+v, %v; want %+v", use, ok, want)
	}
}

func TestFailureDropsEffectsAndSaysWhy(t *testing.T) {
	for _, status := range []events.OutcomeStatus{
		events.OutcomeRefused, events.OutcomeOutOfFuel, events.OutcomeMemoryLimit, events.OutcomeStackOverflow,
		events.OutcomeTrap, events.OutcomeBadABI, events.OutcomeEffectsTooLarge,
	} {
		t.Run(string(status), func(t *testing.T) {
			l := newLife(t)
			r := fullRun(l, outsider(1), status)
			e := one[events.MessageFailed](t, l.do(Finish{Run: r}))
			same(t, "event", e, events.MessageFailed{
				Message: r.Message, Outcome: status, Detail: "because", Status: 17, Reply: e.Reply,
				Logs: r.Logs, Host: r.Host, Fuel: r.Fuel, MeterVersion: r.MeterVersion,
				Module: l.st.Module, Inbox: r.Inbox, IdempotencyKey: r.Key, BodyHash: r.BodyHash,
			})
			wantNotice(t, e.Reply, events.Failure, string(status), "because")
			if _, ok := l.st.Get("k"); ok {
				t.Fatal("a failed run wrote state")
			}
			if l.st.Status != Running || l.st.CrashAttempts(r.Message.ID) != 0 {
				t.Fatal("what recurs counted as a crash")
			}
			if _, ok := l.st.Key(r.Key); !ok || !l.st.InboxDone(4) || l.st.Handled != 1 {
				t.Fatal("a failed message is not done with")
			}
		})
	}
}

func wantNotice(t *testing.T, m *events.Message, p events.Performative, code, reason string) {
	t.Helper()
	if m == nil {
		t.Fatal("no notice")
	}
	var body struct{ Code, Reason string }
	if err := json.Unmarshal(m.Content, &body); err != nil {
		t.Fatal(err)
	}
	if m.Performative != p || body.Code != code || body.Reason != reason {
		t.Fatalf("notice is %s %+v, want %s %s %s", m.Performative, body, p, code, reason)
	}
}

func TestNoHandler(t *testing.T) {
	l := newLife(t)
	e := one[events.MessageHandled](t, l.finish(1, events.OutcomeNoHandler))
	if e.Outcome != events.OutcomeNoHandler {
		t.Fatalf("outcome is %s", e.Outcome)
	}
	wantNotice(t, e.Reply, events.NotUnderstood, "NoHandler", "the module exports no caxton_handle")
}

// TestATimerWithoutAHandlerHasFired: the module was another when it was set. Were it
// pending still, each start would deliver it again.
func TestATimerWithoutAHandlerHasFired(t *testing.T) {
	l := newLife(t)
	r := l.run(outsider(1), events.OutcomeOK)
	r.Timers = []TimerChange{{Timer: 1, After: events.MinTimerAfter}}
	set, ok := l.do(Finish{Run: r})[1].(events.TimerSet)
	if !ok || !l.st.HasTimer(1) {
		t.Fatal("no timer is set")
	}
	m := set.Message(agentID(1))
	list := l.do(Finish{Run: l.run(m, events.OutcomeNoHandler)})
	same(t, "events", types(list), []events.Type{"MessageHandled", "TimerFired"})
	same(t, "timer", list[1], events.TimerFired{Timer: 1, MessageID: m.ID})
	if l.st.HasTimer(1) {
		t.Error("it is pending still")
	}
}

// An answer that says that something went wrong is never answered by another:
// two agents would go on for ever.
func TestNoticesAreNotAnswered(t *testing.T) {
	for _, p := range []events.Performative{events.Failure, events.NotUnderstood} {
		for _, status := range []events.OutcomeStatus{events.OutcomeNoHandler, events.OutcomeTrap} {
			l := newLife(t)
			m := fromAgent(2, 1)
			m.Performative = p
			var reply *events.Message
			var sends []events.Message
			switch e := l.do(Finish{Run: l.run(m, status)})[0].(type) {
			case events.MessageHandled:
				reply, sends = e.Reply, e.Sends
			case events.MessageFailed:
				reply, sends = e.Reply, e.Sends
			}
			if reply != nil || len(sends) > 0 {
				t.Errorf("%s that ended with %s was answered", p, status)
			}
		}
	}
}

func TestReplyReachesWhoAsked(t *testing.T) {
	t.Run("outside", func(t *testing.T) {
		l := newLife(t)
		r := l.run(outsider(1), events.OutcomeOK)
		r.Replied, r.Reply = true, []byte("not JSON")
		e := one[events.MessageHandled](t, l.do(Finish{Run: r}))
		same(t, "reply", e.Reply, &events.Message{
			ID: e.Reply.ID, Performative: events.Inform, Sender: agentID(1).String(), Receiver: "user:anonymous",
			ContentBase64: []byte("not JSON"), ConversationID: "talk", InReplyTo: "tag", Protocol: "query", Hops: 1,
		})
		same(t, "sends", e.Sends, []events.Message{})
	})
	t.Run("an agent", func(t *testing.T) {
		l := newLife(t)
		m := fromAgent(2, 1)
		m.ReplyWith, m.Hops = "", 5
		r := l.run(m, events.OutcomeOK)
		r.Replied, r.Reply = true, []byte(`1`)
		e := one[events.MessageHandled](t, l.do(Finish{Run: r}))
		if e.Reply != nil || len(e.Sends) != 1 {
			t.Fatalf("reply %v, %d sends", e.Reply, len(e.Sends))
		}
		same(t, "send", e.Sends[0], events.Message{
			ID: e.Sends[0].ID, Performative: events.Inform, Sender: agentID(1).String(), Receiver: agentID(2).String(),
			Content: []byte(`1`), ConversationID: "talk", InReplyTo: m.ID.String(), Protocol: "query", Hops: 6, Sequence: 1,
		})
	})
	t.Run("nobody when there is none", func(t *testing.T) {
		l := newLife(t)
		if e := one[events.MessageHandled](t, l.finish(1, events.OutcomeOK)); e.Reply != nil || len(e.Sends) > 0 {
			t.Fatal("a reply that the guest did not give")
		}
	})
	t.Run("even if empty", func(t *testing.T) {
		l := newLife(t)
		r := l.run(outsider(1), events.OutcomeOK)
		r.Replied = true
		if e := one[events.MessageHandled](t, l.do(Finish{Run: r})); e.Reply == nil || e.Reply.ContentSize() != 0 {
			t.Fatalf("reply is %+v, want an empty one", e.Reply)
		}
	})
}
