package events

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrBreakerOpen is a message that was not admitted because a circuit breaker holds
// its receiver off.
var ErrBreakerOpen = errors.New("a circuit breaker is open")

// BreakerOpenError says which breaker, and when to come again. It is ErrBreakerOpen.
type BreakerOpenError struct {
	Scope  BreakerScope
	Stands string        // "half-open" or "recovering" for one that lets some through; else it is open
	Retry  time.Duration // until it may admit messages
}

// Error implements error.
func (e *BreakerOpenError) Error() string {
	how := "open"
	switch e.Stands {
	case "half-open":
		how = "half-open: one message is tried, and this is not it"
	case "recovering":
		how = "recovering: it lets a share of the messages through, and not this one"
	}
	return fmt.Sprintf("the circuit breaker %s is %s", e.Scope, how)
}

// Is makes errors.Is(err, ErrBreakerOpen) true.
func (e *BreakerOpenError) Is(target error) bool { return target == ErrBreakerOpen }

// BreakerScope is what a circuit breaker holds messages off: "all", or a kind and a
// name, such as "agent-<uuid>". It is what stands behind "breaker-" in the stream's
// name.
type BreakerScope string

// BreakerKind is the kind of a scope.
type BreakerKind string

// The kinds of scopes.
const (
	BreakerAll        BreakerKind = "all"        // every agent
	BreakerNode       BreakerKind = "node"       // every agent of a node
	BreakerAgent      BreakerKind = "agent"      // one agent
	BreakerCapability BreakerKind = "capability" // every agent that offers it
)

// BreakerKinds returns all kinds.
func BreakerKinds() []BreakerKind {
	return []BreakerKind{BreakerAll, BreakerNode, BreakerAgent, BreakerCapability}
}

// ScopeAll is the breaker of all agents.
const ScopeAll = BreakerScope(BreakerAll)

// ScopeOf is the breaker of one agent, node or capability.
func ScopeOf(kind BreakerKind, name string) BreakerScope {
	return BreakerScope(string(kind) + "-" + name)
}

// AgentScope is the breaker of one agent.
func AgentScope(id AgentID) BreakerScope { return ScopeOf(BreakerAgent, id.String()) }

// Split returns a scope's kind and name; the name of "all" is empty.
func (s BreakerScope) Split() (BreakerKind, string) {
	kind, name, _ := strings.Cut(string(s), "-")
	return BreakerKind(kind), name
}

// Validate reports what is wrong with a scope, as an *InvalidError for field "scope".
func (s BreakerScope) Validate() error {
	kind, name := s.Split()
	switch kind {
	case BreakerAll:
		if s != ScopeAll {
			return Invalid("scope", "all has no name")
		}
		return nil
	case BreakerAgent:
		if _, err := ParseAgentID(name); err != nil {
			return Invalid("scope", "must name an agent by its id")
		}
		return nil
	case BreakerNode, BreakerCapability:
		if name == "" || len(name) > MaxFieldLength {
			return Invalidf("scope", "must have a name of 1 to %d bytes", MaxFieldLength)
		}
		return BreakerStream(s).Validate()
	}
	return Invalidf("scope", "must be all, or begin with agent-, node- or capability-, got %.64q", string(s))
}
