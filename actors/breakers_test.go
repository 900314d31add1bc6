package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// clocked makes the rig's time one that the test moves.
type clocked struct {
	*rig
	at atomic.Int64
}

func newClocked(t *testing.T) *clocked {
	c := new(clocked)
	c.at.Store(time.Now().UnixMicro())
	r := &rig{t: t, dir: t.TempDir(), cfg: DefaultConfig(), now: func() time.Time { return time.UnixMicro(c.at.Load()) }}
	r.cfg.DrainTimeout = 2 * time.Second
	c.rig = r
	r.start()
	t.Cleanup(func() { r.end() })
	return c
}

// passes moves the time, and has the breakers look at it.
func (c *clocked) passes(d time.Duration) {
	c.at.Add(d.Microseconds())
	c.sys.tellBreakers(breakerDue{})
}

// stands waits until a breaker is as a test wants it.
func (c *clocked) stands(scope events.BreakerScope, state BreakerState) BreakerView {
	c.t.Helper()
	var got BreakerView
	c.until(fmt.Sprintf("%s is %s", scope, state), func() bool {
		got = BreakerView{State: BreakerClosed}
		for _, v := range c.sys.Breakers() {
			if v.Scope == scope {
				got = v
			}
		}
		return got.State == state
	})
	return got
}

func (c *clocked) refused(id events.AgentID, scope events.BreakerScope) {
	c.t.Helper()
	_, err := c.Send(context.Background(), request(id, `1`))
	var open *events.BreakerOpenError
	if !errors.As(err, &open) || open.Scope != scope || open.Retry <= 0 || !errors.Is(err, events.ErrBreakerOpen) {
		c.t.Errorf("%v, want the breaker %s", err, scope)
	}
}

func (c *clocked) orders(r BreakerRequest) {
	c.t.Helper()
	r.Principal = "user:test"
	if _, err := c.OrderBreaker(context.Background(), r); err != nil {
		c.t.Fatal(err)
	}
}

