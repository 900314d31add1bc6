package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/replay"
	"github.com/caxton-run/caxton/wasmhost"
)

func (r *rig) play(ping events.AgentID, peer string, rounds int) {
	r.t.Helper()
	r.ask(ping, fmt.Sprintf(`{"op":"start","peer":%q,"rounds":%d}`, peer, rounds))
}

// over reports whether ping has finished its game.
func (r *rig) over(ping events.AgentID) bool {
	var score struct{ Done bool }
	sent := r.ask(ping, `{"op":"score"}`)
	if err := json.Unmarshal(sent.Reply.Content, &score); err != nil {
		r.t.Fatal(err)
	}
	return score.Done
}

func TestAgentsTalk(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	r.play(ping, "pong", 20)
	r.eventually("the game ends", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) == 20 })
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	if !r.over(ping) {
		t.Error("ping does not know")
	}
	for i, h := range only[events.MessageHandled](r, events.AgentStream(pong)) {
		if want := fmt.Sprintf(`{"ball":%d}`, 2*i+1); string(h.Message.Content) != want || h.Message.Sequence != uint64(i+1) {
			t.Errorf("message %d is %s with sequence %d, want %s", i, h.Message.Content, h.Message.Sequence, want)
		}
	}
}

// TestSendsOutliveARestart: a game that a shutdown interrupts goes on.
func TestSendsOutliveARestart(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	r.play(ping, pong.String(), 300)
	for done := 0; done < 3; done++ {
		r.restart()
	}
	r.eventually("the game ends", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) == 300 })
	r.eventually("ping knows", func() bool { return r.flight.Len() == 0 })
	if !r.over(ping) {
		t.Error("ping does not know")
	}
}

// TestAHeldReceiverWaits: sends to a suspended agent stay in flight and arrive
// once it is resumed.
func TestAHeldReceiverWaits(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	if err := r.command(r.Suspend, pong); err != nil {
		t.Fatal(err)
	}
	r.play(ping, "pong", 2)
	r.eventually("the ball is in flight", func() bool { return r.flight.Len() == 1 })
	if err := r.command(r.Resume, pong); err != nil {
		t.Fatal(err)
	}
	r.eventually("the game ends", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) == 2 })
}

// TestDeadLetters: a send that nobody will handle is recorded, with its reason,
// and its sender is told.
func TestDeadLetters(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	r.play(ping, "nobody", 1)
	r.eventually("a dead letter", func() bool { return len(only[events.MessageDeadLettered](r, events.AgentStream(ping))) == 1 })
	if got := only[events.MessageDeadLettered](r, events.AgentStream(ping))[0]; got.Reason != events.DeadAgentNotFound {
		t.Errorf("reason %s, want %s", got.Reason, events.DeadAgentNotFound)
	}
	if err := r.command(r.Suspend, pong); err != nil {
		t.Fatal(err)
	}
	r.play(ping, pong.String(), 1)
	r.eventually("the ball is in flight", func() bool { return r.flight.Len() == 1 })
	if err := r.command(r.Remove, pong); err != nil {
		t.Fatal(err)
	}
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	if got := len(only[events.MessageDeadLettered](r, events.AgentStream(ping))); got != 2 {
		t.Errorf("%d dead letters, want 2", got)
	}
}

// TestWhatIsInFlightIsBounded: a run that sends more than may wait for agents that are
// held fails, until they have handled what waits.
func TestWhatIsInFlightIsBounded(t *testing.T) {
	const most = 3
	r := newRigWith(t, func(r *rig) { r.before = func() { r.sys.mostInFlight = most } })
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	if err := r.command(r.Suspend, pong); err != nil {
		t.Fatal(err)
	}
	for i := range most + 2 {
		want := map[bool]Delivery{true: Handled, false: Failed}[i < most]
		sent := r.ask(ping, `{"op":"start","peer":"pong","rounds":1}`)
		if r.caughtUp(sent.Position); sent.Status != want {
			t.Fatalf("send %d is %s, want %s", i, sent.Status, want)
		}
	}
	if n := r.flight.LenFrom(ping); n != most || r.flight.LenFrom(pong) != 0 {
		t.Errorf("%d are in flight", n)
	}
	if err := r.command(r.Resume, pong); err != nil {
		t.Fatal(err)
	}
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	r.play(ping, "pong", 1)
	r.eventually("it is handled", func() bool { return len(r.ends(pong)) == most+1 })
}

