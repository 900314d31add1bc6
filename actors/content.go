package actors

import (
	"context"

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
	if err != nil {
		return wasmhost.Outcome{Status: events.OutcomeHostFault, Detail: err.Error()}
	}
	c.Message = &whole
	return a.live.Guest.Handle(ctx, c)
}
