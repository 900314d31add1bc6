package actors

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton-run/caxton/events"
)

// breakerGate is a breaker that is not closed, as messages meet it. What stands in breaker is
// never changed: a transition makes another gate.
type breakerGate struct {
	scope   events.BreakerScope
	breaker breaker

	trial atomic.Int64 // half-open: when its message was let through, ns since the Unix epoch; 0: not yet

	mu     sync.Mutex // guards below, of a recovering breaker
	credit float64    // shares that were not used; a message costs 1
	window window     // outcomes since the reset began
	told   bool       // that it is to open again
}

// gates are all breakers that are not closed. The table is never changed; one atomic
// pointer leads to it, which is nil while all are closed: that is all that a message
// pays for breakers then.
type gates struct {
	all, node    *breakerGate // nil: closed
	agents       map[events.AgentID]*breakerGate
	capabilities map[string]*breakerGate
	list         []*breakerGate
}

// of an agent: the gates that its messages pass, from all to one.
func (t *gates) of(id events.AgentID, capabilities []string) []*breakerGate {
	var out []*breakerGate
	for _, g := range []*breakerGate{t.all, t.node, t.agents[id]} {
		if g != nil {
			out = append(out, g)
		}
	}
	for _, c := range capabilities {
		if g := t.capabilities[c]; g != nil {
			out = append(out, g)
		}
	}
	return out
}

// claim is the right to be a half-open breaker's one message. Nobody has it for longer
// than BreakerRules.Open, so none is lost with a message that is discarded, or an agent
// that is removed.
type claim struct {
	gate *breakerGate
	at   int64
}

// giveBack lets another message have it: this one came to no outcome.
func (c claim) giveBack() { c.gate.trial.CompareAndSwap(c.at, 0) }

// pass admits one message, or says how it is refused. A claim is to be told of the
// message's outcome, or given back.
func (g *breakerGate) pass(rules BreakerRules, now time.Time) (c claim, err error) {
	refuse := func(retry time.Duration) error {
		return &events.BreakerOpenError{Scope: g.scope, Stands: string(g.breaker.state), Retry: max(retry, time.Second)}
	}
	switch g.breaker.state {
	case BreakerHalfOpen:
		last, at := g.trial.Load(), now.UnixNano()
		waited := time.Duration(at - last)
		if last != 0 && waited >= 0 && waited < rules.Open { // a clock that went back keeps nobody waiting
			return claim{}, refuse(rules.Open - waited)
		}
		if !g.trial.CompareAndSwap(last, at) {
			return claim{}, refuse(rules.Open)
		}
		return claim{g, at}, nil
	case BreakerRecovering:
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.credit += g.breaker.share(now); g.credit < 1 {
			return claim{}, refuse(time.Second)
		}
		g.credit--
		return claim{}, nil
	}
	if due, ok := g.breaker.due(rules); ok {
		return claim{}, refuse(due.Sub(now))
	}
	return claim{}, refuse(rules.Open)
}

// passAll admits a message through all gates or none.
func passAll(list []*breakerGate, rules BreakerRules, now time.Time) (claims []claim, err error) {
	for _, trials := range []bool{false, true} { // a claim is taken only when nothing else refuses
		for _, g := range list {
			if (g.breaker.state == BreakerHalfOpen) != trials {
				continue
			}
			c, err := g.pass(rules, now)
			if err != nil {
				for _, c := range claims {
					c.giveBack()
				}
				return nil, err
			}
			if c.gate != nil {
				claims = append(claims, c)
			}
		}
	}
	return claims, nil
}

// count adds the outcome of a message that a recovering breaker had let through, and
// returns what was counted when that is too much, once.
func (g *breakerGate) count(rules BreakerRules, failed bool) (window, bool) {
	if g.breaker.state != BreakerRecovering {
		return window{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.window.add(failed)
	if cause, _, _ := g.window.verdict(rules); cause == "" || g.told {
		return window{}, false
	}
	g.told = true
	return g.window, true
}
