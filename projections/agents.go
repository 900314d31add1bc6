package projections

import (
	"maps"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Agents is the list of living agents and each one's detail.
type Agents struct {
	node events.MemberID

	mu      sync.RWMutex              // guards all below, and the entries' views
	leaving func(events.AgentID) bool // see Avoid; nil: nobody is
	byID    map[events.AgentID]*entry
	byName  map[string][]*entry  // by creation; never empty
	skills  map[string][]*entry  // by capability, in order of creation; never empty
	order   []*entry             // by creation
	begin   map[idStart][]*entry // by how their ids begin, in order of creation; never empty

	draining map[events.AgentID]struct{} // those whose stop is not finished
	standing map[string]int              // how many there are, by status
	removed  time.Time                   // the newest recorded time of an event that is gone
	former   former                      // agents that are no more
}

// draining is the one status of a view that somebody must act on.
const draining = "draining"

// stand moves an agent to another status.
func (a *Agents) stand(e *entry, status string) {
	a.standing[e.view.Status]--
	a.standing[status]++
	e.view.Status = status
	if status == draining {
		a.draining[e.view.ID] = struct{}{}
		return
	}
	delete(a.draining, e.view.ID)
}

// Draining returns the agents whose stop is not finished, in no particular order:
// after a start they must be woken for it.
func (a *Agents) Draining() []events.AgentID {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Collect(maps.Keys(a.draining))
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
		byName: make(map[string][]*entry), skills: make(map[string][]*entry), begin: make(map[idStart][]*entry),
		draining: make(map[events.AgentID]struct{}), standing: make(map[string]int), former: newFormer(),
	}
}

// Apply implements Fold.
func (a *Agents) Apply(rec events.Recorded, p events.Payload) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, ok := rec.Stream.AgentID()
	if !ok || rec.Stream.Category() != events.CategoryAgent {
		return // an inbox counts its own revisions
	}
	if d, ok := p.(events.AgentDeployed); ok && d.AgentID == id {
		a.deploy(rec, d)
		return
	}
	if h, ok := p.(events.HistoryTrimmed); ok {
		if h.Deployed.AgentID == id {
			a.trimmed(rec, h)
		}
		return
	}
	e := a.byID[id]
	if e == nil {
		return
	}
	e.view.Revision, e.view.UpdatedAt = rec.Revision, rec.RecordedAt
	switch p := p.(type) {
	case events.AgentSuspended:
		a.stand(e, "suspended")
	case events.AgentStopRequested:
		a.stand(e, draining)
	case events.AgentStopped:
		a.stand(e, "stopped")
	case events.AgentResumed, events.AgentRestarted:
		a.stand(e, "running")
	case events.AgentUpdated:
		e.update(p)
	case events.AgentFailed:
		a.stand(e, "failed")
		if p.Outcome == events.OutcomeNodeCrash { // any other has its AgentCrashed before it, which says more
			e.view.LastError = &LastError{Outcome: p.Outcome, Detail: p.Reason, At: rec.RecordedAt}
		}
	case events.AgentRemoved:
		a.remove(e)
		a.former.add(formerAgent{id, e.view.Name, rec.RecordedAt})
	case events.MessageHandled:
		e.view.MessagesHandled++
		e.view.FuelUsed += p.Fuel
	case events.MessageFailed:
		e.view.MessagesFailed++
		e.view.FuelUsed += p.Fuel
		e.view.LastError = &LastError{Outcome: p.Outcome, Detail: p.Detail, At: rec.RecordedAt}
	case events.AgentCrashed:
		e.view.LastError = &LastError{Outcome: p.Outcome, Detail: p.Detail, At: rec.RecordedAt}
	case events.AgentQuarantined:
		e.view.MessagesFailed++
	case events.CapabilityRegistered:
		a.register(e, p.Capability)
	case events.TimerSet:
		e.view.Timers++
	case events.TimerFired, events.TimerCancelled:
		e.view.Timers--
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
	a.insert(e)
}

// insert lists an agent where its creation stands.
func (a *Agents) insert(e *entry) {
	a.byID[e.view.ID] = e
	a.standing[e.view.Status]++
	a.byName[e.view.Name] = within(a.byName[e.view.Name], e)
	a.order = within(a.order, e)
	start := startOf(e.view.ID)
	a.begin[start] = within(a.begin[start], e)
}

// within adds e to a list in order of creation: at its end, but for an agent that is
// known from a HistoryTrimmed only.
func within(list []*entry, e *entry) []*entry {
	return slices.Insert(list, after(list, e.created), e)
}

func (e *entry) update(p events.AgentUpdated) {
	v := &e.view
	if p.Module != "" {
		v.Module, v.ModuleSize, v.Warnings = p.Module, p.ModuleSize, p.Warnings
	}
	if p.Limits != nil {
		v.Limits = *p.Limits
	}
	if p.Priority != "" {
		v.Priority = p.Priority
	}
	if p.Labels != nil {
		v.Labels = *p.Labels
	}
}

func (a *Agents) remove(e *entry) {
	a.stand(e, "removed")
	delete(a.standing, "removed") // they are many in time, and not listed
	delete(a.byID, e.view.ID)
	a.order = without(a.order, e)
	for _, name := range e.view.Capabilities {
		takeOut(a.skills, name, e)
	}
	takeOut(a.byName, e.view.Name, e)
	takeOut(a.begin, startOf(e.view.ID), e)
}

// takeOut removes e from one of several lists, and that when it was the last.
func takeOut[K comparable](lists map[K][]*entry, of K, e *entry) {
	if left := without(lists[of], e); len(left) > 0 {
		lists[of] = left
	} else {
		delete(lists, of)
	}
}

// without removes e from a list in order of creation that holds it.
func without(list []*entry, e *entry) []*entry {
	i := after(list, e.created) - 1
	return slices.Delete(list, i, i+1)
}

// after returns the index of the first agent in the list created after p.
func after(list []*entry, p events.Position) int {
	return sort.Search(len(list), func(i int) bool { return list[i].created > p })
}

// Get returns one living agent. Its maps and slices are the projection's own and
// not to be changed.
func (a *Agents) Get(id events.AgentID) (AgentView, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	e := a.byID[id]
	if e == nil {
		return AgentView{}, false
	}
	return e.view.shown(), true
}

// Len is the number of living agents.
func (a *Agents) Len() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.order)
}

// LenAt is how many agents stand at a status.
func (a *Agents) LenAt(status string) int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.standing[status]
}

// LenWith is how many agents there would be if these were, too; each id stands there once.
func (a *Agents) LenWith(ids []events.AgentID) int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	n := len(a.order)
	for _, id := range ids {
		if a.byID[id] == nil {
			n++
		}
	}
	return n
}

// List returns agents in the order of their creation, from after cursor on; at
// most limit, or all if limit is not positive. An agent that lives from the first
// page to the last is in exactly one of them, whatever comes and goes meanwhile. An unreadable cursor is an
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
		start = after(a.order, events.Position(p))
	}
	end := len(a.order)
	if limit > 0 && limit < end-start { // not start+limit, which may overflow
		end = start + limit
	}
	page := Page{Agents: make([]AgentView, 0, end-start), Total: len(a.order)}
	for _, e := range a.order[start:end] {
		page.Agents = append(page.Agents, e.view.shown())
	}
	if end < len(a.order) && end > start {
		page.Next = strconv.FormatUint(uint64(a.order[end-1].created), 36)
	}
	return page, nil
}
