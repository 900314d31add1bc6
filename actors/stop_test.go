package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

func (r *rig) stop(id events.AgentID, drain bool, grace time.Duration) {
	r.t.Helper()
	done, err := r.Stop(context.Background(), StopRequest{
		Command: Command{Caller: Caller{Principal: "user:test"}, Agent: id, Reason: "test"}, Drain: drain, Grace: grace,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.caughtUp(done.Position)
}

func (r *rig) status(id events.AgentID) string {
	view, _ := r.agents.Get(id)
	return view.Status
}

func (r *rig) stopped(id events.AgentID, cause events.StopCause) {
	r.t.Helper()
	r.eventually("stopped", func() bool { return r.status(id) == "stopped" })
	list := only[events.AgentStopped](r, events.AgentStream(id))
	if got := list[len(list)-1].Cause; got != cause {
		r.t.Fatalf("stopped by %s, want %s", got, cause)
	}
}

// slowly is a guest that takes until its limit of time, so that others wait.
func slowly(limit time.Duration) func(*DeployRequest) {
	return func(q *DeployRequest) {
		hurried(q)
		q.Limits.MaxExecutionTimeMS = uint64(limit.Milliseconds())
	}
}

// TestAStopWorksOffWhatWaits and refuses what comes later; resumed, the agent is as
// it was.
func TestAStopWorksOffWhatWaits(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	for range 5 { // in its inbox
		r.ask(id, `{"op":"add","n":1}`)
	}
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.stop(id, true, patience)
	r.stopped(id, events.StopDrained)
	if n := len(only[events.MessageHandled](r, events.AgentStream(id))); n != 5 {
		t.Errorf("%d messages were handled before it stopped, want 5", n)
	}
	if _, err := r.Send(context.Background(), request(id, `{"op":"get"}`)); !errors.Is(err, events.ErrAgentStopped) {
		t.Errorf("%v, want events.ErrAgentStopped", err)
	}
	r.stop(id, true, 0) // no change
	if n := len(only[events.AgentStopped](r, events.AgentStream(id))); n != 1 {
		t.Errorf("stopped %d times", n)
	}
	r.restart()
	if _, err := r.Send(context.Background(), request(id, `{"op":"get"}`)); !errors.Is(err, events.ErrAgentStopped) {
		t.Errorf("after a start: %v, want events.ErrAgentStopped", err)
	}
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"get"}`, `{"count":5}`)
}

// TestAStopKeepsWhatItDoesNotDrain for the time after.
func TestAStopKeepsWhatItDoesNotDrain(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.ask(id, `{"op":"add","n":1}`)
	}
	kept := keyed(id, `{"op":"get"}`, "kept")
	if sent, err := r.Send(t.Context(), kept); err != nil || sent.Status != Held {
		t.Fatalf("%s %v, want %s", sent.Status, err, Held)
	}
	r.stop(id, true, patience) // a suspended one is not set going for it
	r.stopped(id, events.StopAtOnce)
	if sent, err := r.Send(t.Context(), kept); err != nil || sent.Status != Held {
		t.Errorf("what is kept, repeated: %s %v, want %s", sent.Status, err, Held)
	}
	if _, err := r.Send(t.Context(), keyed(id, `{"op":"add","n":1}`, "kept")); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("another under its key: %v, want events.ErrKeyReused", err)
	}
	if _, err := r.Send(t.Context(), keyed(id, `{"op":"get"}`, "new")); !errors.Is(err, events.ErrAgentStopped) {
		t.Errorf("a new one: %v, want events.ErrAgentStopped", err)
	}
	r.restart()
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"add","n":1}`, `{"count":4}`)
}

