package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// TestAPageOfTheInboxIsBounded: an agent that goes on with large messages holds few of
// them at a time, and handles all in their order.
func TestAPageOfTheInboxIsBounded(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("echo", "echo")
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	const messages, size = 20, 200_000
	for i := range messages {
		if s := r.ask(id, fmt.Sprintf(`"%03d%s"`, i, strings.Repeat("x", size))); s.Status != Held {
			t.Fatalf("%s, want %s", s.Status, Held)
		}
	}
	var appends atomic.Int64
	reached, open := make(chan struct{}), make(chan struct{})
	r.store.fail(func(s events.Stream) error {
		if s == events.AgentStream(id) && appends.Add(1) == 2 { // after that of the resumption
			close(reached)
			<-open
		}
		return nil
	}, nil)
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	<-reached
	box := r.sys.registry.all()[id]
	held := 0
	box.mu.Lock()
	for _, list := range box.lists() {
		for _, e := range list {
			held += len(e.message.Content)
		}
	}
	box.mu.Unlock()
	close(open)
	if most := inboxPageBytes + size; held == 0 || held > most {
		t.Errorf("%d bytes of messages are held, at most %d should be", held, most)
	}
	r.eventually("all are handled", func() bool { return len(r.ends(id)) >= messages })
	for i, got := range r.ends(id) {
		if !strings.HasPrefix(got, fmt.Sprintf(`"%03dx`, i)) {
			t.Errorf("message %d was %.10s", i, got)
		}
	}
}

// TestABatchLeavesTheInboxItsBound, and its append the log's.
func TestABatchLeavesTheInboxItsBound(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter, c.InboxSize = time.Minute, 8 })
	id := r.deploy("counter", "counter-c")
	content := fmt.Sprintf("%q", strings.Repeat("x", 200_000))
	r.hold(id, request(id, content))
	r.eventually("it stands there", func() bool { return r.inboxes.Len() == 1 })
	var full atomic.Int64
	send := func() {
		s, err := r.Send(context.Background(), request(id, content))
		if errors.Is(err, events.ErrMailboxFull) {
			full.Add(1)
		} else if err != nil || s.Status != Held {
			t.Errorf("%s, %v; want held, or events.ErrMailboxFull", s.Status, err)
		}
	}
	r.behindAnAppend(id, `1`, slices.Repeat([]func(){send}, 10)...)
	if got := len(r.payloads(events.InboxStream(id))); got > 9 || got+int(full.Load()) != 12 { // the one under way may not have been seen yet
		t.Errorf("%d stand in an inbox for 8, %d were refused", got, full.Load())
	}
}

// TestTheInboxKeepsItsOrder although its first entry fails and it is longer than
// one page.
func TestTheInboxKeepsItsOrder(t *testing.T) {
	r := newRig(t, nil)
	id := r.deployWasm("trap", hostile(t, "trap"))
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	const n = inboxPage + 6
	for i := range n {
		r.ask(id, fmt.Sprint(i))
	}
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.eventually("all failed", func() bool { return len(r.ends(id)) == n })
	for i, got := range r.ends(id) {
		if got != fmt.Sprintf("failed %d", i) {
			t.Fatalf("order: %v", r.ends(id))
		}
	}
}

// TestAStrangersEntryIsEndedByName: what somebody else wrote into an inbox is no
// message; it is told of once, whole, and stops nothing.
func TestAStrangersEntryIsEndedByName(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	r.hold(id, request(id, `{"op":"add","n":1}`))
	var list []events.Event
	for _, of := range []events.Type{"Stranger", "AgentResumed"} {
		list = append(list, events.Event{ID: events.NewEventID(), Type: of, ContentType: events.JSON, Data: []byte(`{"reason":"mine"}`)})
	}
	if _, err := r.log.Append(context.Background(), events.InboxStream(id), events.Any(), list...); err != nil {
		t.Fatal(err)
	}
	r.ask(id, `{"op":"add","n":1}`)
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	const dead = `dead Invalid {"reason":"mine"}`
	r.eventually("all has ended", func() bool { return len(r.ends(id)) == 4 && r.inboxes.Len() == 0 })
	r.restart()
	r.wants(id, `{"op":"get"}`, `{"count":2}`)
	letters := slices.DeleteFunc(r.ends(id), func(s string) bool { return s != dead })
	if len(letters) != len(list) {
		t.Errorf("%v", r.ends(id))
	}
}

// TestNobodyHasNoInbox: a message to an agent that was never deployed is not
// acknowledged, however long it takes to find that out.
func TestNobodyHasNoInbox(t *testing.T) {
	r := newRig(t, nil)
	id := events.NewAgentID()
	env, err := newMessage(request(id, `1`), r.cfg.MaxContent)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := r.spill(context.Background(), id, env, NewMailbox(1)); ok {
		t.Errorf("receipt %+v", got)
	}
	if n := r.store.offered(events.InboxStream(id)); n != 0 {
		t.Errorf("%d appends to its inbox", n)
	}
	if _, err := r.Send(context.Background(), request(id, `1`)); !errors.Is(err, events.ErrAgentNotFound) {
		t.Errorf("%v, want events.ErrAgentNotFound", err)
	}
}

// TestAnInboxIsBounded: an agent that is held is promised no more than it may
// keep.
func TestAnInboxIsBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.InboxSize = 3 })
	id := r.deploy("counter", "counter-c")
	r.hold(id, request(id, `0`))
	for i := range 2 {
		r.caughtUp(r.ask(id, fmt.Sprint(i+1)).Position)
	}
	if s, err := r.Send(context.Background(), request(id, `3`)); !errors.Is(err, events.ErrMailboxFull) {
		t.Errorf("%s, %v; want events.ErrMailboxFull", s.Status, err)
	}
}
