package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

func (r *rig) command(do func(context.Context, Command) (events.Position, error), id events.AgentID) error {
	pos, err := do(context.Background(), Command{Caller: Caller{Principal: "user:test"}, Agent: id, Reason: "test"})
	if err == nil {
		r.caughtUp(pos)
	}
	return err
}

// TestASuspendedAgentKeepsItsMessages: they are held durably, over a restart, and
// handled in order when it is resumed, before what comes later.
func TestASuspendedAgentKeepsItsMessages(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("kv", "kv")
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if sent := r.ask(id, fmt.Sprintf(`{"op":"put","key":"k","value":%d}`, i)); sent.Status != Held {
			t.Fatalf("%s, want %s", sent.Status, Held)
		}
	}
	if err := r.command(r.Suspend, id); err != nil {
		t.Errorf("suspending again: %v", err)
	}
	r.restart()
	if sent := r.ask(id, `{"op":"put","key":"k","value":5}`); sent.Status != Held {
		t.Fatalf("%s, want %s", sent.Status, Held)
	}
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"get","key":"k"}`, `{"found":true,"value":5}`)
	handled := only[events.MessageHandled](r, events.AgentStream(id))
	for i := range 6 {
		want := fmt.Sprintf(`{"op":"put","key":"k","value":%d}`, i)
		if got := string(handled[i].Message.Content); got != want {
			t.Errorf("message %d was %s, want %s", i, got, want)
		}
	}
	if len(handled) != 7 {
		t.Errorf("%d messages handled, want 7", len(handled))
	}
}

func TestARemovedAgentIsGone(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("echo", "echo")
	r.ask(id, `1`)
	if err := r.command(r.Remove, id); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"remove": r.command(r.Remove, id), "suspend": r.command(r.Suspend, id), "resume": r.command(r.Resume, id),
	} {
		if !errors.Is(err, events.ErrAgentNotFound) {
			t.Errorf("%s: %v, want events.ErrAgentNotFound", name, err)
		}
	}
	if _, err := r.Send(context.Background(), request(id, `1`)); !errors.Is(err, events.ErrAgentNotFound) {
		t.Errorf("send: %v, want events.ErrAgentNotFound", err)
	}
	if len(r.payloads(events.AgentStream(id))) != 3 {
		t.Error("its history is gone")
	}
}

// TestAnIdleAgentHibernates and comes back as it was, from a snapshot when it
// has much behind it.
func TestAnIdleAgentHibernates(t *testing.T) {
	r := newRig(t, func(c *Config) { c.IdleTimeout = 20 * time.Millisecond; c.SnapshotEvery = 10 })
	id := r.deploy("counter", "counter-rust")
	for i := range 25 {
		r.wants(id, `{"op":"add","n":2}`, fmt.Sprintf(`{"count":%d}`, 2*(i+1)))
	}
	late := time.After(patience)
	for poll := time.NewTicker(time.Millisecond); r.sys.Awake() > 0 || r.host.MemoryBytes() > 0; {
		select {
		case <-poll.C:
		case <-late:
			t.Fatalf("%d agents stay awake with %d bytes of guest memory", r.sys.Awake(), r.host.MemoryBytes())
		}
	}
	snapshots := 0
	for _, err := range r.log.ReadStream(context.Background(), events.SnapshotStream(id), events.ReadStreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		snapshots++
	}
	if snapshots == 0 {
		t.Error("no snapshot was written")
	}
	r.wants(id, `{"op":"get"}`, `{"count":50}`)
}

func TestUniqueNames(t *testing.T) {
	r := newRig(t, nil)
	wasm := fixtures.Agent("echo")
	const callers = 16
	errs := make([]error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			_, errs[i] = r.Deploy(context.Background(), DeployRequest{Name: "the one", UniqueName: true, Wasm: wasm, Limits: events.DefaultLimits()})
		})
	}
	group.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, events.ErrNameTaken):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d agents have the unique name", won)
	}
}

func TestDeployIsIdempotent(t *testing.T) {
	r := newRig(t, nil)
	q := DeployRequest{Caller: Caller{Principal: "user:test", IdempotencyKey: "k"}, Name: "echo", Wasm: fixtures.Agent("echo"), Limits: events.DefaultLimits()}
	first, err := r.Deploy(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	r.caughtUp(first.Position)
	r.restart()
	again, err := r.Deploy(context.Background(), q)
	if err != nil || again.ID != first.ID {
		t.Errorf("%v %v, want the same agent %s", again, err, first.ID)
	}
	q.Name = "other"
	if _, err := r.Deploy(context.Background(), q); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("%v, want events.ErrKeyReused", err)
	}
	if n := r.agents.Len(); n != 1 {
		t.Errorf("%d agents, want 1", n)
	}
}

func TestDeployChecksItsRequest(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxAgents = 1 })
	good := DeployRequest{Name: "echo", Wasm: fixtures.Agent("echo"), Limits: events.DefaultLimits()}
	var invalid *events.InvalidError
	for name, change := range map[string]func(*DeployRequest){
		"no name":     func(q *DeployRequest) { q.Name = " " },
		"no memory":   func(q *DeployRequest) { q.Limits.MaxMemoryBytes = 0 },
		"much fuel":   func(q *DeployRequest) { q.Limits.MaxFuel = 1 << 62 },
		"priority":    func(q *DeployRequest) { q.Priority = "urgent" },
		"label":       func(q *DeployRequest) { q.Labels = events.Labels{"": "x"} },
		"little room": func(q *DeployRequest) { q.Limits.MaxMemoryBytes = 1 },
	} {
		q := good
		change(&q)
		if _, err := r.Deploy(context.Background(), q); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an *events.InvalidError", name, err)
		}
	}
	q := good
	q.Wasm = []byte("not wasm")
	if _, err := r.Deploy(context.Background(), q); !errors.Is(err, events.ErrInvalidWasm) {
		t.Errorf("%v, want events.ErrInvalidWasm", err)
	}
	if _, any, err := r.log.Head(context.Background()); any || err != nil {
		t.Errorf("something was stored: %v %v", any, err)
	}
	r.deploy("echo", "echo")
	if _, err := r.Deploy(context.Background(), good); !errors.Is(err, events.ErrTooManyAgents) {
		t.Errorf("%v, want events.ErrTooManyAgents", err)
	}
}

// TestShutdownAnswersEveryone: whoever is waiting gets an answer, and what was
// acknowledged is there after a restart.
func TestShutdownAnswersEveryone(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	const senders = 8
	acked := make([]int, senders)
	var group sync.WaitGroup
	began := make(chan struct{}, senders)
	for s := range senders {
		group.Go(func() {
			for {
				_, err := r.Send(context.Background(), request(id, `{"op":"add","n":1}`))
				if errors.Is(err, events.ErrShuttingDown) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if acked[s]++; acked[s] == 5 {
					began <- struct{}{}
				}
			}
		})
	}
	for range senders {
		<-began
	}
	stopped := r.Gateway
	r.end()
	group.Wait()
	if _, err := stopped.Send(context.Background(), request(id, `{"op":"get"}`)); !errors.Is(err, events.ErrShuttingDown) {
		t.Errorf("%v, want events.ErrShuttingDown", err)
	}
	total := 0
	for _, n := range acked {
		total += n
	}
	r.start()
	r.wants(id, `{"op":"get"}`, fmt.Sprintf(`{"count":%d}`, total))
}

// TestShutdownStopsAGuestThatGoesOn: the drain has an end.
func TestShutdownStopsAGuestThatGoesOn(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DrainTimeout = 20 * time.Millisecond; c.SpillAfter = time.Minute })
	id := r.deployWasm("spin", hostile(t, "spin"), func(q *DeployRequest) {
		hurried(q)
		q.Limits.MaxExecutionTimeMS = events.LimitCeilings().MaxExecutionTimeMS
	})
	sent := make(chan error, 1)
	go func() {
		_, err := r.Send(context.Background(), request(id, `1`))
		sent <- err
	}()
	late := time.After(patience)
	for poll := time.NewTicker(time.Millisecond); r.sys.QueueDepth() == 0; {
		select {
		case <-poll.C:
		case <-late:
			t.Fatal("the message does not arrive")
		}
	}
	r.end()
	if err := <-sent; err == nil {
		t.Error("a message that did not end was acknowledged")
	}
	if got := r.agents.Len(); got != 1 {
		t.Errorf("%d agents", got)
	}
	r.start()
	if n := len(r.payloads(events.AgentStream(id))); n != 1 {
		t.Errorf("the agent has %d events, want only its deployment", n)
	}
}

// TestAnEnvelopeWithoutAnActorIsAnswered: one that slipped in while the system
// ended waits for nobody.
func TestAnEnvelopeWithoutAnActorIsAnswered(t *testing.T) {
	reg := newRegistry(4, func(events.AgentID, *Mailbox) {}) // the supervisor is gone
	env := newEnvelope()
	if _, err := reg.offer(events.NewAgentID(), env); err != nil {
		t.Fatal(err)
	}
	reg.close()
	reg.dropAll(events.ErrShuttingDown)
	ans, err := waitAnswer(context.Background(), env, nil, answer{})
	if err != nil || !errors.Is(ans.err, events.ErrShuttingDown) {
		t.Errorf("%v, %v; want events.ErrShuttingDown", ans.err, err)
	}
	if n := len(reg.boxes()); n != 0 {
		t.Errorf("%d mailboxes are left", n)
	}
}