// TestAStopEndsABusyGuest when its grace is over, whether it is to drain or not.
// Nothing of the run counts, and the message is there when the agent is resumed.
func TestAStopEndsABusyGuest(t *testing.T) {
	for _, drain := range []bool{true, false} {
		t.Run(fmt.Sprintf("drain %v", drain), func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond })
			id := r.deployWasm("spin", hostile(t, "spin"), slowly(time.Minute))
			q := request(id, `1`)
			q.Wait = 0
			sent, err := r.Send(context.Background(), q)
			if err != nil || sent.Status != Queued {
				t.Fatalf("%s %v, want %s", sent.Status, err, Queued)
			}
			r.stop(id, drain, 10*time.Millisecond)
			if drain {
				r.stopped(id, events.StopExpired)
			} else {
				r.stopped(id, events.StopAtOnce)
			}
			if n := len(only[events.AgentCrashed](r, events.AgentStream(id))); n != 0 {
				t.Errorf("%d crashes are counted", n)
			}
			if n := r.inboxes.Len(); n != 1 {
				t.Errorf("%d messages stand in the inbox, want 1", n)
			}
		})
	}
}

// TestAStopTakesNothingNew from the moment that it is asked for, though the guest keeps it
// waiting; what was taken before is known by its key. A suspension is refused likewise and
// ends no run. What calls the stop off lets messages come again.
func TestAStopTakesNothingNew(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond })
	id := r.deployWasm("spin", hostile(t, "spin"), slowly(time.Minute))
	first := keyed(id, `1`, "first")
	first.Wait = 0
	if sent, err := r.Send(t.Context(), first); err != nil || sent.Status != Queued {
		t.Fatalf("%s %v, want %s", sent.Status, err, Queued)
	}
	box := r.sys.registry.box(id)
	r.until("the guest runs", func() bool { return r.sys.licence.Load().guests.Load() == 1 })
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	group.Go(func() {
		_, _ = r.Stop(ctx, StopRequest{Command: Command{Agent: id}, Drain: true, Grace: time.Hour})
	})
	r.until("the stop waits", func() bool { return box.comes() == agent.Draining })
	r.takesNothingNew(id, first)
	if _, err := r.Suspend(t.Context(), Command{Agent: id}); !errors.Is(err, events.ErrIllegalLifecycle) {
		t.Errorf("a suspension: %v, want events.ErrIllegalLifecycle", err)
	}
	box.mu.Lock()
	if box.runs.ctx.Err() != nil {
		t.Error("the run was ended")
	}
	box.mu.Unlock()
	group.Go(func() { _, _ = r.Resume(ctx, Command{Agent: id}) })
	r.until("it is to be resumed", func() bool { return box.comes() == agent.Running })
	if sent, err := r.Send(t.Context(), first); err != nil || sent.Status != Queued {
		t.Errorf("a message once the stop is called off: %s %v, want %s", sent.Status, err, Queued)
	}
}

// TestAStopDoesNotKeepItsCallerWaiting longer than that has patience, for a guest that has
// more time: it is made all the same.
func TestAStopDoesNotKeepItsCallerWaiting(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond })
	id := r.deployWasm("spin", hostile(t, "spin"), slowly(time.Minute))
	sent := r.sends(id)
	r.until("the guest runs", func() bool { return r.sys.licence.Load().guests.Load() == 1 })
	by := Command{Agent: id}
	done, err := r.Stop(t.Context(), StopRequest{Command: by, Drain: true, Grace: time.Hour, Patience: time.Millisecond})
	if err != nil || !done.Waits || done.Position != 0 {
		t.Fatalf("%+v, %v; want that it waits", done, err)
	}
	if _, err := r.Send(t.Context(), request(id, `2`)); !errors.Is(err, events.ErrAgentStopped) {
		t.Errorf("a message behind it: %v, want events.ErrAgentStopped", err)
	}
	if done, err = r.Stop(t.Context(), StopRequest{Command: by, Patience: patience}); err != nil || done.Waits {
		t.Fatalf("at once: %+v, %v", done, err)
	}
	r.stopped(id, events.StopAtOnce)
	if n := len(only[events.AgentStopRequested](r, events.AgentStream(id))); n != 1 {
		t.Errorf("the stop that waited was made %d times", n)
	}
	<-sent
}

