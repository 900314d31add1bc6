package http

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Queue returns what waits on each node.
func (c *Client) Queue(ctx context.Context) ([]NodeQueue, error) {
	return read[[]NodeQueue](ctx, c, "/queue", nil)
}

// DrainQueue stops admission of messages for up to timeout (at most MaxDrain) and
// returns when what waits is worked off, or when the time is over. With discard, what
// is left then becomes dead letters.
func (c *Client) DrainQueue(ctx context.Context, timeout time.Duration, discard bool) (DrainResult, error) {
	return order[DrainResult](ctx, c, "/queue/drain", timeout, map[string]any{"timeout": timeout.String(), "discard": discard})
}

// CancelDrain ends the drain that is under way, whoever began it, and reports whether
// there was one. Messages are admitted again then.
func (c *Client) CancelDrain(ctx context.Context) (bool, error) {
	var out cancelledDrain
	_, err := c.do(ctx, call{method: http.MethodDelete, path: "/queue/drain"}, &out)
	return out.Cancelled, err
}

// SlowAgents returns the agents whose mean or 99th percentile is at or above
// threshold, the slowest first.
func (c *Client) SlowAgents(ctx context.Context, threshold time.Duration) ([]SlowAgent, error) {
	return read[[]SlowAgent](ctx, c, "/slow-agents", url.Values{"threshold": {threshold.String()}})
}

// Resources returns what each node uses.
func (c *Client) Resources(ctx context.Context) ([]NodeResources, error) {
	return read[[]NodeResources](ctx, c, "/resources", nil)
}

// Memory returns each node's memory.
func (c *Client) Memory(ctx context.Context) ([]NodeMemory, error) {
	return read[[]NodeMemory](ctx, c, "/memory", nil)
}

// CollectMemory has each node give back memory; with aggressive, idle agents
// hibernate and compiled code that no agent uses is dropped.
func (c *Client) CollectMemory(ctx context.Context, aggressive bool) ([]MemoryCollected, error) {
	return order[[]MemoryCollected](ctx, c, "/memory/gc", maxCollect, map[string]any{"aggressive": aggressive})
}

// Performance returns what was measured within the last window, at most MaxWindow.
func (c *Client) Performance(ctx context.Context, window time.Duration) ([]Measure, error) {
	return read[[]Measure](ctx, c, "/cluster/performance", url.Values{"window": {window.String()}})
}

// Members returns the nodes of the cluster.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	return read[[]Member](ctx, c, "/cluster/members", nil)
}

// ClusterStatus returns how the cluster stands.
func (c *Client) ClusterStatus(ctx context.Context) (ClusterStatus, error) {
	return read[ClusterStatus](ctx, c, "/cluster/status", nil)
}

// read gets what a path has.
func read[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	var out T
	_, err := c.do(ctx, call{method: http.MethodGet, path: path, query: q}, &out)
	return out, err
}

// order posts a call that may take as long as wait, beside the client's own time.
func order[T any](ctx context.Context, c *Client, path string, wait time.Duration, in any) (T, error) {
	var out T
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	_, err = c.do(ctx, call{method: http.MethodPost, path: path, media: typeJSON, body: body, wait: wait}, &out)
	return out, err
}
