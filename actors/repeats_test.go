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

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

const aTimer = `{"op":"after","us":50000}`

// to is a request under a key to a receiver as it is written, of whom that means now.
func (r *rig) to(ref, content, key string) SendRequest {
	q := keyed(events.AgentID{}, content, key)
	q.Ref = ref
	q.To, q.Unfound = r.agents.ResolveFor(ref, key)
	return q
}

// handledBy returns the agents that handled a message, one for each time.
func (r *rig) handledBy(id events.MessageID, agents ...events.AgentID) (by []events.AgentID) {
	r.t.Helper()
	for _, a := range agents {
		for _, h := range only[events.MessageHandled](r, events.AgentStream(a)) {
			if h.Message.ID == id {
				by = append(by, a)
			}
		}
	}
	return by
}

func (r *rig) mustSend(q SendRequest) Sent {
	r.t.Helper()
	sent, err := r.Send(context.Background(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return sent
}

// TestARequestToACapabilityIsRepeated: whoever the capability means by then, the request
// is the one that was handled, until its time is over.
func TestARequestToACapabilityIsRepeated(t *testing.T) {
	var ahead atomic.Int64
	r := newRigWith(t, func(r *rig) {
		r.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	agents := []events.AgentID{r.deploy("cap1", "timer"), r.deploy("cap2", "timer")}
	q := r.to("capability:timer", aTimer, "k")
	first, was := r.mustSend(q), q.To
	if by := r.handledBy(first.MessageID, agents...); !slices.Equal(by, []events.AgentID{was}) {
		t.Fatalf("handled by %v, want %s", by, was)
	}
	again := func(what string) {
		t.Helper()
		q := r.to("capability:timer", aTimer, "k")
		if q.To == was {
			t.Fatalf("%s: the capability still means %s", what, was)
		}
		got := r.mustSend(q)
		if got.MessageID != first.MessageID || got.ConversationID != first.ConversationID || got.Status != Handled ||
			contentOf(got.Reply) != contentOf(first.Reply) {
			t.Errorf("%s: %+v, want %+v", what, got, first)
		}
		if by := r.handledBy(first.MessageID, agents...); len(by) != 1 {
			t.Errorf("%s: handled by %v", what, by)
		}
	}
	if err := r.command(r.Suspend, was); err != nil {
		t.Fatal(err)
	}
	again("suspended")
	agents = append(agents, r.deploy("cap3", "timer"))
	r.restart()
	again("one more, and a restart")
	if _, err := r.Send(context.Background(), r.to("capability:timer", `{"op":"after","us":1}`, "k")); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("another body: %v, want events.ErrKeyReused", err)
	}
	if err := r.command(r.Remove, was); err != nil {
		t.Fatal(err)
	}
	again("removed")
	ahead.Store(int64(25 * time.Hour))
	r.mustSend(r.to("capability:timer", aTimer, "k"))
	if by := r.handledBy(first.MessageID, agents...); len(by) != 2 {
		t.Errorf("after 25 hours: handled by %v, want one more", by)
	}
}

// TestRequestsLiveAsLongAsKeys: two packages say how long.
func TestRequestsLiveAsLongAsKeys(t *testing.T) {
	if keys := agent.KeyLifetimeMicros * time.Microsecond; projections.RequestLifetime != keys {
		t.Errorf("requests %s, keys %s", projections.RequestLifetime, keys)
	}
}

// TestARequestIsTheSameHoweverItsReceiverIsWritten: also one from before an upgrade, when
// the id of a message to a capability followed from the agent.
func TestARequestIsTheSameHoweverItsReceiverIsWritten(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("cap", "timer")
	first := r.mustSend(keyed(id, aTimer, "k"))
	for _, ref := range []string{"cap", id.String(), "capability:timer"} {
		if got := r.mustSend(r.to(ref, aTimer, "k")); got.MessageID != first.MessageID || got.ConversationID != first.ConversationID {
			t.Errorf("%s: %+v, want %+v", ref, got, first)
		}
	}
	if n := len(only[events.MessageHandled](r, events.AgentStream(id))); n > 2 { // the message, and its timer
		t.Errorf("%d were handled", n)
	}
}

// TestAWaitingRequestToACapabilityIsRepeated: it stands in one inbox, and is handled
// from there.
func TestAWaitingRequestToACapabilityIsRepeated(t *testing.T) {
	r := newRig(t, nil)
	was := r.deploy("cap1", "timer")
	if err := r.command(r.Suspend, was); err != nil {
		t.Fatal(err)
	}
	first := r.mustSend(r.to("capability:timer", aTimer, "k"))
	other := r.deploy("cap2", "timer")
	r.restart()
	got := r.mustSend(r.to("capability:timer", aTimer, "k"))
	if first.Status != Held || got.Status != Held || got.MessageID != first.MessageID {
		t.Errorf("%+v, and repeated %+v", first, got)
	}
	if err := r.command(r.Resume, was); err != nil {
		t.Fatal(err)
	}
	r.workedOff()
	if by := r.handledBy(first.MessageID, was, other); !slices.Equal(by, []events.AgentID{was}) {
		t.Errorf("handled by %v, want %s", by, was)
	}
}

// TestTwoRequestsToACapabilityAtOnce: the second goes where the first is, though nothing
// of that is durable and it was meant for another agent.
func TestTwoRequestsToACapabilityAtOnce(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = patience })
	a, b := r.deploy("cap1", "timer"), r.deploy("cap2", "timer")
	hook, reached, open := gate(events.AgentStream(a))
	r.store.fail(hook, nil)
	got := make(chan Sent, 2)
	send := func(to events.AgentID) {
		q := r.to("capability:timer", aTimer, "k")
		q.To = to
		sent, err := r.Send(context.Background(), q)
		if err != nil {
			t.Error(err)
		}
		got <- sent
	}
	go send(a)
	<-reached
	go send(b)
	r.waitDepth(2)
	close(open)
	first, second := <-got, <-got
	if first.Status != Handled || second.Status != Handled || second.MessageID != first.MessageID {
		t.Errorf("%+v and %+v", first, second)
	}
	if by := r.handledBy(first.MessageID, a, b); !slices.Equal(by, []events.AgentID{a}) {
		t.Errorf("handled by %v, want %s", by, a)
	}
	r.end() // no turn is under way any more
	if n := len(r.sys.places.open); n != 0 {
		t.Errorf("%d places are left", n)
	}
}

// TestARequestToANameIsRepeated: a name that was removed and deployed again, or only
// removed, and the id of the agent that had it.
func TestARequestToANameIsRepeated(t *testing.T) {
	large := `"` + strings.Repeat("long ", 100_000) + `"`
	for name, content := range map[string]string{"small": `"hello"`, "large": large} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.MaxContent = 1 << 20 })
			generous := func(d *DeployRequest) { d.Limits.MaxFuel = 10_000_000_000 }
			was := r.deploy("cap", "echo", generous)
			first := r.mustSend(r.to("cap", content, "k"))
			if err := r.command(r.Remove, was); err != nil {
				t.Fatal(err)
			}
			again := func(ref string) {
				t.Helper()
				if got := r.mustSend(r.to(ref, content, "k")); got.MessageID != first.MessageID || contentOf(got.Reply) != contentOf(first.Reply) {
					t.Errorf("%s: %+v, want %+v", ref, got, first)
				}
			}
			again("cap")
			again(was.String())
			other := r.deploy("cap", "echo", generous)
			r.restart()
			again("cap")
			if by := r.handledBy(first.MessageID, was, other); !slices.Equal(by, []events.AgentID{was}) {
				t.Errorf("handled by %v, want %s", by, was)
			}
			if got := r.mustSend(r.to("cap", content, "k2")); len(r.handledBy(got.MessageID, other)) != 1 {
				t.Errorf("a new request: %+v", got)
			}
		})
	}
}

