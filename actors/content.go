package actors

import (
	"context"
	"errors"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
)

// contentLimit is what runs have recorded of Config.MaxContent: 0 for the default.
func (s *System) contentLimit() int {
	if s.cfg.MaxContent == events.MaxMessageContent {
		return 0
	}
	return s.cfg.MaxContent
}

// storeLarge puts contents that are too large for an event into blobs. It comes
// before the append of the event that refers to them; a blob whose event never came
// is garbage and no harm.
func (a *agentActor) storeLarge(ctx context.Context, run *agent.Run) error {
	store := a.sys.deps.Store
	if len(run.Reply) > events.MaxMessageContent {
		var m events.Message
		m.SetContent(run.Reply)
		if err := events.StoreContent(ctx, store, &m); err != nil {
			return err
		}
		run.Reply, run.ReplyBlob = nil, m.Blob
		if m.Blob == nil { // without its white space it is not too large
			run.Reply = m.Content
		}
	}
	for i := range run.Sends {
		if err := events.StoreContent(ctx, store, &run.Sends[i].Message); err != nil {
			return err
		}
	}
	return nil
}

// handle has the guest handle a message, whose content may stand in a blob.
func (a *agentActor) handle(ctx context.Context, m *events.Message, c wasmhost.Call) wasmhost.Outcome {
	whole, err := events.WithContent(ctx, a.sys.deps.Store, *m)
	if err != nil && ctx.Err() != nil {
		return wasmhost.Outcome{Status: events.OutcomeKilled, Detail: "stopped from outside"}
	}
	if err != nil {
		return wasmhost.Outcome{Status: events.OutcomeHostFault, Detail: err.Error()}
	}
	c.Message = &whole
	return a.live.Guest.Handle(ctx, c)
}

// takes reports whether an agent takes a message from outside, as far as is known
// before it is offered. It is asked before a large content is stored, which costs log
// for ever; messages under way at the same moment may pass it by their number.
// Errors: those with which the message would be refused.
func (s *System) takes(ctx context.Context, to events.AgentID) error {
	err := s.refusal(to)
	if err == nil || errors.Is(err, events.ErrMailboxFull) {
		return err
	}
	if late := s.caughtUp(ctx); late != nil { // the caller may know of a change that the projection has not seen
		return errors.Join(err, late)
	}
	return s.refusal(to)
}

// refusal is how the projections and the mailbox would have a message refused.
func (s *System) refusal(to events.AgentID) error {
	view, ok := s.deps.Agents.Get(to)
	switch status := agent.Status(view.Status); {
	case !ok:
		return events.ErrAgentNotFound
	case status == agent.Failed:
		return events.ErrAgentFailed
	case status == agent.Stopped || status == agent.Draining:
		return events.ErrAgentStopped
	case !status.Runs() || s.halted():
		if err := s.inboxRoom(to); err != nil {
			return err
		}
	}
	return s.registry.room(to)
}
