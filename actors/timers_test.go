package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// setTimer has a timer agent set a timer and returns its number.
func (r *rig) setTimer(id events.AgentID, what string) events.TimerID {
	r.t.Helper()
	var out struct{ Timer events.TimerID }
	sent := r.ask(id, what)
	if sent.Reply == nil || json.Unmarshal(sent.Reply.Content, &out) != nil || out.Timer == 0 {
		r.t.Fatalf("%s: %s, %s", what, sent.Status, contentOf(sent.Reply))
	}
	return out.Timer
}

// fired returns the timers that have fired, in the order of the log.
func (r *rig) fired(id events.AgentID) []events.TimerID {
	r.t.Helper()
	var out []events.TimerID
	for _, f := range only[events.TimerFired](r, events.AgentStream(id)) {
		out = append(out, f.Timer)
	}
	return out
}

// TestTimersFire: each once, at its time or later, as a message that says which.
func TestTimersFire(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("timer", "timer")
	r.deploy("counter", "counter-c")
	first := r.setTimer(id, `{"op":"after","us":20000}`)
	second := r.setTimer(id, `{"op":"after","us":0,"tell":"counter"}`) // as short as it gets
	if first != 1 || second != 2 {
		t.Fatalf("timers %d and %d, want 1 and 2", first, second)
	}
	r.eventually("both fire", func() bool { return len(r.fired(id)) == 2 })
	r.wants(id, `{"op":"fired"}`, `{"fired":2}`)
	due := map[events.TimerID]events.TimerSet{}
	for _, set := range only[events.TimerSet](r, events.AgentStream(id)) {
		due[set.Timer] = set
	}
	for _, h := range only[events.MessageHandled](r, events.AgentStream(id)) {
		timer, ok := h.Message.FromTimer()
		if !ok {
			continue
		}
		set := due[timer]
		if h.Host.NowMicros < set.DueAt.UnixMicro() || set.DueAt.UnixMicro() < h.Host.NowMicros-int64(patience/time.Microsecond) {
			t.Errorf("timer %d, due at %s, fired at %d", timer, set.DueAt, h.Host.NowMicros)
		}
		if d := cmp.Diff(set.Message(id), h.Message); d != "" {
			t.Errorf("timer %d (-set +handled):\n%s", timer, d)
		}
	}
	r.eventually("none is pending", func() bool { return r.timers.Len() == 0 })
	r.eventually("the peer is told", func() bool { return r.flight.Len() == 0 })
}

// TestTimersOutliveARestart: what was pending fires once, and a cancelled one never.
func TestTimersOutliveARestart(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("timer", "timer")
	r.setTimer(id, `{"op":"after","us":50000}`)
	cancelled := r.setTimer(id, `{"op":"after","us":3600000000}`) // or it may fire before it is cancelled
	chain := r.setTimer(id, `{"op":"after","us":10000,"times":5}`)
	r.wants(id, fmt.Sprintf(`{"op":"cancel","timer":%d}`, cancelled), `{"cancelled":1}`)
	r.wants(id, fmt.Sprintf(`{"op":"cancel","timer":%d}`, cancelled), `{"cancelled":0}`)
	r.restart()
	r.eventually("all fire", func() bool { return len(r.fired(id)) == 6 && r.timers.Len() == 0 })
	r.restart() // nothing fires again: it would have before the answer below
	r.wants(id, `{"op":"fired"}`, `{"fired":6}`)
	got := r.fired(id)
	slices.Sort(got)
	if d := cmp.Diff([]events.TimerID{1, chain, 4, 5, 6, 7}, got); d != "" {
		t.Errorf("fired (-want +got):\n%s", d)
	}
}

// TestTimersWaitWithTheirAgent: none fires while it is suspended, and all do when it
// goes on.
func TestTimersWaitWithTheirAgent(t *testing.T) {
	r := newRig(t, nil)
	id, other := r.deploy("timer", "timer"), r.deploy("other", "timer")
	r.setTimer(id, `{"op":"after","us":10000}`)
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	before := len(r.fired(id)) // it may have been quicker than the command
	r.setTimer(other, `{"op":"after","us":20000}`)
	r.eventually("a later one of another agent fires", func() bool { return len(r.fired(other)) == 1 })
	if got := len(r.fired(id)); got != before {
		t.Errorf("%d fired while suspended, had been %d", got, before)
	}
	r.restart()
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.eventually("it fires", func() bool { return len(r.fired(id)) == 1 })
	if err := r.command(r.Remove, other); err != nil {
		t.Fatal(err)
	}
	r.eventually("nothing is pending", func() bool { return r.timers.Len() == 0 })
}

