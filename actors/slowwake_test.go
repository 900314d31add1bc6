package actors

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/replay"
	"github.com/caxton-run/caxton/wasmhost"
)

// slowModule has those who wake a guest, while on, wait until they are ended, or until
// open is closed: then there is no memory for it.
type slowModule struct {
	replay.Modules
	on   *atomic.Bool
	came chan struct{} // a token for each who waits
	open chan struct{}
}

// Module implements replay.Modules.
func (m slowModule) Module(ctx context.Context, h events.ModuleHash) (*wasmhost.Module, error) {
	if !m.on.Load() {
		return m.Modules.Module(ctx, h)
	}
	m.came <- struct{}{}
	select {
	case <-m.open:
		return nil, fmt.Errorf("%w: a test says so", events.ErrOverloaded)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// newSlowRig is a rig with an agent that sleeps, and whose wake is slow.
func newSlowRig(t *testing.T, grace time.Duration) (*rig, events.AgentID, slowModule) {
	t.Helper()
	slow := slowModule{on: new(atomic.Bool), came: make(chan struct{}, 100), open: make(chan struct{})}
	r := newRigWith(t, func(r *rig) {
		r.cfg.SpillAfter = patience
		r.before = func() {
			slow.Modules = r.sys.source.Modules
			r.sys.source.Modules = slow
			r.sys.runGrace = grace
		}
	})
	id := r.deploy("counter", "counter-c")
	if _, err := r.sys.Rest(context.Background()); err != nil {
		t.Fatal(err)
	}
	slow.on.Store(true)
	return r, id, slow
}

type sending struct {
	sent Sent
	err  error
}

// sends sends a message that a test does not wait for yet.
func (r *rig) sends(id events.AgentID) <-chan sending {
	done := make(chan sending, 1)
	go func() {
		sent, err := r.Send(context.Background(), request(id, `{"op":"add","n":1}`))
		done <- sending{sent, err}
	}()
	return done
}

// lessMemory takes an agent's guest, to know whether that fits.
func (r *rig) lessMemory(id events.AgentID) error {
	limits := events.ResourceLimits{MaxMemoryBytes: events.DefaultLimits().MaxMemoryBytes / 2}
	_, err := r.Update(context.Background(), UpdateRequest{Command: Command{Agent: id}, Limits: limits})
	return err
}

// label gives an agent a label, for which no guest is needed.
func (r *rig) label(id events.AgentID, v string) error {
	_, err := r.Update(context.Background(), UpdateRequest{Command: Command{Agent: id}, Labels: &events.Labels{"try": v}})
	return err
}

// TestACommandIsNotRefusedForAWake that messages beside it want, and the node has no
// memory for.
func TestACommandIsNotRefusedForAWake(t *testing.T) {
	r, id, slow := newSlowRig(t, time.Hour)
	first := r.sends(id)
	<-slow.came
	done := make(chan error, 1)
	go func() { done <- r.command(r.Suspend, id) }()
	r.waitDepth(2)
	second := r.sends(id)
	r.waitDepth(3)
	close(slow.open)
	if got := <-first; !errors.Is(got.err, events.ErrOverloaded) {
		t.Errorf("the message that began the wake: %+v, want events.ErrOverloaded", got)
	}
	if err := <-done; err != nil {
		t.Errorf("suspend: %v", err)
	}
	if got := <-second; got.err != nil || got.sent.Status != Held {
		t.Errorf("the message behind: %+v, want held", got)
	}
}

// TestAWakeKeepsNoCommandWaiting: it ends as a run would, and nothing of it counts. What
// began it is there when the agent goes on.
func TestAWakeKeepsNoCommandWaiting(t *testing.T) {
	for name, do := range map[string]func(context.Context, *rig, Command) error{
		"suspend": func(ctx context.Context, r *rig, by Command) error { _, err := r.Suspend(ctx, by); return err },
		"stop": func(ctx context.Context, r *rig, by Command) error {
			_, err := r.Stop(ctx, StopRequest{Command: by, Grace: time.Millisecond})
			return err
		},
		"stop that drains": func(ctx context.Context, r *rig, by Command) error {
			_, err := r.Stop(ctx, StopRequest{Command: by, Drain: true, Grace: time.Millisecond})
			if err == nil {
				r.stopped(by.Agent, events.StopExpired)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, id, slow := newSlowRig(t, time.Millisecond)
			r.hold(id, request(id, `{"op":"add","n":1}`))
			if err := r.command(r.Resume, id); err != nil {
				t.Fatal(err)
			}
			<-slow.came
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := do(ctx, r, Command{Agent: id}); err != nil {
				t.Fatal(err)
			}
			slow.on.Store(false)
			if err := r.command(r.Resume, id); err != nil {
				t.Fatal(err)
			}
			r.wants(id, `{"op":"add","n":1}`, `{"count":2}`)
			if n := len(only[events.AgentCrashed](r, events.AgentStream(id))); n != 0 {
				t.Errorf("%d crashes are counted", n)
			}
		})
	}
}

// TestTheGuestOfACommandKeepsNoOtherWaiting: that which less memory wakes, and that which a
// restart begins.
func TestTheGuestOfACommandKeepsNoOtherWaiting(t *testing.T) {
	for name, do := range map[string]func(*rig, events.AgentID) error{
		"update":  (*rig).lessMemory,
		"restart": func(r *rig, id events.AgentID) error { return r.command(r.Restart, id) },
	} {
		t.Run(name, func(t *testing.T) {
			r, id, slow := newSlowRig(t, time.Millisecond)
			done := make(chan error, 1)
			go func() { done <- do(r, id) }()
			<-slow.came
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, err := r.Suspend(ctx, Command{Agent: id}); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, events.ErrConflict) {
				t.Errorf("%v, want events.ErrConflict", err)
			}
		})
	}
}

// TestAWakeOfACommandKeepsNoneOfItsTurnWaiting: a stop whose time was over before the turn
// began, behind an update that takes the guest.
func TestAWakeOfACommandKeepsNoneOfItsTurnWaiting(t *testing.T) {
	r, id, slow := newSlowRig(t, time.Hour)
	first := r.sends(id)
	<-slow.came
	updated := make(chan error, 1)
	go func() { updated <- r.lessMemory(id) }()
	r.waitDepth(2)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := r.Stop(ctx, StopRequest{Command: Command{Agent: id}}); err != nil { // ends the wake; both are taken
		t.Fatal(err)
	}
	if err := <-updated; !errors.Is(err, events.ErrConflict) {
		t.Errorf("the update: %v, want events.ErrConflict", err)
	}
	if got := <-first; !errors.Is(got.err, events.ErrAgentStopped) {
		t.Errorf("the message: %+v, want events.ErrAgentStopped", got)
	}
}

// TestUpdatesLetAGuestWake, however fast they come: each ends a wake when its time is over,
// but not for ever.
func TestUpdatesLetAGuestWake(t *testing.T) {
	r, id, slow := newSlowRig(t, 0)
	first := r.sends(id)
	<-slow.came
	for i := range maxCuts {
		if err := r.label(id, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		<-slow.came // it wakes anew
	}
	updated := make(chan error, 1)
	go func() { updated <- r.label(id, "last") }()
	r.waitDepth(2)
	close(slow.open)
	if got := <-first; !errors.Is(got.err, events.ErrOverloaded) {
		t.Errorf("the message: %+v, want events.ErrOverloaded", got)
	}
	if n := len(slow.came); n != 0 {
		t.Errorf("%d wakes more, want the last to have come to its end", n)
	}
	if err := <-updated; err != nil {
		t.Errorf("the last update: %v", err)
	}
}

// TestAnUpdateEndsNoOther that has the guest, though its time was over before that one began.
func TestAnUpdateEndsNoOther(t *testing.T) {
	r, id, slow := newSlowRig(t, time.Hour)
	first := r.sends(id)
	<-slow.came
	memory, labels := make(chan error, 1), make(chan error, 1)
	go func() { memory <- r.lessMemory(id) }()
	r.waitDepth(2)
	r.sys.runGrace = 0
	slow.on.Store(false)
	go func() { labels <- r.label(id, "x") }()
	if err := <-memory; err != nil {
		t.Errorf("less memory: %v", err)
	}
	if err := <-labels; err != nil {
		t.Errorf("labels: %v", err)
	}
	if got := <-first; got.err != nil {
		t.Errorf("the message: %v", got.err)
	}
}

// TestWhatIsDecidedWaitsForNoGuest that a command behind it in its turn takes.
func TestWhatIsDecidedWaitsForNoGuest(t *testing.T) {
	r, id, slow := newSlowRig(t, time.Hour)
	first := r.sends(id)
	<-slow.came
	suspended, updated := make(chan error, 1), make(chan error, 1)
	go func() { suspended <- r.command(r.Suspend, id) }()
	r.waitDepth(2)
	r.sys.runGrace = 0
	go func() { updated <- r.lessMemory(id) }()
	select {
	case err := <-suspended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the suspension waits for the guest of the update")
	}
	close(slow.open)
	if err := <-updated; !errors.Is(err, events.ErrOverloaded) {
		t.Errorf("the update: %v, want events.ErrOverloaded", err)
	}
	if got := <-first; got.err != nil || got.sent.Status != Held {
		t.Errorf("the message: %+v, want it held", got)
	}
}

// TestAStopEndsThoughItsEndWasRefused, because the agent could not be read then, and a
// message that came meanwhile keeps its actor.
func TestAStopEndsThoughItsEndWasRefused(t *testing.T) {
	var off atomic.Bool
	r := newRigWith(t, func(r *rig) {
		r.before = func() {
			r.store.Store = noSync{r.log, &off, new(atomic.Int64)}
			r.sys.waker.every = time.Hour
		}
	})
	id := r.deploy("counter", "counter-c")
	over := time.Now().Add(-time.Second)
	r.write(id, events.AgentStopRequested{Reason: "test", GraceMS: 1, Until: over})
	a := newAgentActor(r.sys, id, NewMailbox(10))
	defer func() { a.endTimers(); a.forget() }()
	a.drain = time.AfterFunc(time.Hour, func() {}) // as if it was over
	end, m := newEnvelope(), newEnvelope()
	end.command, m.message = agent.EndStop{Cause: events.StopExpired, By: over.UnixMicro()}, events.Message{ID: events.NewMessageID()}
	for _, e := range []*envelope{end, m} {
		if err := a.box.Offer(e); err != nil {
			t.Fatal(err)
		}
	}
	off.Store(true)
	a.work(t.Context())
	if ans := <-end.answer; !errors.Is(ans.err, events.ErrOverloaded) || a.retired {
		t.Fatalf("%v, retired %v; want it refused, and the actor kept", ans.err, a.retired)
	}
	off.Store(false)
	a.work(t.Context())
	r.stopped(id, events.StopExpired)
}

// TestDrainDiscardsWithoutGuests: what waits for an agent that cannot be woken, too.
func TestDrainDiscardsWithoutGuests(t *testing.T) {
	r, id, m := newRoomlessRig(t, nil, time.Hour)
	r.until("it cannot be woken", func() bool { return m.n.Load() > 0 && !r.sys.registry.holds(id) })
	before := m.n.Load()
	got, err := r.Drain(context.Background(), 0, true)
	if err != nil || !got.Empty() || got.Discarded != 1 {
		t.Errorf("%+v, %v; want one message discarded", got, err)
	}
	if n := m.n.Load(); n != before {
		t.Errorf("its guest was wanted %d times more", n-before)
	}
	if got := r.ends(id); len(got) != 1 {
		t.Errorf("ends of its messages: %q", got)
	}
}