// TestADrainingAgentTakesNothingNew though the node was started anew, and its guest is busy.
func TestADrainingAgentTakesNothingNew(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond })
	id := r.deployWasm("spin", hostile(t, "spin"), slowly(time.Minute))
	first := keyed(id, `1`, "first")
	r.hold(id, first)
	r.write(id, events.AgentResumed{}, events.AgentStopRequested{Reason: "test", GraceMS: 1, Until: time.Now().Add(time.Hour)})
	r.restart()
	r.until("the guest runs", func() bool { return r.sys.licence.Load().guests.Load() == 1 })
	r.takesNothingNew(id, first)
}

// takesNothingNew of a busy agent, beside the message that it has.
func (r *rig) takesNothingNew(id events.AgentID, has SendRequest) {
	r.t.Helper()
	has.Wait = 0
	if sent, err := r.Send(context.Background(), has); err != nil || sent.Status != Queued {
		r.t.Errorf("what was taken before, again: %s %v, want %s", sent.Status, err, Queued)
	}
	kept := r.inboxes.Len()
	for _, q := range []SendRequest{request(id, `2`), keyed(id, `2`, "second")} {
		if sent, err := r.Send(context.Background(), q); !errors.Is(err, events.ErrAgentStopped) {
			r.t.Errorf("a message with key %q: %s %v, want events.ErrAgentStopped", q.IdempotencyKey, sent.Status, err)
		}
	}
	if n := r.inboxes.Len(); n != kept {
		r.t.Errorf("%d messages stand in the inbox, want %d", n, kept)
	}
}

// TestABusyGuestDoesNotKeepAnOperatorWaiting: whatever is to be done to its agent ends the
// run, of which nothing counts; what was acknowledged is kept, or becomes a dead letter.
func TestABusyGuestDoesNotKeepAnOperatorWaiting(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(r *rig, by Command) error
		kept bool
	}{
		"suspend": {func(r *rig, by Command) error { _, err := r.Suspend(t.Context(), by); return err }, true},
		"restart": {func(r *rig, by Command) error { _, err := r.Restart(t.Context(), by); return err }, true},
		"remove":  {func(r *rig, by Command) error { _, err := r.Remove(t.Context(), by); return err }, false},
		"new limits": {func(r *rig, by Command) error {
			_, err := r.Update(t.Context(), UpdateRequest{Command: by, Limits: events.ResourceLimits{MaxFuel: 1_000_000_000}})
			return err
		}, true},
		"another module": {func(r *rig, by Command) error {
			_, err := r.Update(t.Context(), UpdateRequest{Command: by, Wasm: fixtures.Agent("echo")})
			return err
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond })
			r.sys.runGrace = 10 * time.Millisecond
			id := r.deployWasm("spin", hostile(t, "spin"), slowly(time.Minute))
			q := request(id, `1`)
			q.Wait = 0
			if sent, err := r.Send(context.Background(), q); err != nil || sent.Status != Queued {
				t.Fatalf("%s %v, want %s", sent.Status, err, Queued)
			}
			began := time.Now()
			if err := c.do(r, Command{Caller: Caller{Principal: "user:test"}, Agent: id}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			if n := len(only[events.AgentCrashed](r, events.AgentStream(id))); n != 0 {
				t.Errorf("%d crashes are counted", n)
			}
			if dead := len(only[events.MessageDeadLettered](r, events.AgentStream(id))); c.kept && dead > 0 {
				t.Errorf("%d dead letters", dead)
			} else if !c.kept {
				r.until("what it was promised to handle is a dead letter", func() bool {
					return len(only[events.MessageDeadLettered](r, events.AgentStream(id))) == 1
				})
			}
		})
	}
}

// TestAStopGoesOnAfterAStart of the node that was killed in its midst.
func TestAStopGoesOnAfterAStart(t *testing.T) {
	for cause, left := range map[events.StopCause]time.Duration{events.StopDrained: time.Hour, events.StopExpired: -time.Second} {
		t.Run(string(cause), func(t *testing.T) {
			r := newRig(t, nil)
			id := r.deploy("counter", "counter-c")
			if err := r.command(r.Suspend, id); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				r.ask(id, `{"op":"add","n":1}`)
			}
			r.write(id, events.AgentResumed{}, events.AgentStopRequested{Reason: "test", GraceMS: 1, Until: time.Now().Add(left)})
			r.restart()
			r.stopped(id, cause)
			want := 3
			if cause == events.StopExpired {
				want = 0
			}
			if n := len(only[events.MessageHandled](r, events.AgentStream(id))); n != want {
				t.Errorf("%d messages were handled before it stopped, want %d", n, want)
			}
			if n := r.inboxes.Len(); n != 3-want {
				t.Errorf("%d messages stand in the inbox, want %d", n, 3-want)
			}
		})
	}
}

