package actors

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// TestATurnFlushedInItsMidst, because its events do not fit one append, closes the
// inbox entry of a message that was put there while it ran; the events that come after
// the flush are others than that one, by their ids too.
func TestATurnFlushedInItsMidst(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.SpillAfter, c.TurnBudget, c.MaxContent = time.Millisecond, time.Minute, 1<<20
	})
	id := r.deploy("echo", "echo", func(d *DeployRequest) { // a run that is stopped would never come to its reply
		d.Limits.MaxFuel, d.Limits.MaxExecutionTimeMS = events.LimitCeilings().MaxFuel, events.LimitCeilings().MaxExecutionTimeMS
	})
	content := func(n int) string { return fmt.Sprintf(`"%s"`, strings.Repeat("x", n)) }
	agents, busy, free := gate(events.AgentStream(id))
	inbox, spilling, spill := gate(events.InboxStream(id))
	var gated, armed atomic.Bool
	var once sync.Once
	r.store.fail(func(s events.Stream) error {
		if s.Category() == events.CategoryBlob && armed.Load() { // the reply to the second: the first has run
			once.Do(func() { close(spill) })
		}
		if gated.Load() {
			_ = inbox(s)
		}
		return agents(s)
	}, nil)
	var g sync.WaitGroup
	send := func(content string) events.MessageID {
		q := request(id, content)
		q.Message.ID = events.NewMessageID()
		g.Go(func() {
			if _, err := r.Send(t.Context(), q); err != nil {
				t.Errorf("%.20s: %v", content, err)
			}
		})
		return q.Message.ID
	}
	send(`"before"`)
	<-busy
	gated.Store(true)
	first := send(`"first"`)
	<-spilling
	for i, c := range []string{content(300_000), content(250_000), content(250_000), content(250_000)} {
		send(c)
		r.waitDepth(i + 3)
	}
	armed.Store(true)
	close(free)
	g.Wait()
	if n := len(only[events.MessageHandled](r, events.AgentStream(id))); n != 6 {
		t.Errorf("%d messages were handled, want 6", n)
	}
	closes := func(e events.InboxSkipped) bool { return e.MessageID == first }
	if !slices.ContainsFunc(only[events.InboxSkipped](r, events.AgentStream(id)), closes) {
		t.Error("no entry was closed beside its message: the test misses what it is about")
	}
	r.workedOff()
}
