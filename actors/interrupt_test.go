package actors

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// urgentCommand is in a mailbox, and its time is over at once.
func urgentCommand(t *testing.T, b *Mailbox, cmd agent.Command) *envelope {
	t.Helper()
	e := newEnvelope()
	e.command, e.urgent = cmd, true
	if err := b.Offer(e); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestWhatACommandInterrupts: what messages want, but in the end only if it holds the agent;
// and what another wants, unless it wants the guest itself.
func TestWhatACommandInterrupts(t *testing.T) {
	works := []interrupt{
		{work: guestWork{status: agent.Running}},
		{work: guestWork{status: agent.Running}, cuts: maxCuts},
		{work: guestWork{status: agent.Running, ofCommand: true}},
		{work: guestWork{status: agent.Draining, ofCommand: true}},
		{work: guestWork{status: agent.Draining}},
		{work: guestWork{status: agent.Draining}, cuts: maxCuts},
		{work: guestWork{}, cuts: maxCuts}, // of a wake, and nobody knows
	}
	for name, c := range map[string]struct {
		cmd  agent.Command
		want [7]bool
	}{
		"update":     {agent.Update{}, [...]bool{true, false, false, false, true, false, false}},
		"restart":    {agent.Restart{}, [...]bool{true, false, false, false, true, false, false}},
		"suspend":    {agent.Suspend{}, [...]bool{true, true, true, false, false, false, true}},
		"stop":       {agent.Stop{}, [...]bool{true, true, true, true, true, true, true}},
		"drain":      {agent.Stop{Drain: true}, [...]bool{true, true, true, false, false, false, true}},
		"remove":     {agent.Remove{}, [...]bool{true, true, true, true, true, true, true}},
		"end a stop": {agent.EndStop{}, [...]bool{false, false, false, true, true, true, true}},
	} {
		for i, w := range works {
			if got := w.admits(w.work.status, c.cmd); got != c.want[i] {
				t.Errorf("%s, while the guest does %+v after %d cuts: %v, want %v", name, w.work, w.cuts, got, c.want[i])
			}
		}
	}
}

// TestACommandGoesByThoseBeforeIt: what a stop that waits has refused, or come to nothing,
// ends no run meanwhile; what calls that stop off opens the way again.
func TestACommandGoesByThoseBeforeIt(t *testing.T) {
	for name, c := range map[string]struct {
		before []agent.Command
		cmd    agent.Command
		want   bool
	}{
		"suspend behind a drain":           {[]agent.Command{agent.Stop{Drain: true}}, agent.Suspend{}, false},
		"suspend behind a stop":            {[]agent.Command{agent.Stop{}}, agent.Suspend{}, false},
		"drain behind a drain":             {[]agent.Command{agent.Stop{Drain: true}}, agent.Stop{Drain: true}, false},
		"drain behind a stop":              {[]agent.Command{agent.Stop{}}, agent.Stop{Drain: true}, false},
		"stop behind a drain":              {[]agent.Command{agent.Stop{Drain: true}}, agent.Stop{}, true},
		"stop behind a stop":               {[]agent.Command{agent.Stop{}}, agent.Stop{}, false},
		"suspend behind a stop called off": {[]agent.Command{agent.Stop{Drain: true}, agent.Resume{}}, agent.Suspend{}, true},
		"drain behind a suspension":        {[]agent.Command{agent.Suspend{}}, agent.Stop{Drain: true}, true},
		"suspend before a drain":           {nil, agent.Suspend{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewMailbox(10)
			ctx := b.runContext(t.Context(), guestWork{status: agent.Running})
			for _, cmd := range c.before {
				e := newEnvelope()
				e.command, e.urgent, e.grace = cmd, true, time.Hour
				if err := b.Offer(e); err != nil {
					t.Fatal(err)
				}
				defer e.respond(answer{})
			}
			e := urgentCommand(t, b, c.cmd)
			if b.interruptFor(e); (ctx.Err() != nil) != c.want {
				t.Errorf("the run: %v, want it ended: %v", ctx.Err(), c.want)
			}
			if got := b.runContext(t.Context(), guestWork{status: agent.Running}).Err() != nil; got != c.want {
				t.Errorf("the next run is ended: %v, want %v", got, c.want)
			}
		})
	}
}

// TestADrainEndsInItsTime: a stop that waits behind it, with more time, does not put it off.
func TestADrainEndsInItsTime(t *testing.T) {
	for _, c := range []struct {
		before agent.Command
		want   bool
	}{{agent.Stop{}, true}, {agent.Resume{}, false}} {
		b := NewMailbox(10)
		ctx := b.runContext(t.Context(), guestWork{status: agent.Draining})
		e := newEnvelope()
		e.command, e.urgent, e.grace = c.before, true, time.Hour
		if err := b.Offer(e); err != nil {
			t.Fatal(err)
		}
		defer e.respond(answer{})
		if b.interruptFor(urgentCommand(t, b, agent.EndStop{})); (ctx.Err() != nil) != c.want {
			t.Errorf("behind %T: %v, want it ended: %v", c.before, ctx.Err(), c.want)
		}
	}
}

// TestUpdatesGiveWayInTheEnd: to what was interrupted before. A suspension does not.
func TestUpdatesGiveWayInTheEnd(t *testing.T) {
	b := NewMailbox(10)
	work := guestWork{status: agent.Running}
	update := urgentCommand(t, b, agent.Update{})
	for range maxCuts {
		if b.runContext(t.Context(), work).Err() == nil {
			t.Error("a run begins though an update's time is over")
		}
		b.cut()
	}
	ctx := b.runContext(t.Context(), work)
	if b.interruptFor(update); ctx.Err() != nil {
		t.Error("an update ends one run too many")
	}
	if urgentCommand(t, b, agent.Suspend{}); b.runContext(t.Context(), work).Err() == nil {
		t.Error("a suspension gives way")
	}
	b.uncut()
	if b.interruptFor(update); b.runContext(t.Context(), work).Err() == nil {
		t.Error("a run begins though an update's time is over, and the last came to its end")
	}
}

// TestACommandDoesNotEndItself: its timer may have gone off when its turn comes. One whose
// turn came to nothing is as urgent as before.
func TestACommandDoesNotEndItself(t *testing.T) {
	b := NewMailbox(10)
	stop := urgentCommand(t, b, agent.Stop{})
	b.Take(1)
	b.calm(stop)
	ctx := b.runContext(t.Context(), guestWork{ofCommand: true})
	if b.interruptFor(stop); ctx.Err() != nil {
		t.Error("it ended what it does itself")
	}
	b.Settle([]*envelope{stop})
	if b.runContext(t.Context(), guestWork{}).Err() == nil {
		t.Error("a run begins though the stop waits again")
	}
}

// runsInto repeats a command until a message has come to its end, which each interrupts if
// it may.
func (r *rig) runsInto(sent <-chan sending, do func() error) {
	r.t.Helper()
	for late := time.Now().Add(patience); ; {
		select {
		case got := <-sent:
			if got.err != nil || got.sent.Status == Queued {
				r.t.Fatalf("the message: %+v, want it at its end", got)
			}
			return
		default:
		}
		if err := do(); err != nil {
			r.t.Fatal(err)
		}
		if time.Now().After(late) {
			r.t.Fatal("the message waits still")
		}
	}
}

// newBusyRig is a rig with an agent that spins for longer than commands wait for it, and a
// message that has begun to.
func newBusyRig(t *testing.T) (*rig, events.AgentID, <-chan sending) {
	t.Helper()
	r := newRigWith(t, func(r *rig) {
		r.cfg.SpillAfter = patience
		r.before = func() { r.sys.runGrace = 20 * time.Millisecond }
	})
	id := r.deployWasm("spin", hostile(t, "spin"), slowly(200*time.Millisecond))
	sent := r.sends(id)
	r.until("the guest runs", func() bool { return r.sys.licence.Load().guests.Load() == 1 })
	return r, id, sent
}

// TestUpdatesLetARunEnd, however fast they come, though its guest is made anew each time.
func TestUpdatesLetARunEnd(t *testing.T) {
	r, id, sent := newBusyRig(t)
	n := 0
	r.runsInto(sent, func() error {
		n++
		return r.label(id, fmt.Sprint(n))
	})
}

// TestWhatChangesNothingEndsNoRun of an agent that drains: neither to be drained once more,
// nor to be suspended, which is refused.
func TestWhatChangesNothingEndsNoRun(t *testing.T) {
	r, id, sent := newBusyRig(t)
	drain := func(grace time.Duration) error {
		_, err := r.Stop(context.Background(), StopRequest{Command: Command{Agent: id}, Drain: true, Grace: grace})
		return err
	}
	if err := drain(time.Hour); err != nil {
		t.Fatal(err)
	}
	r.runsInto(sent, func() error {
		if _, err := r.Suspend(context.Background(), Command{Agent: id}); err == nil {
			t.Error("an agent that drains was suspended")
		}
		return drain(time.Millisecond)
	})
	r.stopped(id, events.StopDrained)
}
