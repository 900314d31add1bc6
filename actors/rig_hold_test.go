package actors

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// gate blocks the first append to a stream until it is opened.
func gate(to events.Stream) (hook func(events.Stream) error, reached, open chan struct{}) {
	reached, open = make(chan struct{}), make(chan struct{})
	var once sync.Once
	return func(s events.Stream) error {
		if s == to {
			once.Do(func() { close(reached); <-open })
		}
		return nil
	}, reached, open
}

// waitDepth waits until so many envelopes are in mailboxes and turns.
func (r *rig) waitDepth(n int) {
	r.t.Helper()
	for late := time.Now().Add(patience); r.sys.QueueDepth() < n; runtime.Gosched() {
		if time.Now().After(late) {
			r.t.Fatalf("%d envelopes wait, want %d", r.sys.QueueDepth(), n)
		}
	}
}

// ends returns how an agent's messages ended, in order.
func (r *rig) ends(id events.AgentID) []string {
	r.t.Helper()
	var out []string
	for _, p := range r.payloads(events.AgentStream(id)) {
		switch p := p.(type) {
		case events.MessageHandled:
			out = append(out, string(p.Message.Content))
		case events.MessageFailed:
			out = append(out, "failed "+string(p.Message.Content))
		case events.MessageDeadLettered:
			out = append(out, fmt.Sprintf("dead %s %s", p.Reason, p.Message.Content))
		}
	}
	return out
}

func keyed(to events.AgentID, content, key string) SendRequest {
	q := request(to, content)
	q.IdempotencyKey = key
	return q
}

// clock is a time that a test moves.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.pass(time.Duration(time.Now().UnixNano()))
	return c
}

func (c *clock) now() time.Time { return time.UnixMicro(c.micros.Load()) }

func (c *clock) pass(d time.Duration) { c.micros.Add(d.Microseconds()) }

// hold suspends an agent and sends it a message, which is acknowledged as held.
func (r *rig) hold(id events.AgentID, q SendRequest) {
	r.t.Helper()
	if err := r.command(r.Suspend, id); err != nil {
		r.t.Fatal(err)
	}
	if s, err := r.Send(context.Background(), q); err != nil || s.Status != Held {
		r.t.Fatalf("%s, %v; want held", s.Status, err)
	}
}

// behindAnAppend runs what follows while the actor of a suspended agent is busy
// putting a message into its inbox, and then lets it go on.
func (r *rig) behindAnAppend(id events.AgentID, content string, then ...func()) {
	r.t.Helper()
	hook, reached, open := gate(events.InboxStream(id))
	r.store.fail(hook, nil)
	var g sync.WaitGroup
	g.Go(func() { r.ask(id, content) })
	<-reached
	for i, f := range then {
		g.Go(f)
		r.waitDepth(i + 2)
	}
	close(open)
	g.Wait()
	r.store.fail(nil, nil)
}

// behindATurn sends while a turn of the agent is in its append, whose own message is
// sealed by then, and lets that end once what is sent was offered to the inbox.
func (r *rig) behindATurn(id events.AgentID, send func()) {
	r.t.Helper()
	hook, reached, open := gate(events.AgentStream(id))
	r.store.fail(hook, nil)
	var g sync.WaitGroup
	g.Go(func() { r.ask(id, `{"op":"get"}`) })
	<-reached
	before := r.store.offered(events.InboxStream(id))
	g.Go(send)
	for late := time.Now().Add(patience); r.store.offered(events.InboxStream(id)) < before+1; runtime.Gosched() {
		if time.Now().After(late) {
			r.t.Fatal("it is not offered to the inbox")
		}
	}
	close(open)
	g.Wait()
	r.store.fail(nil, nil)
}

// paced is a rig on which as many wakes, sends and timers are under way at a time as are
// said, each with its place for so long; and the room that its node has.
func paced(t testing.TB, atOnce int, place time.Duration, set ...func(*rig)) (*rig, *closet) {
	room := newCloset()
	return newRigWith(t, func(r *rig) {
		r.room = room
		r.before = func() {
			s := r.sys
			s.waker.atOnce, s.dispatcher.atOnce, s.timekeeper.atOnce = atOnce, atOnce, atOnce
			s.waker.place, s.dispatcher.place, s.timekeeper.place = place, place, place
		}
		for _, f := range set {
			f(r)
		}
	}), room
}
