package http

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// Deployment is what a new agent is made of. Limits that are 0 take the
// server's defaults.
type Deployment struct {
	Name           string
	UniqueName     bool // refuse when a living agent has the name
	Wasm           []byte
	Limits         events.ResourceLimits
	Priority       events.Priority // empty: normal
	Labels         events.Labels
	IdempotencyKey string // empty: none
}

// Deploy makes an agent and returns it whole. The module travels as it is,
// without base64.
func (c *Client) Deploy(ctx context.Context, d Deployment) (projections.AgentView, error) {
	q := url.Values{"name": {d.Name}}
	if d.UniqueName {
		q.Set("unique_name", "true")
	}
	if d.Priority != "" {
		q.Set("priority", string(d.Priority))
	}
	for _, k := range sortedKeys(d.Labels) {
		q.Add("label", k+"="+d.Labels[k])
	}
	for name, v := range map[string]uint64{
		"max_memory_bytes":      d.Limits.MaxMemoryBytes,
		"max_fuel":              uint64(d.Limits.MaxFuel),
		"max_execution_time_ms": d.Limits.MaxExecutionTimeMS,
	} {
		if v > 0 {
			q.Set(name, strconv.FormatUint(v, 10))
		}
	}
	var view projections.AgentView
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/agents", query: q, media: typeWasm, body: d.Wasm, key: d.IdempotencyKey}, &view)
	return view, err
}

// Agents returns all agents in order of creation.
func (c *Client) Agents(ctx context.Context) ([]projections.AgentView, error) {
	var list []projections.AgentView
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/agents"}, &list)
	return list, err
}

// AgentPage returns at most limit agents (1 to MaxPageAgents) from cursor on;
// "" is the first page.
func (c *Client) AgentPage(ctx context.Context, cursor string, limit int) (projections.Page, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var page projections.Page
	h, err := c.do(ctx, call{method: http.MethodGet, path: "/agents", query: q}, &page.Agents)
	if err != nil {
		return projections.Page{}, err
	}
	page.Total, _ = strconv.Atoi(h.Get(HeaderTotal))
	if next, ok := nextPage(h); ok {
		page.Next = next.Get("cursor")
	}
	return page, nil
}

// Agent returns the agent that an id, a unique prefix of one, or a name means.
func (c *Client) Agent(ctx context.Context, ref string) (projections.AgentView, error) {
	var view projections.AgentView
	_, err := c.do(ctx, call{method: http.MethodGet, path: agentPath(ref, "")}, &view)
	return view, err
}

// Suspend holds an agent still; reason may be empty.
func (c *Client) Suspend(ctx context.Context, ref, reason string) (projections.AgentView, error) {
	return c.change(ctx, ref, "/suspend", reason)
}

// Resume lets an agent that does not run go on as it was; reason may be empty.
func (c *Client) Resume(ctx context.Context, ref, reason string) (projections.AgentView, error) {
	return c.change(ctx, ref, "/resume", reason)
}

// Restart has an agent's guest begin anew and lets the agent run; reason may be
// empty.
func (c *Client) Restart(ctx context.Context, ref, reason string) (projections.AgentView, error) {
	return c.change(ctx, ref, "/restart", reason)
}

// Stopping says how an agent is to be stopped.
type Stopping struct {
	Reason string        // may be empty
	Grace  time.Duration // whole seconds, 0 to an hour
	Drain  bool          // whether what waits is worked off first
}

// Stop puts an agent out of service, and returns it as it then is: stopped, or
// draining for at most the grace.
func (c *Client) Stop(ctx context.Context, ref string, how Stopping) (projections.AgentView, error) {
	fields := map[string]any{"grace_period_seconds": int64(how.Grace / time.Second), "drain_messages": how.Drain}
	if how.Reason != "" {
		fields["reason"] = how.Reason
	}
	return c.post(ctx, agentPath(ref, "/stop"), fields)
}

// post sends a JSON object and returns the agent that is the answer.
func (c *Client) post(ctx context.Context, path string, fields any) (projections.AgentView, error) {
	b, err := json.Marshal(fields)
	if err != nil {
		return projections.AgentView{}, err
	}
	var view projections.AgentView
	_, err = c.do(ctx, call{method: http.MethodPost, path: path, media: typeJSON, body: b}, &view)
	return view, err
}

func (c *Client) change(ctx context.Context, ref, verb, why string) (projections.AgentView, error) {
	in := call{method: http.MethodPost, path: agentPath(ref, verb)}
	if why != "" {
		b, err := json.Marshal(map[string]string{"reason": why})
		if err != nil {
			return projections.AgentView{}, err
		}
		in.media, in.body = typeJSON, b
	}
	var view projections.AgentView
	_, err := c.do(ctx, in, &view)
	return view, err
}

// Remove ends an agent. Its history stays.
func (c *Client) Remove(ctx context.Context, ref string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: agentPath(ref, "")}, nil)
	return err
}

// Module returns the bytes that an agent was deployed with.
func (c *Client) Module(ctx context.Context, ref string) ([]byte, error) {
	var wasm []byte
	_, err := c.do(ctx, call{method: http.MethodGet, path: agentPath(ref, "/module")}, &wasm)
	return wasm, err
}

// EventQuery says which part of an agent's history to read. The zero value is
// the first PageEvents events.
type EventQuery struct {
	From      *events.Revision // first to return; nil is the oldest, or backwards the newest
	Direction events.Direction // Backwards begins at the newest event
	Limit     int              // 1 to MaxPageEvents; 0 is PageEvents
}

// Events returns a page of an agent's history, and the query of the next page
// when there is one.
func (c *Client) Events(ctx context.Context, ref string, in EventQuery) ([]StoredEvent, *EventQuery, error) {
	q := url.Values{}
	if in.From != nil {
		q.Set("from", strconv.FormatUint(uint64(*in.From), 10))
	}
	if in.Limit > 0 {
		q.Set("limit", strconv.Itoa(in.Limit))
	}
	if in.Direction == events.Backwards {
		q.Set("direction", "backwards")
	}
	var page []StoredEvent
	h, err := c.do(ctx, call{method: http.MethodGet, path: agentPath(ref, "/events"), query: q}, &page)
	if err != nil {
		return nil, nil, err
	}
	link, ok := nextPage(h)
	if !ok {
		return page, nil, nil
	}
	from, err := strconv.ParseUint(link.Get("from"), 10, 64)
	if err != nil {
		return page, nil, nil
	}
	rev := events.Revision(from)
	return page, &EventQuery{From: &rev, Direction: in.Direction, Limit: in.Limit}, nil
}

// nextPage reads the query of the Link that the server wrote.
func nextPage(h http.Header) (url.Values, bool) {
	target, ok := parseLink(h.Get("Link"))
	if !ok {
		return nil, false
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, false
	}
	return u.Query(), true
}

// parseLink reads the one form of Link header that the server writes:
// <target>; rel="next".
func parseLink(h string) (target string, ok bool) {
	rest, ok := strings.CutPrefix(h, "<")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, `>; rel="next"`)
}
