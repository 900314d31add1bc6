package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

func (r *rig) updateErr(id events.AgentID, change func(*UpdateRequest)) error {
	r.t.Helper()
	q := UpdateRequest{Command: Command{Caller: Caller{Principal: "user:test"}, Agent: id}}
	change(&q)
	pos, err := r.Update(context.Background(), q)
	if err == nil {
		r.caughtUp(pos)
	}
	return err
}

func (r *rig) update(id events.AgentID, change func(*UpdateRequest)) {
	r.t.Helper()
	if err := r.updateErr(id, change); err != nil {
		r.t.Fatal(err)
	}
}

func toModule(name string) func(*UpdateRequest) {
	return func(q *UpdateRequest) { q.Wasm = fixtures.Agent(name) }
}

// TestAnUpdateMigratesTheState: memory begins anew, state goes on as the new module
// has it, also after the node's restart.
func TestAnUpdateMigratesTheState(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("tally", "tally")
	r.wants(id, `{"op":"add","n":3}`, `{"seen":1,"total":3}`)
	r.wants(id, `{"op":"add","n":4}`, `{"seen":2,"total":7}`)
	r.update(id, toModule("tally-2"))
	r.wants(id, `{"op":"add","n":1}`, `{"seen":1,"total":8}`)
	r.restart()
	r.wants(id, `{"op":"get"}`, `{"seen":1,"total":8}`)
	list := only[events.AgentUpdated](r, events.AgentStream(id))
	if len(list) != 1 || list[0].Migration == nil || len(list[0].Migration.Logs) != 1 || list[0].From != events.HashModule(fixtures.Agent("tally")) {
		t.Fatalf("%+v", list)
	}
	r.update(id, toModule("tally-2")) // it is so already
	r.update(id, func(q *UpdateRequest) { q.Priority = events.Normal })
	if n := len(only[events.AgentUpdated](r, events.AgentStream(id))); n != 1 {
		t.Errorf("%d updates are recorded, want 1", n)
	}
	view, _ := r.agents.Get(id)
	if view.Module != events.HashModule(fixtures.Agent("tally-2")) || view.ModuleSize != len(fixtures.Agent("tally-2")) {
		t.Errorf("shown with module %s of %d bytes", view.Module, view.ModuleSize)
	}
}

// TestAFailedMigrationChangesNothing: the agent goes on as it was, memory and all.
func TestAFailedMigrationChangesNothing(t *testing.T) {
	for total, want := range map[string]events.OutcomeStatus{"-3": events.OutcomeRefused, "13": events.OutcomeTimeout} {
		t.Run(string(want), func(t *testing.T) {
			r := newRig(t, nil)
			r.sys.runGrace = time.Millisecond // of messages: a migration has all its time
			id := r.deploy("tally", "tally", hurried)
			r.wants(id, fmt.Sprintf(`{"op":"add","n":%s}`, total), fmt.Sprintf(`{"seen":1,"total":%s}`, total))
			err := r.updateErr(id, toModule("tally-2"))
			var failed *events.MigrationError
			if !errors.As(err, &failed) || failed.Outcome != want || !errors.Is(err, events.ErrMigrationFailed) {
				t.Fatalf("%v, want a *events.MigrationError with %s", err, want)
			}
			r.wants(id, `{"op":"get"}`, fmt.Sprintf(`{"seen":1,"total":%s}`, total))
			if n := len(only[events.AgentUpdated](r, events.AgentStream(id))); n != 0 {
				t.Errorf("%d updates are recorded", n)
			}
		})
	}
}

// TestLimitsOfALivingAgent apply from the next message on, and memory stays.
func TestLimitsOfALivingAgent(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("tally", "tally")
	r.wants(id, `{"op":"add","n":3}`, `{"seen":1,"total":3}`)
	r.update(id, func(q *UpdateRequest) { q.Limits.MaxFuel = 1 })
	if sent := r.ask(id, `{"op":"get"}`); sent.Status != Failed || !strings.Contains(contentOf(sent.Reply), string(events.OutcomeOutOfFuel)) {
		t.Errorf("with one instruction: %s %s", sent.Status, contentOf(sent.Reply))
	}
	r.update(id, func(q *UpdateRequest) {
		q.Limits = events.DefaultLimits()
		q.Labels = &events.Labels{"team": "red"}
		q.Priority = events.High
	})
	r.wants(id, `{"op":"get"}`, `{"seen":1,"total":3}`)
	view, _ := r.agents.Get(id)
	if view.Limits != events.DefaultLimits() || view.Labels["team"] != "red" || view.Priority != events.High {
		t.Errorf("%+v", view)
	}
	var invalid *events.InvalidError
	for name, change := range map[string]func(*UpdateRequest){
		"memory below what it has": func(q *UpdateRequest) { q.Limits.MaxMemoryBytes = 1 },
		"fuel beyond the ceiling":  func(q *UpdateRequest) { q.Limits.MaxFuel = 1 << 62 },
		"priority":                 func(q *UpdateRequest) { q.Priority = "urgent" },
		"labels":                   func(q *UpdateRequest) { q.Labels = &events.Labels{"": "x"} },
	} {
		if err := r.updateErr(id, change); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an *events.InvalidError", name, err)
		}
	}
	if err := r.updateErr(id, func(q *UpdateRequest) { q.Wasm = []byte("not wasm") }); !errors.Is(err, events.ErrInvalidWasm) {
		t.Errorf("%v, want events.ErrInvalidWasm", err)
	}
	if err := r.updateErr(events.NewAgentID(), toModule("echo")); !errors.Is(err, events.ErrAgentNotFound) {
		t.Errorf("%v, want events.ErrAgentNotFound", err)
	}
}

