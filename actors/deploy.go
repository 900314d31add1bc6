package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
)

// deploys is what deployments share.
type deploys struct {
	unique oneAtATime // deployment with a unique name
	births births

	mu      sync.Mutex
	started map[events.ModuleHash][]string // guarded by mu; modules whose start was tried, and the capabilities they then registered
}

// maxStarted bounds deploys.started; beyond it modules are tried again.
const maxStarted = 4096

// Deploy makes a new agent and returns when it is durable. With an
// Idempotency-Key, the same request again returns the same agent.
//
// Errors: *events.InvalidError, events.ErrInvalidWasm, *events.RefusedError,
// events.ErrNameTaken, events.ErrTooManyAgents, events.ErrKeyReused,
// events.ErrOverloaded (too many modules wait for the compiler),
// events.ErrShuttingDown, events.ErrDiskLow, events.ErrEmergencyStop, and those of the
// store.
func (g *Gateway) Deploy(ctx context.Context, r DeployRequest) (Deployed, error) {
	name, err := checkDeploy(r, g.sys.cfg.Ceiling)
	if err != nil {
		return Deployed{}, err
	}
	event := events.AgentDeployed{
		AgentID: events.NewAgentID(), Name: name, Module: events.HashModule(r.Wasm), ModuleSize: len(r.Wasm),
		Limits: r.Limits, Priority: r.Priority, Labels: r.Labels,
	}
	if r.IdempotencyKey != "" {
		event.AgentID = events.AgentID(events.RequestUUID(r.Principal, r.IdempotencyKey, "agent", 0))
		// Before anything that can be refused by now: the limit of agents, the disk.
		if d, found, err := g.sys.deployedBefore(ctx, event); found || err != nil {
			if found {
				g.sys.deploys.births.found(d.ID, d.Position)
			}
			return d, err
		}
	}
	d, err := g.sys.deployNew(ctx, event, r)
	if err != nil {
		return Deployed{}, fmt.Errorf("deploy %q: %w", name, err)
	}
	return d, nil
}

// deployNew makes an agent that was not made before. Nothing is stored, the
// module neither, before the last reason to refuse it has been looked at.
func (s *System) deployNew(ctx context.Context, event events.AgentDeployed, r DeployRequest) (Deployed, error) {
	if s.halted() {
		return Deployed{}, events.ErrEmergencyStop
	}
	if s.deps.Agents.Len() >= s.cfg.MaxAgents { // before anything is compiled; store counts those under way
		return Deployed{}, tooMany(s.cfg.MaxAgents)
	}
	if err := s.deps.Room.Admit(); err != nil {
		return Deployed{}, err
	}
	mod, err := s.admit(ctx, r.Wasm)
	if err != nil {
		return Deployed{}, err
	}
	defer mod.Release()
	birth := agent.Deploy{Event: event}
	if birth.Capabilities, err = s.tryStart(ctx, mod, r.Limits); err != nil {
		return Deployed{}, err
	}
	birth.Event.Warnings = mod.Info().Warnings
	if r.IdempotencyKey != "" {
		if birth.Event.RequestHash, err = hashBody(birth.Event); err != nil {
			return Deployed{}, err
		}
	}
	if r.UniqueName {
		return s.deployUnique(ctx, birth, r)
	}
	return s.store(ctx, birth, r)
}

// admit compiles an uploaded module, unless too many others wait for that.
func (s *System) admit(ctx context.Context, wasm []byte) (*wasmhost.Module, error) {
	if mod, ok := s.deps.Host.Cached(events.HashModule(wasm)); ok {
		return mod, nil
	}
	if s.deps.Host.Crowded() {
		return nil, fmt.Errorf("%w: too many modules wait to be compiled", events.ErrOverloaded)
	}
	return s.deps.Host.Compile(ctx, wasm)
}

