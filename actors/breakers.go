package actors

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton-run/caxton/events"
)

// maxCounted bounds the closed breakers whose last outcomes are remembered: those with
// a failure among them. Beyond it some are forgotten, and begin anew.
const maxCounted = 100_000

// breakers are the circuit breakers of a node. Messages are let through, and outcomes
// counted, by whoever has them; whatever moves a breaker is a message to the
// supervisor, whose breakerActor decides, does and records it, one after the other.
type breakers struct {
	sys   *System
	rules BreakerRules
	table atomic.Pointer[gates] // nil: all are closed

	tracked atomic.Int64 // len(counted), for those who need not look
	mu      sync.Mutex   // guards below
	counted map[events.BreakerScope]*window
}

func newBreakers(sys *System) *breakers {
	return &breakers{sys: sys, rules: sys.cfg.Breakers, counted: make(map[events.BreakerScope]*window)}
}

// admit lets a message to an agent through, or refuses it with an
// *events.BreakerOpenError.
func (b *breakers) admit(to events.AgentID) ([]claim, error) {
	t := b.table.Load()
	if t == nil {
		return nil, nil
	}
	return passAll(t.of(to, b.capabilities(to)), b.rules, b.sys.deps.Now())
}

func (b *breakers) capabilities(id events.AgentID) []string {
	v, _ := b.sys.deps.Agents.Get(id)
	return v.Capabilities
}

// report counts how a message's run ended, for the breakers of its agent, of what the
// agent offers, and, if it is the host's fault, of the node.
func (b *breakers) report(id events.AgentID, e *envelope, o events.OutcomeStatus) {
	told, failed := o.Counts()
	if !told {
		return // its claims are given back with its answer
	}
	for _, c := range e.claims {
		b.sys.tellBreakers(breakerTried{c.gate.scope, failed})
	}
	e.claims = nil
	t := b.table.Load()
	if t == nil && !failed && b.tracked.Load() == 0 {
		return
	}
	if t == nil {
		t = new(gates)
	}
	b.count(events.AgentScope(id), t.agents[id], failed)
	for _, c := range b.capabilities(id) {
		b.count(events.ScopeOf(events.BreakerCapability, c), t.capabilities[c], failed)
	}
	if t.all != nil { // closed, it opens only by an operator
		b.count(events.ScopeAll, t.all, failed)
	}
	if !failed || o == events.OutcomeHostFault {
		b.count(b.nodeScope(), t.node, failed)
	}
}

// reportNode counts a failure of the node itself: a turn that could not be appended.
func (b *breakers) reportNode() {
	t := b.table.Load()
	if t == nil {
		t = new(gates)
	}
	b.count(b.nodeScope(), t.node, true)
}

func (b *breakers) nodeScope() events.BreakerScope {
	return events.ScopeOf(events.BreakerNode, string(b.sys.deps.Member))
}

// count adds one outcome to a breaker, and tells when it is to open. To a half-open one
// any outcome is the trial's: what was let through to an agent that was held comes from
// the inbox, and nobody knows by whose claim.
func (b *breakers) count(scope events.BreakerScope, g *breakerGate, failed bool) {
	if g != nil && g.breaker.state == BreakerHalfOpen {
		b.sys.tellBreakers(breakerTried{scope, failed})
		return
	}
	if g != nil {
		if w, open := g.count(b.rules, failed); open {
			b.sys.tellBreakers(breakerTrips{scope, w})
		}
		return
	}
	if !failed && b.tracked.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.counted[scope]
	if w == nil {
		if !failed {
			return
		}
		w = new(window)
		b.counted[scope] = w
	}
	w.add(failed)
	if cause, _, _ := w.verdict(b.rules); cause != "" {
		delete(b.counted, scope)
		b.sys.tellBreakers(breakerTrips{scope, *w})
	} else if w.failures() == 0 {
		delete(b.counted, scope)
	}
	for other := range b.counted {
		if len(b.counted) <= maxCounted {
			break
		}
		delete(b.counted, other)
	}
	b.tracked.Store(int64(len(b.counted)))
}

// forget drops what was counted of a breaker: it has moved, and begins anew.
func (b *breakers) forget(scope events.BreakerScope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.counted, scope)
	b.tracked.Store(int64(len(b.counted)))
}

// publish makes known, which holds no closed breaker, what messages meet. A gate whose
// breaker has not moved stays, with what it has counted.
func (b *breakers) publish(known map[events.BreakerScope]breaker) {
	if len(known) == 0 {
		b.table.Store(nil)
		return
	}
	old := make(map[events.BreakerScope]*breakerGate)
	if t := b.table.Load(); t != nil {
		for _, g := range t.list {
			old[g.scope] = g
		}
	}
	t := &gates{agents: make(map[events.AgentID]*breakerGate), capabilities: make(map[string]*breakerGate)}
	for scope, br := range known {
		g := old[scope]
		if g == nil || g.breaker != br {
			g = &breakerGate{scope: scope, breaker: br}
		}
		t.list = append(t.list, g)
		switch kind, name := scope.Split(); kind {
		case events.BreakerAll:
			t.all = g
		case events.BreakerNode:
			if scope == b.nodeScope() {
				t.node = g
			}
		case events.BreakerAgent:
			if id, err := events.ParseAgentID(name); err == nil {
				t.agents[id] = g
			}
		case events.BreakerCapability:
			t.capabilities[name] = g
		}
	}
	slices.SortFunc(t.list, func(x, y *breakerGate) int { return cmp.Compare(x.scope, y.scope) })
	b.table.Store(t)
}

// BreakerView is one circuit breaker as operators see it.
type BreakerView struct {
	Scope    events.BreakerScope
	State    BreakerState
	Since    time.Time // of the state; zero for one that never moved
	Until    time.Time // when time moves it; zero when it does not
	Admitted float64   // share of messages, 0 to 1
	Forced   bool      // opened by an operator
	Reason   string    // the operator's
	Failures int       // that opened it, of so many outcomes
	Of       int
	Storm    StormRef // that opened it
}

// Breakers returns the breakers that are not closed, in order of their scopes.
func (s *System) Breakers() []BreakerView {
	t := s.breakers.table.Load()
	if t == nil {
		return nil
	}
	now := s.deps.Now()
	out := make([]BreakerView, 0, len(t.list))
	for _, g := range t.list {
		br := g.breaker
		v := BreakerView{Scope: g.scope, State: br.state, Since: br.since, Admitted: br.share(now), Forced: br.forced,
			Reason: br.reason, Failures: br.failures, Of: br.of, Storm: br.storm}
		v.Until, _ = br.due(s.breakers.rules)
		out = append(out, v)
	}
	return out
}
