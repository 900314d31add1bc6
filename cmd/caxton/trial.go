package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/internal/config"
	"github.com/caxton-run/caxton/wasmhost"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// trialPrincipal is who sends the messages of a trial: nobody in particular, as
// on a server without authentication.
const trialPrincipal = "user:anonymous"

// trial is a module tried without a server. It is compiled and run as a node
// does it, and its agent's state is a node's, but there is no log: what the
// agent wants to have done is told, and not done.
//
// Close it. It is for one goroutine.
type trial struct {
	host   *wasmhost.Host
	dir    string // of the compiled code, for as long as this lasts
	mod    *wasmhost.Module
	guest  *wasmhost.Instance // nil while it has to be rebuilt
	state  *agent.State
	born   events.AgentDeployed
	past   []heard // what made the agent what it is
	memory []byte  // the guest's, as the first saved of past made it; nil: of a guest that begins
	saved  int     // messages of past
	reruns int     // messages that were run again, in all
	limits events.ResourceLimits
	now    func() time.Time
}

// heard is a message that was run to its end, and what became of it.
type heard struct {
	call   wasmhost.Call
	ok     bool // whether the guest's memory has anything of it
	events []events.Payload
}

// trialRun is what became of one message.
type trialRun struct {
	message events.Message
	outcome wasmhost.Outcome
	notice  *events.Message // what caxton answers in the agent's place
	elapsed time.Duration
}

// newTrial compiles a module in a process of its own, because a module need not
// be its author's friend. Errors: *events.RefusedError; one that wraps
// events.ErrInvalidWasm.
func newTrial(ctx context.Context, parent string, wasm []byte, limits events.ResourceLimits, now func() time.Time) (_ *trial, err error) {
	t := &trial{limits: limits, now: now}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close(ctx))
		}
	}()
	if t.dir, err = os.MkdirTemp(parent, ".caxton-trial-*"); err != nil {
		return nil, fmt.Errorf("make room for the compiled code: %w", err)
	}
	cfg := wasmhost.DefaultConfig()
	c := config.Default().Runtime
	cfg.MaxModuleBytes = int(c.MaxModuleBytes)
	cfg.Isolation = &wasmhost.Isolation{
		Command: wasmhost.ThisProgram(), Dir: t.dir,
		Memory: int64(c.Compile.Memory), Timeout: c.Compile.Timeout, Cache: int64(c.Compile.Cache),
	}
	if t.host, err = wasmhost.New(ctx, cfg); err != nil {
		return nil, err
	}
	if t.mod, err = t.host.Compile(ctx, wasm); err != nil {
		return nil, err
	}
	t.born = events.AgentDeployed{
		AgentID: events.NewAgentID(), Name: "trial", Module: t.mod.Hash(), ModuleSize: len(wasm), Limits: limits,
	}
	return t, nil
}

// start makes the guest what its messages so far made of it. Errors:
// *wasmhost.InitError, when the module does not start under these limits.
func (t *trial) start(ctx context.Context) error {
	t.state = &agent.State{}
	if err := t.state.Apply(0, t.born); err != nil {
		return err
	}
	guest, err := t.begin(ctx)
	if err != nil {
		return err
	}
	for i, h := range t.past {
		if i < t.saved {
			h.ok = false // the guest has it in memory
		}
		if err := t.repeat(ctx, guest, h); err != nil {
			guest.Close()
			return err
		}
	}
	t.guest = guest
	return t.save()
}

// begin makes the guest as it was when it was saved.
func (t *trial) begin(ctx context.Context) (*wasmhost.Instance, error) {
	if t.saved == 0 {
		return t.host.Instantiate(ctx, t.mod, t.limits.MaxMemoryBytes)
	}
	return t.host.Restore(ctx, t.mod, t.limits.MaxMemoryBytes, t.memory)
}

// save keeps the guest's memory, so that no message is run again twice; unless the
// guest is one that only its messages can make.
func (t *trial) save() error {
	if len(t.past) == t.saved || !t.mod.Info().Snapshotable {
		return nil
	}
	memory, err := t.guest.Snapshot()
	switch {
	case errors.Is(err, events.ErrTooLarge):
		return nil // its messages are run again, as a server does
	case err == nil:
		t.memory, t.saved = memory, len(t.past)
	}
	return err
}

