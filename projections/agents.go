package projections

import (
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/caxton-run/caxton/events"
)

// minPrefix is the shortest prefix of an id that names an agent: shorter ones
// would match by accident.
const minPrefix = 4

// Agents is the list of living agents and each one's detail.
type Agents struct {
	node events.MemberID

	mu     sync.RWMutex // guards all below, and the entries' views
	byID   map[events.AgentID]*entry
	byName map[string]map[events.AgentID]struct{}
	order  []*entry // by creation
}

type entry struct {
	view    AgentView
	created events.Position
}

// NewAgents returns the fold of an empty log; node is shown as the host of every
// agent.
func NewAgents(node events.MemberID) *Agents {
	return &Agents{
		node: node, byID: make(map[events.AgentID]*entry),
		byName: make(map[string]map[events.AgentID]struct{}),
	}
}

// Apply implements Fold.
func (a *Agents) Apply(rec events.Recorded, p events.Payload) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d, ok := p.(events.AgentDeployed); ok {
		a.deploy(rec, d)
		return
	}
	id, ok := rec.Stream.AgentID()
	e := a.byID[id]
	if !ok || e == nil {
		return
	}
	e.view.Revision, e.view.UpdatedAt = rec.Revision, rec.RecordedAt
	switch p := p.(type) {
	case events.AgentSuspended:
		e.view.Status = "suspended"
	case events.AgentResumed:
		e.view.Status = "running"
	case events.AgentFailed:
		e.view.Status = "failed"
	case events.AgentRemoved:
		a.remove(e)
	case events.MessageHandled:
		e.view.MessagesHandled++
		e.view.FuelUsed += p.Fuel
	case events.MessageFailed:
		e.view.MessagesFailed++
		e.view.FuelUsed += p.Fuel
		e.view.LastError = &LastError{p.Outcome, p.Detail, rec.RecordedAt}
	case events.AgentCrashed:
		e.view.LastError = &LastError{p.Outcome, p.Detail, rec.RecordedAt}
	case events.AgentQuarantined:
		e.view.MessagesFailed++
	}
}

func (a *Agents) deploy(rec events.Recorded, d events.AgentDeployed) {
	if a.byID[d.AgentID] != nil {
		return
	}
	labels := d.Labels
	if labels == nil {
		labels = events.Labels{}
	}
	e := &entry{created: rec.Position, view: AgentView{
		ID: d.AgentID, Name: d.Name, Status: "running",
		Module: d.Module, ModuleSize: d.ModuleSize, Limits: d.Limits, Priority: d.Priority,
		Labels: labels, Node: a.node, Revision: rec.Revision,
		CreatedAt: rec.RecordedAt, UpdatedAt: rec.RecordedAt,
		Capabilities: []string{}, Warnings: d.Warnings,
	}}
	a.byID[d.AgentID] = e
	if a.byName[d.Name] == nil {
		a.byName[d.Name] = make(map[events.AgentID]struct{}, 1)
	}
	a.byName[d.Name][d.AgentID] = struct{}{}
	a.order = append(a.order, e) // positions only grow, so order stays sorted
}

func (a *Agents) remove(e *entry) {
	delete(a.byID, e.view.ID)
	same := a.byName[e.view.Name]
	delete(same, e.view.ID)
	if len(same) == 0 {
		delete(a.byName, e.view.Name)
	}
	i := a.after(e.created) - 1
	a.order = append(a.order[:i], a.order[i+1:]...)
}

// after returns the index of the first agent created after position p.
func (a *Agents) after(p events.Position) int {
	return sort.Search(len(a.order), func(i int) bool { return a.order[i].created > p })
}

// Get returns one living agent.
func (a *Agents) Get(id events.AgentID) (AgentView, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	e := a.byID[id]
	if e == nil {
		return AgentView{}, false
	}
	return e.view, true
}

// Len is the number of living agents.
func (a *Agents) Len() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.order)
}

// List returns agents in the order of their creation, from after cursor on; at
// most limit, or all if limit is 0. An unreadable cursor is an
// *events.InvalidError for field "cursor".
func (a *Agents) List(cursor string, limit int) (Page, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	start := 0
	if cursor != "" {
		p, err := strconv.ParseUint(cursor, 36, 63)
		if err != nil {
			return Page{}, events.Invalid("cursor", "must be one that an earlier page gave")
		}
		start = a.after(events.Position(p))
	}
	end := len(a.order)
	if limit > 0 {
		end = min(end, start+limit)
	}
	page := Page{Agents: make([]AgentView, 0, end-start), Total: len(a.order)}
	for _, e := range a.order[start:end] {
		page.Agents = append(page.Agents, e.view)
	}
	if end < len(a.order) && end > start {
		page.Next = strconv.FormatUint(uint64(a.order[end-1].created), 36)
	}
	return page, nil
}

// Resolve finds the one living agent that ref names: an id, a name, or a prefix
// of an id of at least four characters. Errors: events.ErrAgentNotFound;
// *events.AmbiguousError when several match.
func (a *Agents) Resolve(ref string) (events.AgentID, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if id, err := events.ParseAgentID(ref); err == nil {
		if a.byID[id] == nil {
			return events.AgentID{}, events.ErrAgentNotFound
		}
		return id, nil
	}
	var found []events.AgentID
	for id := range a.byName[ref] {
		found = append(found, id)
	}
	if len(found) == 0 && len(ref) >= minPrefix {
		for _, e := range a.order {
			if strings.HasPrefix(e.view.ID.String(), strings.ToLower(ref)) {
				found = append(found, e.view.ID)
			}
		}
	}
	switch len(found) {
	case 0:
		return events.AgentID{}, events.ErrAgentNotFound
	case 1:
		return found[0], nil
	}
	sort.Slice(found, func(i, j int) bool { return found[i].String() < found[j].String() })
	return events.AgentID{}, &events.AmbiguousError{Ref: ref, Matches: found}
}
