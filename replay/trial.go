package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
)

// MaxTrial is how many recorded messages a trial runs at most: what an operator waits
// for, at a millisecond each.
const MaxTrial = 1000

// Trial is what another module made of messages that an agent has handled.
type Trial struct {
	From       events.Revision `json:"from_revision"`  // of the first event that could be of a message tried
	Messages   int             `json:"messages"`       // run
	Complete   bool            `json:"complete"`       // all of them up to the agent's last event, or the first difference
	FromMemory bool            `json:"from_beginning"` // From is where the agent's present memory began, so that both began with an empty one
	Migration  *TrialMigration `json:"migration,omitempty"`

	// HistoryFrom is the first revision that events.retention has left; absent when
	// the history is whole. Then From is not before the oldest snapshot.
	HistoryFrom events.Revision `json:"history_from_revision,omitempty"`

	Difference *Difference `json:"difference,omitempty"` // the first; nil when there was none
}

// TrialMigration is what caxton_migrate made of the agent's present state. Nothing of
// it is kept.
type TrialMigration struct {
	Outcome events.OutcomeStatus `json:"outcome"`
	Detail  string               `json:"detail,omitempty"`
	Fuel    events.Fuel          `json:"fuel"`
	State   int                  `json:"state_changes"`
}

// Difference is where a trial first went otherwise than the log.
type Difference struct {
	Revision  events.Revision  `json:"revision"`
	MessageID events.MessageID `json:"message_id"`
	What      string           `json:"what"` // outcome, reply, sends, state, timers, capabilities; message, when it cannot be read
	Recorded  string           `json:"recorded"`
	Now       string           `json:"now"`
}

// Trial runs the messages that an agent has handled on another module, as if the
// agent had been updated before them, and tells the first difference: of outcome,
// reply, sends (their receivers apart), changes of the state, timers set and cancelled,
// or capabilities registered (but for those that the new module has from its start).
// It begins where the
// agent's present memory began, or MaxTrial messages back, or at a snapshot where what
// was before it is removed, and tries no messages that failed. When ctx ends it tells
// how far it came.
//
// Errors: events.ErrAgentNotFound; *events.HistoryRemovedError when no snapshot of what
// is removed reads; those of the store; *wasmhost.InitError.
func (s Source) Trial(ctx context.Context, id events.AgentID, module events.ModuleHash, limits events.ResourceLimits) (Trial, error) {
	t := &trial{src: s, module: module, limits: limits}
	now, err := s.State(ctx, id)
	if err != nil {
		return Trial{}, err
	}
	if !now.Exists() || now.Status == agent.Removed {
		return Trial{}, fmt.Errorf("agent %s: %w", id, events.ErrAgentNotFound)
	}
	defer t.close()
	if t.out.Migration, err = t.migrates(ctx, now); err != nil {
		return Trial{}, err
	}
	if err := t.start(ctx, id); err != nil {
		return Trial{}, err
	}
	err = t.run(ctx, id)
	if ctx.Err() != nil {
		return t.out, nil
	}
	t.out.Complete = err == nil
	return t.out, err
}

type trial struct {
	src    Source
	module events.ModuleHash
	limits events.ResourceLimits
	out    Trial

	mod    *wasmhost.Module
	guest  *wasmhost.Instance
	offers []string // capabilities that the module has before any message
	state  overlay
	folded *agent.State // as recorded, before the message that is tried next
	since  []step       // events not folded yet
	short  error        // why the node had no memory for the last run; nil when it had
}

type step struct {
	revision events.Revision
	payload  events.Payload
}

// overlay is a state with changes of its own above it.
type overlay struct {
	below   *agent.State
	changes map[string]events.StateChange
}

// Get implements wasmhost.StateReader.
func (o *overlay) Get(key string) ([]byte, bool) {
	if c, ok := o.changes[key]; ok {
		return c.Value, !c.Delete
	}
	return o.below.Get(key)
}

func (o *overlay) apply(list []events.StateChange) {
	for _, c := range list {
		o.changes[c.Key] = c
	}
}

func (t *trial) close() {
	if t.guest != nil {
		t.guest.Close()
		t.guest = nil
	}
	if t.mod != nil {
		t.mod.Release()
		t.mod = nil
	}
}

// begin makes an instance above a state and migrates; nil when the module has
// nothing to migrate.
func (t *trial) begin(ctx context.Context, st *agent.State) (m *TrialMigration, err error) {
	t.close()
	t.offers = nil
	t.state = overlay{below: st, changes: make(map[string]events.StateChange)}
	if t.mod, t.guest, err = t.src.Begin(ctx, t.module, t.limits.MaxMemoryBytes); err != nil {
		return nil, err
	}
	if t.guest == nil {
		return nil, nil
	}
	t.offers = slices.Clone(t.guest.Capabilities())
	if !t.mod.Info().Migrates {
		return nil, nil
	}
	call := wasmhost.Call{Host: events.HostRecord{NowMicros: st.Now(0)}, Fuel: t.limits.MaxFuel, State: &t.state, Agent: st}
	out := t.guest.Migrate(ctx, call, wasmhost.Change{From: st.Module, To: t.module})
	t.state.apply(out.State)
	t.offers = append(t.offers, out.Capabilities...)
	return &TrialMigration{out.Status, out.Detail, out.Fuel, len(out.State)}, nil
}

