package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// Bounds of changing many agents at once.
const (
	bulkAtOnce = 64   // changes under way: they share commits, and more would only wait
	bulkPage   = 1000 // agents looked at at a time
	MaxNamed   = 1000 // agents that an answer names; the counts are of all
)

// Action is what can be done to many agents at once.
type Action string

// The actions.
const (
	ActionSuspend Action = "suspend"
	ActionResume  Action = "resume"
	ActionStop    Action = "stop"
	ActionRestart Action = "restart"
	ActionRemove  Action = "remove"
)

// Actions returns all of them.
func Actions() []Action {
	return []Action{ActionSuspend, ActionResume, ActionStop, ActionRestart, ActionRemove}
}

// Filter says which agents are meant: those that fit all that is given. An empty one
// fits every agent, which must be said with All.
type Filter struct {
	All      bool            // every agent; not beside the others
	Status   string          // as AgentView has it
	Priority events.Priority // empty: any
	Labels   events.Labels   // each of them
}

// Validate refuses a filter that could mean more, or less, than was thought of.
func (f Filter) Validate() error {
	none := f.Status == "" && f.Priority == "" && len(f.Labels) == 0
	switch {
	case f.All && !none:
		return events.Invalid("filter.all", "must not stand beside other conditions")
	case !f.All && none:
		return events.Invalid("filter", "must name status, priority or labels, or be {\"all\":true}")
	}
	return nil
}

func (f Filter) fits(v *projections.AgentView) bool {
	priority, _ := events.ParsePriority(string(v.Priority))
	if f.Status != "" && f.Status != v.Status || f.Priority != "" && f.Priority != priority {
		return false
	}
	for k, want := range f.Labels {
		if got, ok := v.Labels[k]; !ok || got != want {
			return false
		}
	}
	return true
}

// BulkRequest asks for one action on many agents.
type BulkRequest struct {
	Caller
	Action Action
	Filter Filter
	Reason string
	Drain  bool          // of ActionStop
	Grace  time.Duration // of ActionStop
	DryRun bool          // only tell whom it would be done to
}

// BulkResult says what became of a BulkRequest.
type BulkResult struct {
	Action    Action          `json:"action"`
	DryRun    bool            `json:"dry_run"`
	Matched   int             `json:"matched"`   // agents that the filter fits
	Changed   int             `json:"changed"`   // or would be, in a dry run
	Unchanged int             `json:"unchanged"` // they were so already
	Failed    int             `json:"failed"`    // or would, in a dry run
	Agents    []BulkAgent     `json:"agents"`    // the first MaxNamed that were changed or failed
	Position  events.Position `json:"-"`         // of the last change
}

// BulkAgent is one agent of a BulkResult.
type BulkAgent struct {
	ID    events.AgentID `json:"id"`
	Name  string         `json:"name"`
	From  string         `json:"from"`            // its status before
	Error string         `json:"error,omitempty"` // empty when it was changed
}

// Bulk does one action to every agent that a filter fits, as reads show them when it
// begins, many at once and each for itself: one that fails keeps no other from it.
// When ctx ends, those that are left count as failed.
//
// Errors: *events.InvalidError. What went wrong with an agent stands in the result.
func (g *Gateway) Bulk(ctx context.Context, r BulkRequest) (BulkResult, error) {
	if err := g.checkBulk(r); err != nil {
		return BulkResult{}, err
	}
	b := &bulk{gateway: g, request: r, out: BulkResult{Action: r.Action, DryRun: r.DryRun, Agents: []BulkAgent{}}}
	list, err := g.matching(r.Filter)
	if err != nil {
		return BulkResult{}, err
	}
	b.out.Matched = len(list)
	slots := make(chan struct{}, bulkAtOnce)
	var group sync.WaitGroup
	for _, v := range list {
		if unchanged(r.Action, v.Status) {
			b.out.Unchanged++
			continue
		}
		if r.DryRun {
			b.told(v, 0, b.refusal(v))
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			pos, err := b.one(ctx, v.ID)
			b.told(v, pos, err)
		})
	}
	group.Wait()
	return b.out, nil
}

func (g *Gateway) checkBulk(r BulkRequest) error {
	var f events.Faults
	known := false
	for _, a := range Actions() {
		known = known || a == r.Action
	}
	if !known {
		f.Add("action", "must be one of %v, got %.40q", Actions(), r.Action)
	}
	f.Merge("filter", r.Filter.Validate())
	if r.Grace < 0 || r.Grace > MaxGrace {
		f.Add("grace_period_seconds", "must be 0 to %d", int(MaxGrace.Seconds()))
	}
	return f.Err()
}

// matching returns the agents that a filter fits, in order of creation.
func (g *Gateway) matching(f Filter) ([]projections.AgentView, error) {
	var list []projections.AgentView
	for cursor := ""; ; {
		page, err := g.sys.deps.Agents.List(cursor, bulkPage)
		if err != nil {
			return nil, err
		}
		for i := range page.Agents {
			if f.fits(&page.Agents[i]) {
				list = append(list, page.Agents[i])
			}
		}
		if cursor = page.Next; cursor == "" {
			return list, nil
		}
	}
}

// unchanged reports whether an action would leave an agent as it is.
func unchanged(a Action, status string) bool {
	switch a {
	case ActionSuspend:
		return status == "suspended"
	case ActionResume:
		return status == "running"
	case ActionStop:
		return status == "stopped"
	}
	return false
}

// bulk is one BulkRequest under way.
type bulk struct {
	gateway *Gateway
	request BulkRequest

	mu  sync.Mutex // guards out but for Unchanged, which is the loop's
	out BulkResult
}

func (b *bulk) one(ctx context.Context, id events.AgentID) (events.Position, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("not reached: %w", context.Cause(ctx))
	}
	g, r := b.gateway, &b.request
	c := Command{Caller: r.Caller, Agent: id, Reason: r.Reason}
	switch r.Action {
	case ActionSuspend:
		return g.Suspend(ctx, c)
	case ActionResume:
		return g.Resume(ctx, c)
	case ActionStop:
		done, err := g.Stop(ctx, StopRequest{Command: c, Drain: r.Drain, Grace: r.Grace})
		return done.Position, err
	case ActionRestart:
		return g.Restart(ctx, c)
	case ActionRemove:
		return g.Remove(ctx, c)
	}
	return 0, errors.New("unknown action") // checkBulk has seen to it
}

// refusal is why the action would fail for an agent as reads show it; nil when it would
// not. Of the actions only a suspension depends on what the agent does.
func (b *bulk) refusal(v projections.AgentView) error {
	if b.request.Action != ActionSuspend {
		return nil
	}
	_, err := agent.Decide(&agent.State{ID: v.ID, Status: agent.Status(v.Status)}, agent.Suspend{})
	return err
}

// told counts what became of an agent.
func (b *bulk) told(v projections.AgentView, pos events.Position, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	named := BulkAgent{ID: v.ID, Name: v.Name, From: v.Status}
	if err != nil {
		named.Error = err.Error()
		b.out.Failed++
	} else {
		b.out.Changed++
		b.out.Position = max(b.out.Position, pos)
	}
	if len(b.out.Agents) < MaxNamed {
		b.out.Agents = append(b.out.Agents, named)
	}
}