// TestTimersSurviveFailedAppends: whatever fails on the way, a timer fires once.
func TestTimersSurviveFailedAppends(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("timer", "timer")
	timer := r.setTimer(id, `{"op":"after","us":200000}`)
	r.store.fail(
		times(1, events.AgentStream(id), &events.WrongRevisionError{Stream: events.AgentStream(id)}),
		times(2, events.AgentStream(id), events.ErrUnknownOutcome),
	)
	r.eventually("it fires", func() bool { return len(r.fired(id)) == 1 })
	r.store.fail(nil, nil)
	r.wants(id, `{"op":"fired"}`, `{"fired":1}`)
	if d := cmp.Diff([]events.TimerID{timer}, r.fired(id)); d != "" {
		t.Errorf("fired (-want +got):\n%s", d)
	}
}

// TestTimersPassAFullMailbox: nobody waits to be refused, and their number has its
// own limit.
func TestTimersPassAFullMailbox(t *testing.T) {
	b := NewMailbox(1)
	if err := b.Offer(newEnvelope()); err != nil {
		t.Fatal(err)
	}
	if err := b.Offer(newEnvelope()); !errors.Is(err, events.ErrMailboxFull) {
		t.Fatalf("got %v, want ErrMailboxFull", err)
	}
	e := newEnvelope()
	e.timer = new(projections.DueTimer)
	if err := b.Offer(e); err != nil {
		t.Error(err)
	}
}

// TestNobodyElseIsATimer: the protocol of timers is theirs.
func TestNobodyElseIsATimer(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("timer", "timer")
	req := request(id, `{}`)
	req.Message.Protocol = events.TimerProtocol
	var invalid *events.InvalidError
	if _, err := r.Send(context.Background(), req); !errors.As(err, &invalid) || invalid.Fields[0].Field != "protocol" {
		t.Errorf("got %v, want one that names the protocol", err)
	}
}

// TestTimersWaitForTheEndOfAnEmergency: none fires while guests may not run, and all
// do afterwards.
func TestTimersWaitForTheEndOfAnEmergency(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("timer", "timer")
	ctx := context.Background()
	r.setTimer(id, `{"op":"after","us":60000000}`)
	r.setTimer(id, `{"op":"after","us":10000,"times":3}`)
	if _, err := r.StopAll(ctx, StopAllRequest{Caller: Caller{Principal: "user:test"}}); err != nil {
		t.Fatal(err)
	}
	before := len(r.fired(id))
	r.restart()
	if got := len(r.fired(id)); got != before {
		t.Errorf("%d fired, had been %d", got, before)
	}
	if _, err := r.LiftStop(ctx, Caller{Principal: "user:test"}); err != nil {
		t.Fatal(err)
	}
	r.eventually("they fire", func() bool { return len(r.fired(id)) == 3 })
}

// TestTimersAreGivenOutAFewAtATime: however many are due at once, agents are not all woken
// at the same moment, and one that takes its time keeps its place only for a while.
func TestTimersAreGivenOutAFewAtATime(t *testing.T) {
	t.Run("number", func(t *testing.T) {
		const atOnce = 3
		if most := timersAtATime(t, 4*atOnce, atOnce, time.Hour, atOnce); most != atOnce {
			t.Errorf("%d were on their way, want %d", most, atOnce)
		}
	})
	t.Run("place", func(t *testing.T) { timersAtATime(t, 4, 1, time.Millisecond, 4) })
}

// comeDue has all timers that the log knows of fire, as if their time had come.
func (r *rig) comeDue() {
	r.t.Helper()
	last, _, err := projections.LastFollowed(context.Background(), r.log)
	if err != nil {
		r.t.Fatal(err)
	}
	r.caughtUp(last)
	for _, d := range r.timers.TakeDue(time.Now().Add(2*time.Hour), 1000) {
		r.timers.Return(d, time.Now())
	}
	r.sys.timekeeper.resume()
}

// timersAtATime lets timers of so many agents be due at once, waits until so many of
// them are being handled, which then go on, and returns how many were at a time.
func timersAtATime(t *testing.T, agents, atOnce int, place time.Duration, want int64) int64 {
	r, room := paced(t, atOnce, place)
	own := make(map[events.Stream]bool)
	var ids []events.AgentID
	for i := range agents {
		ids = append(ids, r.deploy(fmt.Sprint("timer", i), "timer"))
		r.setTimer(ids[i], `{"op":"after","us":3600000000}`)
		own[events.AgentStream(ids[i])] = true
	}
	r.eventually("all are set", func() bool { return r.timers.Len() == agents })
	gate := r.store.hold(own)
	room.low.Store(true)
	for _, d := range r.timers.TakeDue(time.Now().Add(2*time.Hour), agents) {
		r.timers.Return(d, time.Now()) // as if its time had come
	}
	room.regain()
	r.until("so many are being handled", func() bool { return gate.writing.Load() == want })
	close(gate.open)
	r.eventually("all have fired", func() bool { return r.timers.Len() == 0 })
	for _, id := range ids {
		if n := len(r.fired(id)); n != 1 {
			t.Errorf("agent %s was told %d times, want once", id, n)
		}
	}
	return gate.most.Load()
}