// migrates tries the migration of the agent as it is.
func (t *trial) migrates(ctx context.Context, now *agent.State) (*TrialMigration, error) {
	return t.begin(ctx, now)
}

// start finds where to begin, and begins there.
func (t *trial) start(ctx context.Context, id events.AgentID) error {
	count := 0
	opts := events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards}
	for rec, err := range t.src.Store.ReadStream(ctx, events.AgentStream(id), opts) {
		if err != nil {
			return fmt.Errorf("trial of agent %s: %w", id, err)
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			return err
		}
		if h, ok := p.(events.MessageHandled); ok && h.Outcome == events.OutcomeOK {
			count++
		}
		if t.out.FromMemory = beginsMemory(p); t.out.FromMemory {
			t.out.From = rec.Revision + 1
			break
		}
		if t.out.From = rec.Revision; count == MaxTrial {
			break
		}
	}
	st, err := t.stateBefore(ctx, id)
	if err != nil {
		return fmt.Errorf("trial of agent %s: %w", id, err)
	}
	_, err = t.begin(ctx, st)
	t.folded = &agent.State{ID: id}
	if err == nil {
		err = copyState(t.folded, st)
	}
	return err
}

// stateBefore folds the agent up to where the trial begins, which it moves up to a
// snapshot when what is needed for that was removed.
func (t *trial) stateBefore(ctx context.Context, id events.AgentID) (*agent.State, error) {
	st, next := &agent.State{ID: id}, events.Revision(0)
	trim, trimmed, err := events.Trimmed(ctx, t.src.Store, id)
	if err != nil {
		return nil, err
	}
	if trimmed {
		if st, err = t.src.base(ctx, id, trim, t.out.From); err != nil {
			return nil, err
		}
		next, t.out.HistoryFrom = st.Revision+1, trim.Before
		if t.out.From < next {
			t.out.From, t.out.FromMemory = next, false
		}
	}
	if next == t.out.From {
		return st, nil
	}
	opts := events.ReadStreamOptions{From: next, Max: int(t.out.From - next)}
	for rec, err := range t.src.Store.ReadStream(ctx, events.AgentStream(id), opts) {
		if err != nil {
			return nil, err
		}
		p, err := events.Decode(rec.Event)
		if err == nil {
			err = st.Apply(rec.Revision, p)
		}
		if err != nil {
			return nil, err
		}
	}
	return st, nil
}

// base returns the newest snapshot's state that stands before a revision, or the oldest
// that there is: of those from which what is left of the history leads on. Error:
// *events.HistoryRemovedError.
func (s Source) base(ctx context.Context, id events.AgentID, trim events.Trim, before events.Revision) (st *agent.State, err error) {
	err = s.snapshots(ctx, id, func(one stored) bool {
		if one.state.Revision+1 >= trim.Before {
			st = one.state
		}
		return one.state.Revision < before
	})
	if err == nil && st == nil {
		err = &events.HistoryRemovedError{Agent: id, Before: trim.Before, At: trim.At}
	}
	return st, err
}

// copyState makes one state what another is.
func copyState(to, from *agent.State) error {
	b, err := from.MarshalBinary()
	if err != nil {
		return err
	}
	return to.UnmarshalBinary(b)
}

// beginsMemory reports whether an event gives an agent an empty memory.
func beginsMemory(p events.Payload) bool {
	switch p := p.(type) {
	case events.AgentDeployed, events.AgentRestarted:
		return true
	case events.AgentUpdated:
		return p.Module != ""
	}
	return false
}

// fold applies the events since the last fold: those of a message only after it was
// tried.
func (t *trial) fold() error {
	for _, s := range t.since {
		if err := t.folded.Apply(s.revision, s.payload); err != nil {
			return err
		}
	}
	t.since = t.since[:0]
	return nil
}

// run tries message after message up to the first difference.
func (t *trial) run(ctx context.Context, id events.AgentID) error {
	var pending *recorded
	for rec, err := range t.src.Store.ReadStream(ctx, events.AgentStream(id), events.ReadStreamOptions{From: t.out.From}) {
		if errors.Is(err, events.ErrStreamNotFound) {
			break
		}
		if err != nil {
			return fmt.Errorf("trial of agent %s: %w", id, err)
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			return err
		}
		if pending != nil && pending.also(p) {
			t.since = append(t.since, step{rec.Revision, p})
			continue
		}
		if t.tried(ctx, pending) {
			return t.short
		}
		if err := t.fold(); err != nil {
			return err
		}
		pending = nil
		if h, ok := p.(events.MessageHandled); ok && h.Outcome == events.OutcomeOK {
			pending = &recorded{revision: rec.Revision, handled: h, said: h.Sends}
		}
		t.since = append(t.since, step{rec.Revision, p})
	}
	t.tried(ctx, pending)
	return errors.Join(ctx.Err(), t.short)
}