// repeat runs a message again, so that the guest becomes what it was.
func (t *trial) repeat(ctx context.Context, guest *wasmhost.Instance, h heard) error {
	if h.ok {
		t.reruns++
		h.call.Timeout, h.call.State, h.call.Agent = 0, t.state, t.state // it was in time before
		if out := guest.Handle(ctx, h.call); out.Status != events.OutcomeOK {
			return errors.Join(ctx.Err(), fmt.Errorf("message %s was handled before, and now: %s: %s", h.call.Message.ID, out.Status, out.Detail))
		}
	}
	return t.apply(h.events)
}

func (t *trial) apply(list []events.Payload) error {
	for _, p := range list {
		if err := t.state.Apply(t.state.Revision+1, p); err != nil {
			return err
		}
	}
	return nil
}

// tell gives the agent a message. What goes wrong in the guest is the run's
// outcome, and its memory is then as it was before the message, as on a server.
func (t *trial) tell(ctx context.Context, m events.Message) (trialRun, error) {
	if t.guest == nil {
		if err := t.start(ctx); err != nil {
			return trialRun{}, err
		}
	}
	m.ID, m.Sender, m.Receiver = events.NewMessageID(), trialPrincipal, t.born.AgentID.String()
	began := t.now()
	call := wasmhost.Call{
		Message: &m, Fuel: t.limits.MaxFuel, State: t.state, Agent: t.state,
		Host:    events.HostRecord{NowMicros: t.state.Now(began.UnixMicro()), Seed: rand.Uint64()},
		Timeout: time.Duration(t.limits.MaxExecutionTimeMS) * time.Millisecond,
	}
	out := t.guest.Handle(ctx, call)
	r := trialRun{message: m, outcome: out, elapsed: t.now().Sub(began)}
	if !t.guest.Usable() {
		t.guest.Close()
		t.guest = nil
	}
	if !out.Status.Recurs() {
		return r, nil // a server would try again, so nothing has come of it yet
	}
	payloads, err := agent.Decide(t.state, agent.Finish{Run: t.finished(m, call.Host, out)})
	if err != nil {
		return r, err
	}
	r.judge(payloads)
	ok := r.outcome.Status == events.OutcomeOK
	if !ok && t.guest != nil && out.Status == events.OutcomeOK {
		t.guest.Close() // it has in memory what its agent does not have
		t.guest = nil
	}
	t.past = append(t.past, heard{call, ok, payloads})
	return r, t.apply(payloads)
}

// finished is a run as an agent's state takes it. All sends find a receiver: who
// else there is, a trial cannot know.
func (t *trial) finished(m events.Message, host events.HostRecord, out wasmhost.Outcome) agent.Run {
	r := agent.Run{
		Message: m, Host: host, Status: out.Status, GuestStatus: out.GuestStatus, Detail: out.Detail,
		Replied: out.Replied, Reply: out.Reply, Logs: out.Logs, State: out.State, Fuel: out.Fuel, MeterVersion: meter.Version,
	}
	r.Capabilities = out.Capabilities
	for _, c := range out.Timers {
		r.Timers = append(r.Timers, agent.TimerChange(c))
	}
	for _, s := range out.Sends {
		r.Sends = append(r.Sends, agent.Outgoing{Message: s, To: t.born.AgentID})
	}
	return r
}

// judge takes in what the agent decided: what caxton answers where the guest does
// not, and a limit of the agent's that the guest does not know.
func (r *trialRun) judge(payloads []events.Payload) {
	if len(payloads) == 0 {
		return
	}
	switch p := payloads[0].(type) {
	case events.MessageHandled:
		if p.Outcome != events.OutcomeOK {
			r.notice = p.Reply
		}
	case events.MessageFailed:
		r.notice = p.Reply
		r.outcome = wasmhost.Outcome{
			Status: p.Outcome, Detail: p.Detail, GuestStatus: p.Status, Logs: r.outcome.Logs, Fuel: r.outcome.Fuel,
		}
	}
}

// close gives back everything. The guest does not run any more.
func (t *trial) close(ctx context.Context) error {
	var errs []error
	if t.guest != nil {
		t.guest.Close()
		t.guest = nil
	}
	if t.mod != nil {
		t.mod.Release()
	}
	if t.host != nil {
		errs = append(errs, t.host.Close(context.WithoutCancel(ctx)))
	}
	if t.dir != "" {
		errs = append(errs, os.RemoveAll(t.dir))
	}
	return errors.Join(errs...)
}