// TestSendsToMadeUpIdsLeaveNothing behind in the state of the agent that made them up.
func TestSendsToMadeUpIdsLeaveNothing(t *testing.T) {
	r := newRig(t, nil)
	ping := r.deploy("ping", "ping")
	size := func() int {
		st, err := r.sys.source.State(context.Background(), ping)
		if err != nil {
			t.Fatal(err)
		}
		b, err := st.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	const tries = 100
	r.play(ping, events.NewAgentID().String(), 1)
	before := size()
	for range tries {
		r.play(ping, events.NewAgentID().String(), 1)
	}
	r.eventually("all are dead letters", func() bool { return len(only[events.MessageDeadLettered](r, events.AgentStream(ping))) == tries+1 })
	if grown := size() - before; grown > tries { // the counters that it has grow by digits
		t.Errorf("the state grew by %d bytes for %d ids", grown, tries)
	}
}

// TestWhatWasDeliveredIsNotGivenUp: a courier that finds a send in flight still, though
// another one has delivered it, makes no dead letter of it.
func TestWhatWasDeliveredIsNotGivenUp(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	r.play(ping, "pong", 1)
	r.eventually("pong is told", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) == 1 })
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	if err := r.command(r.Remove, pong); err != nil {
		t.Fatal(err)
	}
	ball := newEnvelope()
	ball.message = only[events.MessageHandled](r, events.AgentStream(pong))[0].Message
	c := &courier{pair: projections.Pair{From: ping, To: pong, Class: events.Normal}}
	r.sys.dispatcher.giveUp(context.Background(), c, ball, events.DeadAgentNotFound, events.ErrAgentNotFound)
	if got := only[events.MessageDeadLettered](r, events.AgentStream(ping)); len(got) != 0 || c.after != 1 {
		t.Errorf("after %d, dead letters %+v; it was delivered", c.after, got)
	}
}

