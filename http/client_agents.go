package http

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

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
	setLimits(q, d.Limits)
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
	return page[StoredEvent](ctx, c, agentPath(ref, "/events"), in, in.values())
}

func (in EventQuery) values() url.Values {
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
	return q
}

// page reads what a query that was made of in says, and makes the next page's of the
// server's Link.
func page[T any](ctx context.Context, c *Client, path string, in EventQuery, q url.Values) ([]T, *EventQuery, error) {
	var list []T
	h, err := c.do(ctx, call{method: http.MethodGet, path: path, query: q}, &list)
	if err != nil {
		return nil, nil, err
	}
	link, ok := nextPage(h)
	if !ok {
		return list, nil, nil
	}
	from, err := strconv.ParseUint(link.Get("from"), 10, 64)
	if err != nil {
		return list, nil, nil
	}
	rev := events.Revision(from)
	return list, &EventQuery{From: &rev, Direction: in.Direction, Limit: in.Limit}, nil
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