// checkDeploy reports all faults of a request at once.
func checkDeploy(r DeployRequest, ceiling events.ResourceLimits) (name string, err error) {
	var f events.Faults
	name, err = events.CleanName(r.Name)
	f.Merge("name", err)
	f.Merge("resource_limits", r.Limits.Validate(ceiling))
	f.Merge("labels", r.Labels.Validate())
	if _, err := events.ParsePriority(string(r.Priority)); err != nil {
		f.Merge("priority", err)
	}
	if len(r.IdempotencyKey) > events.MaxKeyLength {
		f.Add("Idempotency-Key", "must be at most %d bytes", events.MaxKeyLength)
	}
	return name, f.Err()
}

// tryStart makes one instance of a module that has not been tried, so that one
// which cannot start is refused at once and not at its first message. It returns
// the capabilities that the module registers while it starts.
func (s *System) tryStart(ctx context.Context, mod *wasmhost.Module, l events.ResourceLimits) ([]string, error) {
	if low := mod.Info().MinMemoryBytes; low > l.MaxMemoryBytes {
		return nil, events.Invalidf("resource_limits.max_memory_bytes", "must be at least %d, which the module declares as its minimum", low)
	}
	if !mod.Info().HandlesMessages {
		return nil, nil
	}
	if known, tried := s.deploys.tried(mod.Hash()); tried {
		return known, nil
	}
	var skills []string
	err := s.licensed(ctx, func(ctx context.Context) error {
		guest, err := s.deps.Host.Instantiate(ctx, mod, l.MaxMemoryBytes)
		if err == nil {
			skills = guest.Capabilities()
			guest.Close()
		}
		return err
	})
	var failed *wasmhost.InitError
	if errors.As(err, &failed) {
		return nil, &events.RefusedError{Rule: "start_failed", Detail: failed.Error()}
	}
	if err != nil {
		return nil, err
	}
	s.deploys.remember(mod.Hash(), skills)
	return skills, nil
}

func (d *deploys) tried(h events.ModuleHash) (capabilities []string, tried bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	capabilities, tried = d.started[h]
	return capabilities, tried
}

func (d *deploys) remember(h events.ModuleHash, capabilities []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.started == nil || len(d.started) >= maxStarted {
		d.started = make(map[events.ModuleHash][]string)
	}
	d.started[h] = capabilities
}

// deployUnique holds a lock from the look at the names until the new name can be
// seen, so that of two deployments at once one is refused.
func (s *System) deployUnique(ctx context.Context, birth agent.Deploy, r DeployRequest) (Deployed, error) {
	if err := s.deploys.unique.begin(ctx); err != nil {
		return Deployed{}, fmt.Errorf("another deployment with a unique name is under way: %w", err)
	}
	defer s.deploys.unique.end()
	for _, holder := range s.deps.Agents.Named(birth.Event.Name) {
		if holder != birth.Event.AgentID {
			return Deployed{}, events.ErrNameTaken
		}
	}
	d, err := s.store(ctx, birth, r)
	if err != nil {
		return Deployed{}, err
	}
	return d, s.deps.Runner.WaitFor(ctx, d.Position)
}

// store makes the module and then the agent durable, if there is a place for it.
func (s *System) store(ctx context.Context, birth agent.Deploy, r DeployRequest) (d Deployed, err error) {
	b, id := &s.deploys.births, birth.Event.AgentID
	if err := b.take(id, s.cfg.MaxAgents, s.deps.Agents, s.deps.Runner.Position(), s.deps.Now()); err != nil {
		return Deployed{}, err
	}
	begun := false // the append that makes the agent: no other leaves open whether there is one
	defer func() {
		var until time.Time
		if begun && errors.Is(err, events.ErrUnknownOutcome) {
			until = s.deps.Now().Add(unknownBirth)
		}
		b.leave(id, d.Position, until)
	}()
	list, err := s.birthEvents(birth, r.Caller)
	if err != nil {
		return Deployed{}, err
	}
	if _, err := events.StoreModule(ctx, s.deps.Store, r.Wasm); err != nil {
		return Deployed{}, err
	}
	begun = true
	return s.storeAgent(ctx, birth.Event, list)
}