// TestAFailureIsTold: an agent whose message fails gets a failure, once.
func TestAFailureIsTold(t *testing.T) {
	r := newRig(t, nil)
	ping := r.deploy("ping", "ping")
	r.deployWasm("grumpy", hostile(t, "refuse"))
	r.play(ping, "grumpy", 1)
	told := func() (n int) {
		for _, h := range only[events.MessageHandled](r, events.AgentStream(ping)) {
			if h.Message.Performative == events.Failure {
				n++
			}
		}
		return n
	}
	r.eventually("ping is told", func() bool { return told() == 1 })
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	if n := told(); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestAnEndlessGameEnds at the bound of hops.
func TestAnEndlessGameEnds(t *testing.T) {
	r := newRig(t, nil)
	ping := r.deploy("ping", "ping")
	r.deploy("pong", "pong")
	r.play(ping, "pong", events.MaxHops)
	r.eventually("a dead letter", func() bool {
		for _, s := range []events.AgentID{ping, r.resolve("pong")} {
			for _, d := range only[events.MessageDeadLettered](r, events.AgentStream(s)) {
				if d.Reason == events.DeadHopLimit {
					return true
				}
			}
		}
		return false
	})
}

func (r *rig) resolve(name string) events.AgentID {
	r.t.Helper()
	id, err := r.agents.Resolve(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// TestAnAppendThatFails: its callers are told, nothing of it is seen, and the
// agent goes on from the log.
func TestAnAppendThatFails(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	r.wants(id, `{"op":"add","n":1}`, `{"count":1}`)
	broken := errors.New("no space left")
	r.store.fail(times(1, events.AgentStream(id), broken), nil)
	if _, err := r.Send(context.Background(), request(id, `{"op":"add","n":10}`)); !errors.Is(err, broken) {
		t.Errorf("%v, want the store's error", err)
	}
	r.wants(id, `{"op":"get"}`, `{"count":1}`)
}

// TestAnAppendOfUnknownOutcome is repeated until it is known, and counts once.
func TestAnAppendOfUnknownOutcome(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	r.store.fail(times(1, events.AgentStream(id), events.ErrUnknownOutcome), times(2, events.AgentStream(id), events.ErrUnknownOutcome))
	r.wants(id, `{"op":"add","n":1}`, `{"count":1}`)
	r.wants(id, `{"op":"add","n":1}`, `{"count":2}`)
}

// TestAnotherWriter: an append that loses against one is decided again on what
// the log then says.
func TestAnotherWriter(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	r.wants(id, `{"op":"add","n":1}`, `{"count":1}`)
	ev, err := events.Encode(events.NewEventID(), events.AgentSuspended{Reason: "by another"}, events.Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.log.Append(context.Background(), events.AgentStream(id), events.Any(), ev); err != nil {
		t.Fatal(err)
	}
	if sent := r.ask(id, `{"op":"add","n":1}`); sent.Status != Held {
		t.Fatalf("%s, want %s", sent.Status, Held)
	}
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"get"}`, `{"count":2}`)
}

// TestNoSendOvertakesAFailedOne: a receiver remembers one sequence for a sender,
// so a send handled while one before it failed would bury that one.
func TestNoSendOvertakesAFailedOne(t *testing.T) {
	r := newRig(t, func(c *Config) { c.TurnMessages = 1 })
	id, from := r.deploy("counter", "counter-c"), events.NewAgentID()
	batch := func() []*envelope {
		list := make([]*envelope, 3)
		for i := range list {
			list[i] = newEnvelope()
			list[i].fromAgent = true
			list[i].message = events.Message{
				ID: events.NewMessageID(), Performative: events.Inform, Sender: from.String(), Receiver: id.String(),
				Content: json.RawMessage(`{"op":"add","n":1}`), ConversationID: "c", Sequence: uint64(i + 1),
			}
			if i > 0 {
				list[i].follows = list[i-1]
			}
		}
		return list
	}
	deliver := func(list []*envelope) (errs []error) {
		for _, e := range list {
			if _, err := r.sys.registry.offer(id, e); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range list {
			ans, err := waitAnswer(context.Background(), e, nil, answer{})
			errs = append(errs, errors.Join(err, ans.err))
		}
		return errs
	}
	broken := errors.New("no space left")
	r.store.fail(times(1, events.AgentStream(id), broken), nil)
	for i, err := range deliver(batch()) {
		if !errors.Is(err, broken) {
			t.Errorf("send %d: %v, want the error of the first", i+1, err)
		}
	}
	if err := errors.Join(deliver(batch())...); err != nil {
		t.Error(err)
	}
	r.wants(id, `{"op":"get"}`, `{"count":3}`)
}

// TestSuspendingAmidAGame holds and resumes a receiver again and again while
// balls come: none is lost.
func TestSuspendingAmidAGame(t *testing.T) {
	r := newRig(t, func(c *Config) { c.TurnMessages = 1 })
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	r.play(ping, "pong", 100)
	for i := 0; len(only[events.MessageHandled](r, events.AgentStream(pong))) < 100; i++ {
		for _, do := range []func(context.Context, Command) (events.Position, error){r.Suspend, r.Resume} {
			if err := r.command(do, pong); err != nil {
				t.Fatal(err)
			}
		}
		if i > 100_000 {
			t.Fatal("the game does not end")
		}
	}
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	if !r.over(ping) {
		t.Error("ping does not know")
	}
}

// crowded is a host that has no memory for one agent's guest, a number of times.
type crowded struct {
	replay.Modules
	of    events.ModuleHash
	mu    sync.Mutex
	times int // guarded by mu
}

func (c *crowded) Module(ctx context.Context, h events.ModuleHash) (*wasmhost.Module, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h == c.of && c.times > 0 {
		c.times--
		return nil, fmt.Errorf("no memory for one more guest: %w", events.ErrOverloaded)
	}
	return c.Modules.Module(ctx, h)
}

// TestACrowdedHostUsesNoAttempts: what agents send waits for memory as it waits for a
// full mailbox, and is no dead letter.
func TestACrowdedHostUsesNoAttempts(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	view, _ := r.agents.Get(pong)
	r.end()
	r.before = func() {
		r.sys.source.Modules = &crowded{Modules: r.sys.source.Modules, of: view.Module, times: 2 * sendAttempts}
	}
	r.start()
	r.play(ping, "pong", 1)
	r.eventually("the ball has come to its end", func() bool { return len(r.ends(ping)) > 1 && r.flight.Len() == 0 })
	if dead := only[events.MessageDeadLettered](r, events.AgentStream(ping)); len(dead) != 0 {
		t.Errorf("dead letters: %+v", dead)
	}
	if n := len(r.ends(pong)); n != 1 {
		t.Errorf("%d balls arrived, want 1", n)
	}
}

// behindTheLog keeps the projections from seeing any more of the log than one event,
// which do makes, until goOn.
func (r *rig) behindTheLog(do func()) (goOn func()) {
	r.watch.mu.Lock()
	do()
	return sync.OnceFunc(r.watch.mu.Unlock)
}

// TestAnInterruptedLookGivesNobodyUp: a turn that waits for the projection to know whom
// its sends are for has not looked, when an emergency stop ends that.
func TestAnInterruptedLookGivesNobodyUp(t *testing.T) {
	r := newRig(t, nil)
	ping := r.deploy("ping", "ping")
	goOn := r.behindTheLog(func() { r.ask(ping, `{"op":"score"}`) })
	defer goOn()
	d, err := r.Deploy(context.Background(), DeployRequest{
		Caller: Caller{Principal: "user:test"}, Name: "pong", Wasm: fixtures.Agent("pong"), Limits: events.DefaultLimits(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		q := request(ping, `{"op":"start","peer":"pong","rounds":3}`)
		q.Wait = 0
		if _, err := r.Send(context.Background(), q); err != nil {
			t.Error(err)
		}
	})
	r.until("it runs", func() bool { return r.sys.licence.Load().guests.Load() == 1 })
	r.stopAll(StopAllRequest{Reason: "test"})
	group.Wait()
	goOn()
	r.lift()
	r.eventually("the game ends", func() bool {
		return len(r.ends(d.ID)) == 3 || slices.ContainsFunc(r.ends(ping), func(s string) bool { return strings.HasPrefix(s, "dead") })
	})
	if got := r.ends(d.ID); len(got) != 3 {
		t.Errorf("it handled %q; %q", got, r.ends(ping))
	}
}
