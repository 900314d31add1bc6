package http

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// TestRemovedHistory: a read that names what is gone is refused by name; any other
// says from where on there is something.
func TestRemovedHistory(t *testing.T) {
	r := start(t, nil)
	id := r.deploy(t, "a")
	for range 4 {
		r.node.say(id)
	}
	stream := events.AgentStream(id)
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	r.node.mu.Lock()
	r.node.hidden = map[events.Stream]events.StreamMetadata{stream: events.Trim{Before: 2, Event: 4, At: at}.In(events.StreamMetadata{})}
	r.node.history[stream] = r.node.history[stream][2:]
	r.node.mu.Unlock()
	for _, what := range []string{"events", "messages"} {
		path := "/api/v1/agents/a/" + what
		for _, query := range []string{"?from=0", "?from=1", "?from=1&direction=backwards"} {
			p := wantProblem(t, get(t, r, path+query), 410, CodeHistoryRemoved)
			if !strings.Contains(p.Detail, "before revision 2 was removed by events.retention on 2026-02-03T04:05:06Z") {
				t.Errorf("%s%s: %s", what, query, p.Detail)
			}
		}
		for _, query := range []string{"", "?from=2", "?direction=backwards", "?from=3&direction=backwards"} {
			got := get(t, r, path+query)
			if got.status != 200 || got.header.Get(HeaderHistoryFrom) != "2" || got.header.Get(HeaderHistoryRemoved) != "2026-02-03T04:05:06Z" {
				t.Errorf("%s%s: status %d, headers %v", what, query, got.status, got.header)
			}
		}
	}
	if got := get(t, r, "/api/v1/agents/a/messages?waiting=true&from=0"); got.status != 200 {
		t.Errorf("what waits is no history: %d", got.status)
	}
}

// TestRemovedEndings: what was said to be on its way, and is not, has ended, though
// nothing tells any more how.
func TestRemovedEndings(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	id := r.deploy(t, "a")
	unheard := events.NewMessageID()
	r.node.say(id, unheard)
	statusOf := func() projections.MessageStatus {
		t.Helper()
		list, _, err := r.AgentMessages(ctx, "a", EventQuery{})
		if err != nil || len(list) != 2 || list[1].ID != unheard {
			t.Fatalf("%+v %v", list, err)
		}
		return list[1].Status
	}
	if got := statusOf(); got != projections.MessageInFlight {
		t.Errorf("in flight: %s", got)
	}
	r.node.mu.Lock()
	r.node.settled = true
	r.node.mu.Unlock()
	if got := statusOf(); got != projections.MessageEnded {
		t.Errorf("not in flight: %s", got)
	}
	r.node.mu.Lock()
	r.node.removed = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	r.node.mu.Unlock()
	if talk, err := r.Conversation(ctx, conversationHeld); err != nil || talk.RemovedUntil == nil || !talk.RemovedUntil.Equal(r.node.removed) {
		t.Errorf("a conversation of which something may be gone: %+v %v", talk, err)
	}
	for _, path := range []string{"/api/v1/conversations/nothing", "/api/v1/messages/" + events.NewMessageID().String()} {
		if p := wantProblem(t, get(t, r, path), 404, map[bool]Code{true: CodeNoConversation, false: CodeMessageNotFound}[strings.Contains(path, "conv")]); !strings.Contains(p.Detail, "may have been removed by events.retention") {
			t.Errorf("%s: %s", path, p.Detail)
		}
	}
}