// TestAnAgentThatDoesNotRunIsUpdated and stays as it stands.
func TestAnAgentThatDoesNotRunIsUpdated(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("tally", "tally")
	r.ask(id, `{"op":"add","n":3}`)
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	r.ask(id, `{"op":"add","n":1}`)
	r.update(id, toModule("tally-2"))
	if got := r.status(id); got != "suspended" {
		t.Errorf("it is %s", got)
	}
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"get"}`, `{"seen":1,"total":4}`)
}

// TestUpdatesUnderTraffic: every message is handled once, by the module of its time.
func TestUpdatesUnderTraffic(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	const senders, each = 4, 40
	var group sync.WaitGroup
	for range senders {
		group.Go(func() {
			for range each {
				if sent, err := r.Send(context.Background(), request(id, `{"op":"add","n":1}`)); err != nil || sent.Status != Handled {
					t.Errorf("%s %v", sent.Status, err)
				}
			}
		})
	}
	for i := range 6 {
		r.update(id, toModule([]string{"counter-rust", "counter-c"}[i%2]))
	}
	group.Wait()
	want := fmt.Sprintf(`{"count":%d}`, senders*each)
	r.wants(id, `{"op":"get"}`, want)
	r.restart()
	r.wants(id, `{"op":"get"}`, want)
}

// TestTryUpdateTellsTheFirstDifference and changes nothing.
func TestTryUpdateTellsTheFirstDifference(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	for range 3 {
		r.ask(id, `{"op":"add","n":1}`)
	}
	try := func(name string) string {
		q := UpdateRequest{Command: Command{Agent: id}, Wasm: fixtures.Agent(name)}
		out, err := r.TryUpdate(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		if out.Difference == nil {
			return fmt.Sprintf("%d equal", out.Messages)
		}
		return fmt.Sprintf("%d: %s", out.Difference.Revision, out.Difference.What)
	}
	if got := try("counter-rust"); got != "3 equal" {
		t.Errorf("counter-rust: %s", got)
	}
	if got := try("echo"); got != "1: reply" {
		t.Errorf("echo: %s", got)
	}
	if n := len(r.payloads(events.AgentStream(id))); n != 4 {
		t.Errorf("%d events, want 4", n)
	}
	var stored bytes.Buffer
	for _, err := range r.log.ReadStream(context.Background(), events.ModuleStream(events.HashModule(fixtures.Agent("echo"))), events.ReadStreamOptions{}) {
		stored.WriteString(fmt.Sprint(err))
	}
	if !strings.Contains(stored.String(), "not found") {
		t.Errorf("the module that was tried is stored: %s", stored.String())
	}
	r.stopAll(StopAllRequest{})
	if out, err := r.TryUpdate(context.Background(), UpdateRequest{Command: Command{Agent: id}}); !errors.Is(err, events.ErrEmergencyStop) {
		t.Errorf("during an emergency stop: %+v, %v", out, err)
	}
}

// TestAnAppendLostByAnUpdateLeavesTheOldAgent.
func TestAnAppendLostByAnUpdateLeavesTheOldAgent(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("tally", "tally")
	r.wants(id, `{"op":"add","n":3}`, `{"seen":1,"total":3}`)
	r.store.fail(times(1, events.AgentStream(id), events.ErrReadOnly), nil)
	if err := r.updateErr(id, toModule("tally-2")); !errors.Is(err, events.ErrReadOnly) {
		t.Fatalf("%v, want events.ErrReadOnly", err)
	}
	r.wants(id, `{"op":"get"}`, `{"seen":1,"total":3}`)
	// Written, and reported as unknown: the same bytes again.
	r.store.fail(nil, times(1, events.AgentStream(id), events.ErrUnknownOutcome))
	r.update(id, toModule("tally-2"))
	r.wants(id, `{"op":"get"}`, `{"seen":0,"total":3}`)
	if n := len(only[events.AgentUpdated](r, events.AgentStream(id))); n != 1 {
		t.Errorf("%d updates are recorded, want 1", n)
	}
}

// TestLimitsChangeInAnEmergencyStop, for which no guest has to run: what made the stop
// necessary may be what the limits allow. Another module has to wait.
func TestLimitsChangeInAnEmergencyStop(t *testing.T) {
	r := newRig(t, nil)
	id := r.spinning()
	go func() { _, _ = r.Send(context.Background(), request(id, `1`)) }()
	r.working(1)
	r.stopAll(StopAllRequest{})
	r.update(id, func(q *UpdateRequest) { q.Limits.MaxFuel, q.Priority = 1000, events.Low })
	if err := r.updateErr(id, toModule("echo")); !errors.Is(err, events.ErrEmergencyStop) {
		t.Errorf("another module: %v, want events.ErrEmergencyStop", err)
	}
	if err := r.updateErr(id, func(q *UpdateRequest) { q.Limits.MaxMemoryBytes = 1 << 20 }); !errors.Is(err, events.ErrEmergencyStop) {
		t.Errorf("less memory: %v, want events.ErrEmergencyStop", err)
	}
	r.lift()
	r.eventually("it comes to its limit", func() bool {
		list := only[events.MessageFailed](r, events.AgentStream(id))
		return len(list) == 1 && list[0].Outcome == events.OutcomeOutOfFuel
	})
}
