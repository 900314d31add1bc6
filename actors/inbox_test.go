package actors

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

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