// storeAgent appends an agent's first events.
func (s *System) storeAgent(ctx context.Context, event events.AgentDeployed, list []events.Event) (Deployed, error) {
	res, err := s.append(ctx, events.AgentStream(event.AgentID), events.NoStream(), list...)
	var there *events.WrongRevisionError
	switch {
	case errors.As(err, &there) || errors.Is(err, events.ErrIDReused): // the same key, at the same time
		d, found, before := s.deployedBefore(ctx, event)
		if found || before != nil {
			return d, before
		}
		return Deployed{}, err
	case err != nil:
		return Deployed{}, err
	}
	return Deployed{ID: event.AgentID, Position: res.Position}, nil
}

// birthEvents are an agent's first.
func (s *System) birthEvents(birth agent.Deploy, c Caller) ([]events.Event, error) {
	payloads, err := agent.Decide(new(agent.State), birth)
	if err != nil {
		return nil, err
	}
	md := events.Metadata{Actor: c.Principal, Member: s.deps.Member, TraceParent: c.TraceParent}
	list := make([]events.Event, 0, len(payloads))
	for i, p := range payloads {
		id := events.NewEventID()
		if c.IdempotencyKey != "" {
			id = events.EventID(events.RequestUUID(c.Principal, c.IdempotencyKey, "event", i))
		}
		ev, err := events.Encode(id, p, md)
		if err != nil {
			return nil, err
		}
		list = append(list, ev)
	}
	return list, nil
}

// deployedBefore finds the agent that an Idempotency-Key has made already. Whether
// that was by the same request its hash says, in which the module's warnings
// stand as they were found then: another caxton may warn of other things.
// Error: events.ErrKeyReused, when the request was another.
func (s *System) deployedBefore(ctx context.Context, event events.AgentDeployed) (d Deployed, found bool, err error) {
	first, err := s.firstEvent(ctx, event.AgentID)
	if errors.Is(err, events.ErrStreamNotFound) {
		return Deployed{}, false, nil
	}
	if err != nil {
		return Deployed{}, false, err
	}
	event.Warnings, event.RequestHash = first.Deployed.Warnings, ""
	hash, err := hashBody(event)
	if err != nil {
		return Deployed{}, false, err
	}
	if !first.Deployed.AgentID.IsZero() && first.Deployed.RequestHash == hash {
		return Deployed{ID: event.AgentID, Position: first.Position}, true, nil
	}
	return Deployed{}, false, fmt.Errorf("deploy %q: %w", event.Name, events.ErrKeyReused)
}

// firstEvent returns the event that made an agent, with its place, from the beginning
// of its history or from what its newest trim carries of it. It is zero when the first
// event is another. Errors: events.ErrStreamNotFound, those of the store.
func (s *System) firstEvent(ctx context.Context, id events.AgentID) (events.HistoryTrimmed, error) {
	var at events.Revision
	trim, trimmed, err := events.Trimmed(ctx, s.deps.Store, id)
	if err != nil {
		return events.HistoryTrimmed{}, err
	}
	if trimmed {
		at = trim.Event
	}
	for rec, err := range s.deps.Store.ReadStream(ctx, events.AgentStream(id), events.ReadStreamOptions{From: at, Max: 1}) {
		if err != nil {
			return events.HistoryTrimmed{}, err
		}
		p, err := events.Decode(rec.Event)
		switch p := p.(type) {
		case events.AgentDeployed:
			return events.HistoryTrimmed{Deployed: p, DeployedAt: rec.RecordedAt, Position: rec.Position}, err
		case events.HistoryTrimmed:
			return p, err
		}
		return events.HistoryTrimmed{}, err
	}
	return events.HistoryTrimmed{}, events.ErrStreamNotFound
}
