package http

import (
	"context"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// Breakers shows and moves circuit breakers.
type Breakers interface {
	// Breakers returns those that are not closed, in order of their scopes.
	Breakers() []actors.BreakerView
	// OrderBreaker opens or resets some and returns how they stand. Errors are
	// those of actors.Gateway.OrderBreaker.
	OrderBreaker(ctx context.Context, r actors.BreakerRequest) ([]actors.BreakerView, error)
}

// Breaker is one circuit breaker.
type Breaker struct {
	Scope    events.BreakerScope `json:"scope"`
	Kind     events.BreakerKind  `json:"kind"`
	Name     string              `json:"name"`             // of the node or capability; of an agent its name
	Agent    *events.AgentID     `json:"agent,omitempty"`  // for kind agent
	State    actors.BreakerState `json:"state"`            // open, half-open, recovering; closed ones are not listed, but for all
	Since    *time.Time          `json:"since,omitempty"`  // absent for one that never moved
	Until    *time.Time          `json:"until,omitempty"`  // when it moves by itself
	Admitted float64             `json:"admitted_percent"` // of messages, 0 to 100
	Forced   bool                `json:"forced"`           // opened by an operator; stays until it is reset
	Reason   string              `json:"reason,omitempty"` // the operator's
	Failures int                 `json:"failures,omitempty"`
	Of       int                 `json:"of,omitempty"`      // outcomes, of which failures opened it
	Storm    *Storm              `json:"storm,omitempty"`   // that opened it: of a storm all outcomes failed
	Warning  string              `json:"warning,omitempty"` // why it holds nothing back
}

// Storm is many agents that fail for one message.
type Storm struct {
	Message        events.MessageID `json:"message_id"`      // that all the failures came of
	ConversationID string           `json:"conversation_id"` // of the first of them
}

// defaultReset is how long a gradual reset takes unless it is said.
const defaultReset = 10 * time.Minute

func breakerRoutes() []route {
	return []route{
		{method: http.MethodGet, path: base + "/circuit-breakers", handle: (*Server).listBreakers},
		{method: http.MethodPost, path: base + "/circuit-breakers", change: true, body: mustJSON, handle: (*Server).orderBreaker},
	}
}

func (s *Server) listBreakers(r *request) error {
	return r.json(http.StatusOK, s.shownBreakers(s.deps.Breakers.Breakers()))
}

// orderBreaker opens or resets breakers and answers with all of them.
func (s *Server) orderBreaker(r *request) error {
	in, err := s.decodeBreakerOrder(r.body)
	if err != nil {
		return err
	}
	in.Caller = r.caller
	list, err := s.deps.Breakers.OrderBreaker(r.ctx, in)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, s.shownBreakers(list))
}

// decodeBreakerOrder reads {action, scope, name, reason, gradual, duration}.
func (s *Server) decodeBreakerOrder(body []byte) (actors.BreakerRequest, error) {
	var (
		f  events.Faults
		in actors.BreakerRequest
	)
	o := readObject(body, &f)
	switch action := o.text("action"); action {
	case "activate", "reset":
		in.Activate = action == "activate"
	default:
		f.Add("action", "must be activate or reset, got %q", clip(action))
	}
	kind, name := o.text("scope"), o.text("name")
	in.Reason = o.text("reason")
	in.Over = o.resetTime(in.Activate)
	o.finish()
	if err := f.Err(); err != nil {
		return in, err
	}
	var err error
	in.Scope, err = s.breakerScope(events.BreakerKind(kind), name, in.Activate)
	return in, err
}

// resetTime reads how long a reset takes, from gradual and duration; 0 is at once.
func (o *object) resetTime(activate bool) time.Duration {
	gradual, over := o.flag("gradual"), o.duration("duration", defaultReset, actors.MaxReset)
	switch timed := o.has("duration"); {
	case activate && gradual:
		o.faults.Add("gradual", "is of a reset, and not taken to activate")
	case activate && timed:
		o.faults.Add("duration", "is of a gradual reset, and not taken to activate")
	case timed && !gradual:
		o.faults.Add("gradual", "must be true for a reset with a duration")
	case over < actors.MinReset:
		o.faults.Add("duration", "must be %s to %s", actors.MinReset, actors.MaxReset)
	case gradual:
		return over
	}
	return 0
}

// breakerScope resolves an agent's name. To reset, none means every breaker.
func (s *Server) breakerScope(kind events.BreakerKind, name string, needed bool) (events.BreakerScope, error) {
	switch kind {
	case "":
		if needed || name != "" {
			return "", events.Invalid("scope", "must be all, node, agent or capability")
		}
		return "", nil
	case events.BreakerAll:
		if name != "" {
			return "", events.Invalid("name", "is not taken by scope all")
		}
		return events.ScopeAll, nil
	case events.BreakerAgent:
		if name == "" || len(name) > maxRef {
			return "", events.Invalid("name", "must be an agent's id, a unique prefix of one, or a name")
		}
		return s.agentScope(name, needed)
	case events.BreakerNode, events.BreakerCapability:
		scope := events.ScopeOf(kind, name)
		if err := scope.Validate(); err != nil || !needed && s.isListed(scope) { // whatever it is called, it was opened
			return scope, err
		}
		return scope, s.checkScope(kind, name, needed)
	}
	return "", events.Invalidf("scope", "must be all, node, agent or capability, got %q", clip(string(kind)))
}