// history is the events of a breaker, by type and cause.
func (c *clocked) history(scope events.BreakerScope) string {
	var out []string
	for _, p := range c.payloads(events.BreakerStream(scope)) {
		s := strings.TrimPrefix(string(p.EventType()), "Breaker")
		switch p := p.(type) {
		case events.BreakerOpened:
			s += ":" + string(p.Cause)
		case events.BreakerClosed:
			s += ":" + string(p.Cause)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// recorded waits for a breaker's history: a breaker moves before its event is durable.
func (c *clocked) recorded(scope events.BreakerScope, want string) {
	c.t.Helper()
	c.until("the history is "+want, func() bool { return c.history(scope) == want })
}

// TestBreakerOfAnAgent: ten traps open it, a trial closes it again or does not; it
// stands over a restart, and other agents are none of its business.
func TestBreakerOfAnAgent(t *testing.T) {
	c := newClocked(t)
	id, other := c.deployWasm("trap", hostile(t, "trap")), c.deploy("echo", "echo")
	scope := events.AgentScope(id)
	for range testRules.Row {
		if s := c.ask(id, `1`); s.Status != Failed {
			t.Fatal(s.Status)
		}
	}
	if v := c.stands(scope, BreakerOpen); v.Failures != testRules.Row || v.Of != testRules.Row || v.Forced || v.Admitted != 0 {
		t.Errorf("%+v", v)
	}
	c.refused(id, scope)
	c.wants(other, `1`, `1`)
	c.restart()
	c.stands(scope, BreakerOpen)
	c.refused(id, scope)
	c.passes(testRules.Open)
	if v := c.stands(scope, BreakerHalfOpen); v.Failures != testRules.Row || v.Of != testRules.Row {
		t.Errorf("%+v does not say why", v)
	}
	if s := c.ask(id, `1`); s.Status != Failed {
		t.Errorf("the trial was %s", s.Status)
	}
	c.stands(scope, BreakerOpen)
	c.passes(testRules.Open)
	c.stands(scope, BreakerHalfOpen)
	c.restart()
	if v := c.stands(scope, BreakerHalfOpen); v.Failures != 1 || v.Of != 1 {
		t.Errorf("%+v does not say why", v)
	}
	c.orders(BreakerRequest{})
	c.stands(scope, BreakerClosed)
	if s := c.ask(id, `1`); s.Status != Failed {
		t.Errorf("closed: %s", s.Status)
	}
	c.recorded(scope, "Opened:consecutive HalfOpened Opened:trial HalfOpened Closed:reset")
}

// TestBreakerDueAtTheStart: a breaker whose time came while the node was down moves at
// once, while the system is being made or just after, and not as one of an agent that is
// no more, as all agents seem to be before the projections are ready.
func TestBreakerDueAtTheStart(t *testing.T) {
	c := newClocked(t)
	scope := events.AgentScope(c.deploy("echo", "echo"))
	want := ""
	for range 30 {
		c.sys.tellBreakers(breakerTrips{scope, failing(testRules.Row)})
		c.stands(scope, BreakerOpen)
		c.end()
		c.at.Add(testRules.Open.Microseconds())
		c.start()
		c.stands(scope, BreakerHalfOpen)
		c.orders(BreakerRequest{})
		c.stands(scope, BreakerClosed)
		want += " Opened:consecutive HalfOpened Closed:reset"
	}
	c.recorded(scope, want[1:])
}

// TestBreakerTrialThatGoesWell: one message is let through, and then all.
func TestBreakerTrialThatGoesWell(t *testing.T) {
	c := newClocked(t)
	id := c.deploy("kv", "kv")
	scope := events.AgentScope(id)
	c.sys.tellBreakers(breakerTrips{scope, failing(testRules.Row)})
	c.stands(scope, BreakerOpen)
	c.passes(testRules.Open)
	c.stands(scope, BreakerHalfOpen)
	if s := c.ask(id, `{"op":"nonsense"}`); s.Status != Failed { // a refusal tells nothing
		t.Fatalf("%s", s.Status)
	}
	c.stands(scope, BreakerHalfOpen)
	c.wants(id, `{"op":"get","key":"k"}`, `{"found":false}`)
	c.stands(scope, BreakerClosed)
	c.recorded(scope, "Opened:consecutive HalfOpened Closed:trial")
	if c.sys.breakers.table.Load() != nil {
		t.Error("messages still look")
	}
}

// TestAHalfOpenBreakerTriesOneMessageOfAHeldAgent: what is kept for its resumption is let
// through one by one, each for the open time, and its outcome counts when it comes, after
// a restart too.
func TestAHalfOpenBreakerTriesOneMessageOfAHeldAgent(t *testing.T) {
	for _, restart := range []bool{false, true} {
		c := newClocked(t)
		id := c.deployWasm("trap", hostile(t, "trap"))
		scope := events.AgentScope(id)
		c.sys.tellBreakers(breakerTrips{scope, failing(testRules.Row)})
		c.stands(scope, BreakerOpen)
		c.passes(testRules.Open)
		c.stands(scope, BreakerHalfOpen)
		if err := c.command(c.Suspend, id); err != nil {
			t.Fatal(err)
		}
		holds := func() {
			t.Helper()
			if sent, err := c.Send(context.Background(), request(id, `1`)); err != nil || sent.Status != Held {
				t.Errorf("%s, %v, want it held", sent.Status, err)
			}
			c.refused(id, scope)
		}
		holds()
		c.passes(testRules.Open) // one that came to nothing is not waited for longer
		holds()
		c.stands(scope, BreakerHalfOpen)
		if restart {
			c.restart()
		}
		if err := c.command(c.Resume, id); err != nil {
			t.Fatal(err)
		}
		c.stands(scope, BreakerOpen)
		c.recorded(scope, "Opened:consecutive HalfOpened Opened:trial")
	}
}

// TestTheNodeFailsItsTrial: a turn that cannot be written opens its half-open breaker.
func TestTheNodeFailsItsTrial(t *testing.T) {
	c := newClocked(t)
	id := c.deploy("echo", "echo")
	c.sys.tellBreakers(breakerTrips{"node-here", failing(testRules.Row)})
	c.stands("node-here", BreakerOpen)
	c.passes(testRules.Open)
	c.stands("node-here", BreakerHalfOpen)
	c.store.fail(times(1, events.AgentStream(id), errors.New("no disk")), nil)
	if _, err := c.Send(context.Background(), request(id, `1`)); err == nil {
		t.Fatal("acknowledged without a disk")
	}
	c.stands("node-here", BreakerOpen)
	c.recorded("node-here", "Opened:consecutive HalfOpened Opened:trial")
}

func failing(n int) (w window) {
	for range n {
		w.add(true)
	}
	return w
}

// TestBreakerOfAll: forced open it stays so until it is reset; reset gradually it
// admits a share, and is forced open again when failures come back.
func TestBreakerOfAll(t *testing.T) {
	c := newClocked(t)
	echo, trap := c.deploy("echo", "echo"), c.deployWasm("trap", hostile(t, "trap"))
	c.orders(BreakerRequest{Scope: events.ScopeAll, Activate: true, Reason: "storm"})
	c.refused(echo, events.ScopeAll)
	c.passes(10 * testRules.Open)
	c.restart()
	if v := c.stands(events.ScopeAll, BreakerOpen); !v.Forced || v.Reason != "storm" {
		t.Errorf("%+v", v)
	}
	c.refused(trap, events.ScopeAll)
	c.orders(BreakerRequest{Over: 10 * time.Minute})
	if v := c.stands(events.ScopeAll, BreakerRecovering); v.Reason != "storm" {
		t.Errorf("%+v does not say why", v)
	}
	c.refused(echo, events.ScopeAll) // nothing yet
	c.passes(5 * time.Minute)
	admitted := 0
	for range 40 {
		if _, err := c.Send(context.Background(), request(echo, `1`)); err == nil {
			admitted++
		}
	}
	if admitted < 19 || admitted > 21 {
		t.Errorf("%d of 40 at half the time", admitted)
	}
	for range 10 * testRules.Row {
		if _, err := c.Send(context.Background(), request(trap, `1`)); err != nil && !errors.Is(err, events.ErrBreakerOpen) {
			t.Fatal(err)
		}
	}
	if v := c.stands(events.ScopeAll, BreakerOpen); !v.Forced || v.Reason != "storm" || v.Failures == 0 {
		t.Errorf("%+v, want it forced as before, and why", v)
	}
	c.orders(BreakerRequest{Scope: events.ScopeAll, Over: MinReset})
	c.passes(MinReset)
	c.stands(events.ScopeAll, BreakerClosed)
	c.wants(echo, `1`, `1`)
	c.recorded(events.ScopeAll, "Forced ResetStarted Opened:recovery ResetStarted Closed:recovered")
}

// TestBreakerHoldsSendsOff: a send to an agent whose breaker is open becomes a dead
// letter with that reason.
func TestBreakerHoldsSendsOff(t *testing.T) {
	c := newClocked(t)
	ping, pong := c.deploy("ping", "ping"), c.deploy("pong", "pong")
	c.orders(BreakerRequest{Scope: events.AgentScope(pong), Activate: true})
	c.play(ping, "pong", 3)
	c.eventually("a dead letter", func() bool {
		return len(only[events.MessageDeadLettered](c.rig, events.AgentStream(ping))) > 0
	})
	letter := only[events.MessageDeadLettered](c.rig, events.AgentStream(ping))[0]
	if letter.Reason != events.DeadBreakerOpen || letter.Attempts != sendAttempts {
		t.Errorf("%+v", letter)
	}
	if n := len(only[events.MessageHandled](c.rig, events.AgentStream(pong))); n != 0 {
		t.Errorf("pong handled %d messages", n)
	}
}

// TestABreakerUsesUpNothingOfWhatIsHeld: sends to an agent that is suspended, or stopped
// with all others, wait for its resumption or the lift, whatever its breaker says
// meanwhile.
func TestABreakerUsesUpNothingOfWhatIsHeld(t *testing.T) {
	c := newClocked(t)
	ping, pong := c.deploy("ping", "ping"), c.deploy("pong", "pong")
	scope, pair := events.AgentScope(pong), projections.Pair{From: ping, To: pong, Class: events.Normal}
	waits := func(when string) {
		t.Helper()
		for try := range sendAttempts {
			k := &courier{pair: pair, fails: try}
			if pause, held := c.sys.dispatcher.round(context.Background(), k); !held || pause != 0 || k.fails != try {
				t.Errorf("%s: it pauses for %s, held: %v, after %d attempts, was %d", when, pause, held, k.fails, try)
			}
		}
	}
	if err := c.command(c.Suspend, pong); err != nil {
		t.Fatal(err)
	}
	c.orders(BreakerRequest{Scope: scope, Activate: true})
	c.play(ping, "pong", 1)
	c.eventually("the ball is in flight", func() bool { return c.flight.Len() == 1 })
	waits("suspended")
	c.stopAll(StopAllRequest{})
	if err := c.command(c.Resume, pong); err != nil {
		t.Fatal(err)
	}
	waits("in an emergency stop")
	c.orders(BreakerRequest{Scope: scope})
	c.lift()
	c.eventually("the game ends", func() bool { return c.flight.Len() == 0 })
	if dead := only[events.MessageDeadLettered](c.rig, events.AgentStream(ping)); len(dead) > 0 || len(c.ends(pong)) != 1 {
		t.Errorf("dead letters %+v; pong handled %q", dead, c.ends(pong))
	}
}

// TestWhatWasHeldGoesOnAtTheResumption, once the breaker that was open too has closed.
func TestWhatWasHeldGoesOnAtTheResumption(t *testing.T) {
	c := newClocked(t)
	ping, pong := c.deploy("ping", "ping"), c.deploy("pong", "pong")
	if err := c.command(c.Suspend, pong); err != nil {
		t.Fatal(err)
	}
	c.orders(BreakerRequest{Scope: events.AgentScope(pong), Activate: true})
	d := c.sys.dispatcher
	locked := func(do func() bool) func() bool {
		return func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return do()
		}
	}
	locked(func() bool { d.atOnce = 0; return true })()
	c.play(ping, "pong", 1)
	c.until("its courier waits", locked(func() bool { return len(d.queue) == 1 }))
	locked(func() bool { d.atOnce = carryAtOnce; d.advance(c.sys.life); return true })()
	c.until("its courier has gone", locked(func() bool { return len(d.couriers) == 0 }))
	if n := c.flight.Len(); n != 1 {
		t.Fatalf("%d sends are in flight, want the ball", n)
	}
	c.orders(BreakerRequest{Scope: events.AgentScope(pong)})
	if err := c.command(c.Resume, pong); err != nil {
		t.Fatal(err)
	}
	c.eventually("the game ends", func() bool { return c.flight.Len() == 0 })
	if got := c.ends(pong); len(got) != 1 {
		t.Errorf("pong handled %q; %q", got, c.ends(ping))
	}
}

// TestBreakerOfTheNode: turns that cannot be appended open it.
func TestBreakerOfTheNode(t *testing.T) {
	c := newClocked(t)
	id := c.deploy("echo", "echo")
	c.store.fail(times(testRules.Row, events.AgentStream(id), errors.New("no disk")), nil)
	for range testRules.Row {
		if _, err := c.Send(context.Background(), request(id, `1`)); err == nil {
			t.Fatal("acknowledged without a disk")
		}
	}
	c.stands("node-here", BreakerOpen)
	c.refused(id, "node-here")
	c.passes(testRules.Open)
	c.stands("node-here", BreakerHalfOpen)
	c.wants(id, `1`, `1`)
	c.stands("node-here", BreakerClosed)
}

// TestBreakerOfARemovedAgent goes with it, however it was opened.
func TestBreakerOfARemovedAgent(t *testing.T) {
	c := newClocked(t)
	for want, open := range map[string]func(events.BreakerScope){
		"Opened:consecutive": func(s events.BreakerScope) { c.sys.tellBreakers(breakerTrips{s, failing(testRules.Row)}) },
		"Forced":             func(s events.BreakerScope) { c.orders(BreakerRequest{Scope: s, Activate: true}) },
	} {
		id := c.deploy("echo", "echo")
		scope := events.AgentScope(id)
		open(scope)
		c.stands(scope, BreakerOpen)
		if err := c.command(c.Remove, id); err != nil {
			t.Fatal(err)
		}
		c.stands(scope, BreakerClosed)
		c.recorded(scope, want+" Closed:removed")
		_, err := c.OrderBreaker(context.Background(), BreakerRequest{Scope: scope, Activate: true})
		if !errors.Is(err, events.ErrAgentNotFound) {
			t.Errorf("%v, want events.ErrAgentNotFound", err)
		}
	}
}

// TestAForcedBreakerOfNoAgent, as the log of an earlier version has one whose agent was
// removed, is closed at the next start, or when it is looked at.
func TestAForcedBreakerOfNoAgent(t *testing.T) {
	c := newClocked(t)
	scope := events.AgentScope(events.NewAgentID())
	forced, err := events.Encode(events.NewEventID(), events.BreakerForced{At: micros(c.now())}, events.Metadata{})
	if err == nil {
		_, err = c.log.Append(context.Background(), events.BreakerStream(scope), events.Any(), forced)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.restart()
	c.recorded(scope, "Forced Closed:removed")
	c.stands(scope, BreakerClosed)
	c.sys.tellBreakers(breakerOrder{BreakerRequest{Scope: scope, Activate: true}, make(chan error, 1)})
	c.stands(scope, BreakerOpen)
	c.passes(testRules.Open)
	c.stands(scope, BreakerClosed)
}

// TestHalfOpenBreakerOfARemovedAgent: no message will try it, so it goes when that is
// noticed, after a restart too.
func TestHalfOpenBreakerOfARemovedAgent(t *testing.T) {
	c := newClocked(t)
	gone, stays := c.deploy("echo", "echo"), c.deploy("stays", "echo")
	for _, id := range []events.AgentID{gone, stays} {
		c.sys.tellBreakers(breakerTrips{events.AgentScope(id), failing(testRules.Row)})
		c.stands(events.AgentScope(id), BreakerOpen)
	}
	c.passes(testRules.Open)
	c.stands(events.AgentScope(gone), BreakerHalfOpen)
	c.stands(events.AgentScope(stays), BreakerHalfOpen)
	c.recorded(events.AgentScope(gone), "Opened:consecutive HalfOpened")
	if err := c.command(c.Remove, gone); err != nil {
		t.Fatal(err)
	}
	c.restart()
	c.stands(events.AgentScope(gone), BreakerClosed)
	c.recorded(events.AgentScope(gone), "Opened:consecutive HalfOpened Closed:removed")
	c.stands(events.AgentScope(stays), BreakerHalfOpen)
}

func TestBreakerOrdersAreChecked(t *testing.T) {
	c := newClocked(t)
	var invalid *events.InvalidError
	for _, r := range []BreakerRequest{
		{Activate: true}, {Scope: "everything", Activate: true}, {Scope: "agent-x"}, {Scope: "node-"}, {Scope: "all-x"},
		{Over: MinReset - 1}, {Over: MaxReset + 1}, {Scope: "all", Activate: true, Over: MinReset},
		{Scope: "all", Activate: true, Reason: strings.Repeat("r", MaxReason+1)},
	} {
		if _, err := c.OrderBreaker(context.Background(), r); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v, want an *events.InvalidError", r, err)
		}
	}
	stopped := c.Gateway
	c.end()
	if _, err := stopped.OrderBreaker(context.Background(), BreakerRequest{}); !errors.Is(err, events.ErrShuttingDown) {
		t.Errorf("%v, want events.ErrShuttingDown", err)
	}
}

// TestBreakerOfACapability holds off every agent that offers it, and counts what all of
// them come to.
func TestBreakerOfACapability(t *testing.T) {
	c := newClocked(t)
	first, second, other := c.deploy("a", "timer"), c.deploy("b", "timer"), c.deploy("echo", "echo")
	scope := events.ScopeOf(events.BreakerCapability, "timer")
	c.orders(BreakerRequest{Scope: scope, Activate: true})
	c.refused(first, scope)
	c.refused(second, scope)
	c.wants(other, `1`, `1`)
	c.orders(BreakerRequest{Scope: scope})
	for i := range testRules.Row {
		c.sys.breakers.report([]events.AgentID{first, second}[i%2], newEnvelope(), events.OutcomeTrap)
	}
	c.stands(scope, BreakerOpen)
	c.refused(first, scope)
	for _, v := range c.sys.Breakers() {
		if v.Scope != scope {
			t.Errorf("%s is %s: each agent failed %d times only", v.Scope, v.State, testRules.Row/2)
		}
	}
}

// TestBreakersForgetSuccess: of an agent that does well nothing is kept.
func TestBreakersForgetSuccess(t *testing.T) {
	c := newClocked(t)
	id := c.deploy("echo", "echo")
	b := c.sys.breakers
	report := func(o events.OutcomeStatus) { b.report(id, newEnvelope(), o) }
	report(events.OutcomeOK)
	if len(b.counted) != 0 {
		t.Error("a success is kept")
	}
	for range testRules.Row - 1 {
		report(events.OutcomeTrap)
	}
	report(events.OutcomeRefused)
	if w := b.counted[events.AgentScope(id)]; w == nil || w.row != testRules.Row-1 {
		t.Errorf("%+v", w)
	}
	for range breakerWindow {
		report(events.OutcomeOK)
	}
	if len(b.counted) != 0 || b.tracked.Load() != 0 {
		t.Errorf("%d breakers are still counted", len(b.counted))
	}
	for range testRules.Row {
		report(events.OutcomeTrap)
	}
	c.stands(events.AgentScope(id), BreakerOpen)
	report(events.OutcomeTrap) // of what was accepted before
	c.orders(BreakerRequest{})
	if len(b.counted) != 0 {
		t.Error("what failed while it was open counts after its reset")
	}
}

// TestAStormOpensBreakers of the agents that are in it, and they say for which message;
// agents that all say no are no storm.
func TestAStormOpensBreakers(t *testing.T) {
	c := newClocked(t)
	for i := range projections.StormAgents {
		q := request(c.deploy(fmt.Sprint("kv", i), "kv"), `{"op":"nonsense"}`)
		if sent, err := c.Send(context.Background(), q); err != nil || sent.Status != Failed {
			t.Fatalf("%s, %v", sent.Status, err)
		}
	}
	failing, ancestor := c.rages("spreading", projections.StormAgents+3) // some of them join it later
	var storms []events.AgentStormDetected
	c.until("the storm is recorded", func() bool {
		storms = only[events.AgentStormDetected](c.rig, events.StormStream())
		return len(storms) > 0
	})
	wants := func() {
		t.Helper()
		for _, id := range failing {
			v := c.stands(events.AgentScope(id), BreakerOpen)
			if v.Forced || v.Failures < projections.StormAgents || v.Storm != (StormRef{ancestor, storms[0].Conversations[0]}) {
				t.Errorf("%+v", v)
			}
			c.recorded(events.AgentScope(id), "Opened:storm")
		}
		if len(storms) != 1 || len(c.sys.Breakers()) != len(failing) {
			t.Errorf("%+v, %d breakers", storms, len(c.sys.Breakers()))
		}
	}
	wants()
	c.restart() // what they say is in the log
	wants()
}