// TestARequestThatEndedWithItsAgentIsRepeated: it was acknowledged, and what became of it
// is that it is a dead letter.
func TestARequestThatEndedWithItsAgentIsRepeated(t *testing.T) {
	for _, ref := range []string{"cap", "capability:timer"} {
		t.Run(ref, func(t *testing.T) {
			r := newRig(t, nil)
			was := r.deploy("cap", "timer")
			if err := r.command(r.Suspend, was); err != nil {
				t.Fatal(err)
			}
			first := r.mustSend(r.to(ref, aTimer, "k"))
			if err := r.command(r.Remove, was); err != nil {
				t.Fatal(err)
			}
			r.workedOff()
			other := r.deploy("cap", "timer")
			got := r.mustSend(r.to(ref, aTimer, "k"))
			if first.Status != Held || got.Status != Discarded || got.MessageID != first.MessageID {
				t.Errorf("%+v, and repeated %+v", first, got)
			}
			if by := r.handledBy(first.MessageID, was, other); by != nil {
				t.Errorf("handled by %v", by)
			}
		})
	}
}

// TestARepeatAsksNoBreakerForOnesThatAreNoMore sends keyed requests to a name that was had
// by another, through a breaker that recovers: they get their share.
func TestARepeatAsksNoBreakerForOnesThatAreNoMore(t *testing.T) {
	c := newClocked(t)
	old := c.deploy("worker", "echo")
	if err := c.command(c.Remove, old); err != nil {
		t.Fatal(err)
	}
	c.deploy("worker", "echo")
	c.until("the removal is known", func() bool { return len(c.agents.Former("worker")) == 1 })
	c.orders(BreakerRequest{Scope: events.ScopeAll, Activate: true})
	c.orders(BreakerRequest{Scope: events.ScopeAll, Over: 10 * time.Minute})
	c.at.Add((5 * time.Minute).Microseconds())
	c.stands(events.ScopeAll, BreakerRecovering)
	taken := 0
	const requests = 20
	for i := range requests {
		switch _, err := c.Send(t.Context(), c.to("worker", `1`, fmt.Sprint("key-", i))); {
		case err == nil:
			taken++
		case !errors.Is(err, events.ErrBreakerOpen):
			t.Fatal(err)
		}
	}
	if taken != requests/2 {
		t.Errorf("%d of %d were taken, want half", taken, requests)
	}
}

