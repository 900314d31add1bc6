package actors

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// TestAMassWakeIsPaced: after an emergency stop, after want of room and at a start,
// agents with something in their inbox are woken a few at a time, and all are.
func TestAMassWakeIsPaced(t *testing.T) {
	const atOnce, agents = 4, 20
	begin := map[string]func(*rig, *closet){
		"lift": func(r *rig, _ *closet) { r.lift() },
		"room": func(r *rig, room *closet) { r.lift(); room.regain() },
	}
	for name, wake := range begin {
		t.Run(name, func(t *testing.T) {
			r, room := paced(t, atOnce, time.Hour)
			own := make(map[events.Stream]bool)
			var ids []events.AgentID
			for i := range agents {
				ids = append(ids, r.deploy(fmt.Sprint("echo", i), "echo"))
				own[events.AgentStream(ids[i])] = true
			}
			r.stopAll(StopAllRequest{})
			for _, id := range ids {
				if s := r.ask(id, `1`); s.Status != Held {
					t.Fatalf("%s, want %s", s.Status, Held)
				}
			}
			if _, err := r.sys.Rest(context.Background()); err != nil {
				t.Fatal(err)
			}
			gate := r.store.hold(own)
			wake(r, room)
			r.until("as many are on their way as may be", func() bool { return gate.writing.Load() >= atOnce })
			close(gate.open)
			r.workedOff()
			for _, id := range ids {
				if n := len(r.ends(id)); n != 1 {
					t.Errorf("agent %s handled %d messages, want 1", id, n)
				}
			}
			if n := gate.most.Load(); n != atOnce {
				t.Errorf("%d agents were woken at a time, want %d", n, atOnce)
			}
		})
	}
}

// TestAStuckAgentKeepsItsPlaceForAWhile: those behind it are woken though it is never
// done.
func TestAStuckAgentKeepsItsPlaceForAWhile(t *testing.T) {
	r, _ := paced(t, 1, time.Millisecond)
	var ids []events.AgentID
	for i := range 3 {
		ids = append(ids, r.deploy(fmt.Sprint("echo", i), "echo"))
	}
	r.stopAll(StopAllRequest{})
	for _, id := range ids {
		r.ask(id, `1`)
	}
	open, on := make(chan struct{}), new(atomic.Int64)
	r.store.fail(func(s events.Stream) error {
		if s.Category() == events.CategoryAgent {
			on.Add(1)
			<-open
		}
		return nil
	}, nil)
	r.lift()
	r.until("all are woken", func() bool { return on.Load() == 3 })
	close(open)
	r.workedOff()
}

// TestAnEmergencyStopClearsTheQueueOnce of those that are not draining: a look at all that
// are costs too much for each of the steps in which these are woken.
func TestAnEmergencyStopClearsTheQueueOnce(t *testing.T) {
	r := newRig(t, nil)
	draining, other := r.deploy("draining", "echo"), r.deploy("other", "echo")
	w := newWaker(r.sys)
	w.atOnce = 0
	for round := range 2 {
		r.stopAll(StopAllRequest{})
		r.ask(draining, `1`)
		r.stop(draining, true, time.Hour)
		now := time.Now()
		w.queue, w.queued[other] = append(w.queue, other), struct{}{}
		w.look(now, true)
		w.advance(now)
		if _, queued := w.queued[other]; queued || len(w.queue) != 1 || w.queue[0] != draining {
			t.Fatalf("round %d: %v are in the queue, want %s", round, w.queue, draining)
		}
		if n := testing.AllocsPerRun(100, func() { w.advance(now) }); n >= 1 {
			t.Errorf("round %d: a step allocates %v times", round, n)
		}
		r.lift()
		r.stopped(draining, events.StopDrained)
		if err := r.command(r.Resume, draining); err != nil {
			t.Fatal(err)
		}
		w.advance(now)
		w.queue = nil
		clear(w.queued)
	}
}