// agentScope resolves an agent's name. A breaker that is listed by the id of an agent which
// is no more can be reset by that.
func (s *Server) agentScope(name string, activate bool) (events.BreakerScope, error) {
	if scope := events.ScopeOf(events.BreakerAgent, name); !activate && s.isListed(scope) {
		return scope, nil
	}
	id, err := s.deps.Agents.Resolve(name)
	return events.AgentScope(id), err
}

// checkScope refuses the breaker of a node that is not, or of a capability that none can
// have: who mistypes one would hold nothing back and be told that it is open. A capability
// that nobody offers now may have its breaker opened, and none that is closed reset.
func (s *Server) checkScope(kind events.BreakerKind, name string, activate bool) error {
	switch {
	case kind == events.BreakerNode && !s.isMember(name):
		return refuse(CodeNodeNotFound, "there is no node %q", clip(name))
	case kind == events.BreakerCapability && events.CheckCapability(name) != nil:
		return events.Invalidf("name", "must be that of a capability, 1 to %d letters, digits and . _ - /, got %q", events.MaxCapabilityLength, clip(name))
	case kind == events.BreakerCapability && !activate && !s.isOffered(name):
		return refuse(CodeBreakerNotFound, "no circuit breaker of a capability %q is open, and no agent offers it", clip(name))
	}
	return nil
}

func (s *Server) isMember(name string) bool {
	return slices.ContainsFunc(s.deps.Operations.Members(), func(m Member) bool { return string(m.ID) == name })
}

// isOffered reports whether a message to a capability would reach somebody.
func (s *Server) isOffered(capability string) bool {
	_, err := s.deps.Agents.ResolveFor(events.CapabilityPrefix+capability, "")
	return err == nil
}

// idle says why a breaker holds nothing back, or nothing.
func (s *Server) idle(b Breaker) string {
	switch {
	case b.Kind == events.BreakerNode && !s.isMember(b.Name):
		return "there is no such node: it holds nothing back"
	case b.Kind == events.BreakerCapability && !s.isOffered(b.Name):
		return "no agent that runs or is suspended offers it: it holds nothing back"
	}
	return ""
}

// isListed reports whether a breaker is not closed.
func (s *Server) isListed(scope events.BreakerScope) bool {
	return slices.ContainsFunc(s.deps.Breakers.Breakers(), func(v actors.BreakerView) bool { return v.Scope == scope })
}

// shownBreakers are breakers as they are written: the one of all agents comes first,
// closed or not, so that an empty list is not what an operator has to read.
func (s *Server) shownBreakers(list []actors.BreakerView) []Breaker {
	out := []Breaker{{Scope: events.ScopeAll, Kind: events.BreakerAll, State: actors.BreakerClosed, Admitted: 100}}
	for _, v := range list {
		b := Breaker{Scope: v.Scope, State: v.State, Admitted: math.Round(v.Admitted*1000) / 10, Forced: v.Forced, Reason: v.Reason, Failures: v.Failures, Of: v.Of}
		if v.Storm != (actors.StormRef{}) {
			b.Storm = &Storm{v.Storm.Ancestor, v.Storm.Conversation}
		}
		b.Kind, b.Name = v.Scope.Split()
		if !v.Since.IsZero() {
			b.Since = &v.Since
		}
		if !v.Until.IsZero() {
			b.Until = &v.Until
		}
		if id, err := events.ParseAgentID(b.Name); err == nil && b.Kind == events.BreakerAgent {
			b.Agent = &id
			if view, ok := s.deps.Agents.Get(id); ok {
				b.Name = view.Name
			}
		}
		b.Warning = s.idle(b)
		if v.Scope == events.ScopeAll {
			out[0] = b
			continue
		}
		out = append(out, b)
	}
	return out
}

// BreakerOrder asks for circuit breakers to be opened or reset.
type BreakerOrder struct {
	Action   string             `json:"action"`             // activate or reset
	Scope    events.BreakerKind `json:"scope,omitempty"`    // empty, to reset: every breaker
	Name     string             `json:"name,omitempty"`     // of the agent, node or capability
	Reason   string             `json:"reason,omitempty"`   // to activate
	Gradual  bool               `json:"gradual,omitempty"`  // to reset
	Duration string             `json:"duration,omitempty"` // of a gradual reset, such as 10m
}

// Breakers returns the circuit breaker of all agents, and those that are not closed.
func (c *Client) Breakers(ctx context.Context) ([]Breaker, error) {
	return read[[]Breaker](ctx, c, "/circuit-breakers", nil)
}

// OrderBreaker opens or resets circuit breakers, and returns how they stand.
func (c *Client) OrderBreaker(ctx context.Context, in BreakerOrder) ([]Breaker, error) {
	return order[[]Breaker](ctx, c, "/circuit-breakers", 0, in)
}