// TestAStopEndsDuringAnEmergencyStop, by its time, though the node is started anew
// meanwhile; at once when nothing has to be drained. What it did not drain is kept.
func TestAStopEndsDuringAnEmergencyStop(t *testing.T) {
	for name, begin := range map[string]func(r *rig, idle, busy events.AgentID){
		"which came first": func(r *rig, idle, busy events.AgentID) {
			r.ask(busy, `{"op":"add","n":1}`)
			for id, left := range map[events.AgentID]time.Duration{idle: time.Hour, busy: 50 * time.Millisecond} {
				r.write(id, events.AgentStopRequested{Reason: "test", GraceMS: left.Milliseconds(), Until: time.Now().Add(left)})
			}
			r.restart()
		},
		"which came second": func(r *rig, idle, busy events.AgentID) {
			r.ask(busy, `{"op":"add","n":1}`)
			r.stop(idle, true, time.Hour)
			r.stop(busy, true, 50*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			idle, busy := r.deploy("idle", "counter-c"), r.deploy("busy", "counter-c")
			r.stopAll(StopAllRequest{Reason: "test"})
			begin(r, idle, busy)
			r.stopped(idle, events.StopDrained)
			r.stopped(busy, events.StopExpired)
			r.lift()
			if err := r.command(r.Resume, busy); err != nil {
				t.Fatal(err)
			}
			r.wants(busy, `{"op":"add","n":1}`, `{"count":2}`)
		})
	}
}

// TestAStopDuringAnEmergencyStop ends at once when nothing has to be drained, and else
// after the lift.
func TestAStopDuringAnEmergencyStop(t *testing.T) {
	r := newRig(t, nil)
	idle, busy := r.deploy("idle", "counter-c"), r.deploy("busy", "counter-c")
	r.wants(idle, `{"op":"add","n":1}`, `{"count":1}`)
	r.stopAll(StopAllRequest{Reason: "test"})
	r.ask(busy, `{"op":"add","n":1}`)
	r.stop(idle, true, time.Hour)
	r.stop(busy, true, time.Hour)
	r.stopped(idle, events.StopDrained)
	if got := r.status(busy); got != "draining" {
		t.Errorf("one that has a message to drain is %s", got)
	}
	r.lift()
	r.stopped(busy, events.StopDrained)
	if got := r.ends(busy); len(got) != 1 {
		t.Errorf("ends of its messages: %q", got)
	}
}

// TestAnIdleAgentDoesNotSleepThroughItsStop: nothing waits in its mailbox while all are
// stopped, and nobody else comes to wake it in time.
func TestAnIdleAgentDoesNotSleepThroughItsStop(t *testing.T) {
	r := newRigWith(t, func(r *rig) {
		r.cfg.IdleTimeout = 10 * time.Millisecond
		r.before = func() { r.sys.waker.every = time.Hour }
	})
	id := r.deploy("busy", "counter-c")
	r.stopAll(StopAllRequest{Reason: "test"})
	r.ask(id, `{"op":"add","n":1}`)
	r.stop(id, true, 300*time.Millisecond)
	r.stopped(id, events.StopExpired)
	r.until("it sleeps", func() bool { return !r.sys.registry.holds(id) })
}