// TestACapabilityAvoidsWhoIsToStop: its messages go to another that has it, though the stop
// waits behind a guest and no read shows it yet.
func TestACapabilityAvoidsWhoIsToStop(t *testing.T) {
	r := newRig(t, nil)
	stopping, other := r.deploy("cap1", "timer"), r.deploy("cap2", "timer")
	goOn := make(chan struct{})
	stream := events.AgentStream(stopping)
	r.store.fail(func(s events.Stream) error {
		if s == stream {
			<-goOn
		}
		return nil
	}, nil)
	busy := make(chan error, 1)
	go func() {
		_, err := r.Send(context.Background(), keyed(stopping, aTimer, "busy"))
		busy <- err
	}()
	r.until("it is busy", func() bool {
		box := r.sys.registry.box(stopping)
		if box == nil {
			return false
		}
		box.mu.Lock()
		defer box.mu.Unlock()
		return len(box.turn) > 0
	})
	stop := StopRequest{Command: Command{Agent: stopping}, Drain: true, Grace: time.Hour, Patience: time.Millisecond}
	if got, err := r.Stop(t.Context(), stop); err != nil || !got.Waits {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range 20 {
		if got := r.to("capability:timer", aTimer, fmt.Sprint("key-", i)).To; got != other {
			t.Fatalf("%s is chosen, which is about to stop", got)
		}
	}
	close(goOn)
	if err := <-busy; err != nil {
		t.Error(err)
	}
}
