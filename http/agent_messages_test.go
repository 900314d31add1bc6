package http

import (
	"context"
	"net/http"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// say records that an agent handled a message and sent others.
func (n *fakeNode) say(id events.AgentID, sends ...events.MessageID) events.MessageID {
	m := events.Message{ID: events.NewMessageID(), Performative: events.Request, Sender: principal, Receiver: id.String(), Content: []byte("1"), ConversationID: "c"}
	h := events.MessageHandled{Message: m, Outcome: events.OutcomeOK, Fuel: 5, MeterVersion: 1}
	for _, to := range sends {
		h.Sends = append(h.Sends, events.Message{ID: to, Performative: events.Inform, Sender: id.String(), Receiver: "other", Content: []byte("2"), ConversationID: "c"})
	}
	n.record(id, h)
	return m.ID
}

// TestAgentMessages shows each message as it stands, a send by its receiver's word.
func TestAgentMessages(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	id := r.deploy(t, "a")
	unheard := events.NewMessageID()
	first := r.node.say(id, unheard, messageSaid())
	second := r.node.say(id)

	list, next, err := r.AgentMessages(ctx, "a", EventQuery{})
	if err != nil || next != nil || len(list) != 4 {
		t.Fatalf("%d messages, next %v, %v", len(list), next, err)
	}
	for i, want := range []struct {
		id     events.MessageID
		status projections.MessageStatus
	}{
		{first, projections.MessageHandled}, {unheard, projections.MessageInFlight},
		{messageSaid(), projections.MessageHandled}, {second, projections.MessageHandled},
	} {
		if list[i].ID != want.id || list[i].Status != want.status {
			t.Errorf("message %d: %s %s, want %s %s", i, list[i].ID, list[i].Status, want.id, want.status)
		}
	}
	page, next, err := r.AgentMessages(ctx, "a", EventQuery{Direction: events.Backwards, Limit: 1})
	if err != nil || len(page) != 1 || page[0].ID != second || next == nil {
		t.Fatalf("the newest: %+v, next %v, %v", page, next, err)
	}
	page, next, err = r.AgentMessages(ctx, "a", *next)
	if err != nil || len(page) != 3 || page[0].ID != first || next == nil {
		t.Fatalf("before it, one event whole: %d messages, next %v, %v", len(page), next, err)
	}
	if page, next, err = r.AgentMessages(ctx, "a", *next); err != nil || len(page) != 0 || next != nil {
		t.Fatalf("its deployment tells of none: %+v, next %v, %v", page, next, err)
	}
	_, _, err = r.AgentMessages(ctx, events.NewAgentID().String(), EventQuery{})
	if p := problem(t, err); p.Code != CodeAgentNotFound {
		t.Errorf("unknown agent: %+v", p)
	}
}

// TestWaitingMessages shows the entries of an inbox that were not ended.
func TestWaitingMessages(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	id := r.deploy(t, "a")
	var put []events.MessageID
	for i := range 5 {
		m := events.Message{ID: events.NewMessageID(), Performative: events.Request, Sender: principal, Receiver: id.String(), Content: []byte("1"), ConversationID: "c"}
		ev, err := events.Encode(events.NewEventID(), events.MessageReceived{Message: m}, events.Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		s := events.InboxStream(id)
		r.node.history[s] = append(r.node.history[s], events.Recorded{Event: ev, Stream: s, Revision: events.Revision(i)})
		put = append(put, m.ID)
	}
	if page, next, err := r.WaitingMessages(ctx, "a", EventQuery{}); err != nil || len(page) != 0 || next != nil {
		t.Fatalf("none waits: %+v, %v, %v", page, next, err)
	}
	r.node.entries = []events.Revision{1, 3, 4}
	page, next, err := r.WaitingMessages(ctx, "a", EventQuery{Limit: 2})
	if err != nil || len(page) != 2 || page[0].ID != put[1] || page[1].ID != put[3] || page[0].Status != projections.MessageQueued || next == nil {
		t.Fatalf("%+v, next %v, %v", page, next, err)
	}
	page, next, err = r.WaitingMessages(ctx, "a", *next)
	if err != nil || len(page) != 1 || page[0].ID != put[4] || next != nil {
		t.Fatalf("%+v, next %v, %v", page, next, err)
	}
	got := get(t, r, base+"/agents/a/messages?waiting=true&direction=backwards")
	wantProblem(t, got, http.StatusBadRequest, CodeInvalidRequest)
	got = get(t, r, base+"/agents/a/messages?waiting=perhaps")
	wantProblem(t, got, http.StatusBadRequest, CodeInvalidRequest)
}