// TestAStopEndsThoughItCouldNotBeWritten when its time was over, and the agent does not
// hibernate for long.
func TestAStopEndsThoughItCouldNotBeWritten(t *testing.T) {
	r := newRigWith(t, func(r *rig) {
		r.cfg.IdleTimeout = time.Hour
		r.before = func() { r.sys.waker.every = 10 * time.Millisecond }
	})
	id := r.deploy("busy", "counter-c")
	r.stopAll(StopAllRequest{Reason: "test"})
	r.ask(id, `{"op":"add","n":1}`)
	stream, begun := events.AgentStream(id), atomic.Int32{}
	r.store.fail(func(s events.Stream) error {
		if s == stream && begun.Add(1) == 2 { // the first says that it is draining
			return events.ErrDiskLow
		}
		return nil
	}, nil)
	r.stop(id, true, 50*time.Millisecond)
	r.stopped(id, events.StopExpired)
}

// write adds events to an agent's stream behind its actor's back.
func (r *rig) write(id events.AgentID, list ...events.Payload) {
	r.t.Helper()
	var evs []events.Event
	for _, p := range list {
		ev, err := events.Encode(events.NewEventID(), p, events.Metadata{})
		if err != nil {
			r.t.Fatal(err)
		}
		evs = append(evs, ev)
	}
	res, err := r.log.Append(context.Background(), events.AgentStream(id), events.StreamExists(), evs...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.caughtUp(res.Position)
}

// TestARestartBeginsAnew: the memory is fresh, the durable state is kept, and so
// again after the node's restart. It brings back an agent of any status.
func TestARestartBeginsAnew(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("tally", "tally")
	r.wants(id, `{"op":"add","n":7}`, `{"seen":1,"total":7}`)
	r.wants(id, `{"op":"add","n":7}`, `{"seen":2,"total":14}`)
	if err := r.command(r.Restart, id); err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"add","n":1}`, `{"seen":1,"total":15}`)
	r.restart()
	r.wants(id, `{"op":"get"}`, `{"seen":1,"total":15}`)
	r.stop(id, false, 0)
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"get"}`, `{"seen":1,"total":15}`)
	for _, halt := range []func(){
		func() { r.stop(id, false, 0) },
		func() { _ = r.command(r.Suspend, id) },
	} {
		halt()
		if err := r.command(r.Restart, id); err != nil {
			t.Fatal(err)
		}
		r.wants(id, `{"op":"get"}`, `{"seen":0,"total":15}`)
	}
}

// TestWhatAgentsSendToAStoppedOneIsKept with its sender, and carried when it is
// resumed.
func TestWhatAgentsSendToAStoppedOneIsKept(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	r.stop(pong, true, time.Second)
	r.stopped(pong, events.StopDrained)
	r.ask(ping, `{"op":"start","peer":"pong","rounds":3}`)
	r.eventually("a ball is in flight", func() bool { return r.flight.Len() == 1 })
	if err := r.command(r.Resume, pong); err != nil {
		t.Fatal(err)
	}
	r.eventually("the game ends", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) == 3 })
}

// TestABusyGuestOfASlowWakeKeepsNobodyWaiting: the time of a command may be over before
// there is a run that it could end.
func TestABusyGuestOfASlowWakeKeepsNobodyWaiting(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond })
	r.sys.runGrace = time.Millisecond
	id := r.deployWasm("spin", hostile(t, "spin"), slowly(time.Minute))
	waking, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.store.mu.Lock()
	r.store.sync = func() {
		once.Do(func() {
			close(waking)
			<-goOn
		})
	}
	r.store.mu.Unlock()
	q := request(id, `1`)
	q.Wait = 0
	if sent, err := r.Send(context.Background(), q); err != nil || sent.Status != Queued {
		t.Fatalf("%s %v, want %s", sent.Status, err, Queued)
	}
	<-waking
	began, done := time.Now(), make(chan error, 1)
	go func() { done <- r.command(r.Suspend, id) }()
	r.until("the time of the command is over", func() bool {
		box := r.sys.registry.box(id)
		box.mu.Lock()
		defer box.mu.Unlock()
		return box.commands.len() > 0 && time.Since(began) > 100*time.Millisecond
	})
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if n := len(only[events.AgentCrashed](r, events.AgentStream(id))); n != 0 {
		t.Errorf("%d crashes are counted", n)
	}
}
