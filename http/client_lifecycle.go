package http

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// Suspend holds an agent still; reason may be empty.
func (c *Client) Suspend(ctx context.Context, ref, reason string) (projections.AgentView, error) {
	return c.change(ctx, ref, "/suspend", reason)
}

// Resume lets an agent that does not run go on as it was; reason may be empty.
func (c *Client) Resume(ctx context.Context, ref, reason string) (projections.AgentView, error) {
	return c.change(ctx, ref, "/resume", reason)
}

// Changes is what is to become of an agent. What is zero stays as it is.
type Changes struct {
	Wasm     []byte
	Limits   events.ResourceLimits
	Priority events.Priority
	Labels   events.Labels // all of them from now on
	Reason   string
}

// Update changes an agent and returns it whole.
func (c *Client) Update(ctx context.Context, ref string, ch Changes) (projections.AgentView, error) {
	var view projections.AgentView
	_, err := c.do(ctx, ch.call(ref, false), &view)
	return view, err
}

// TryUpdate tells what an update would make of messages that were handled.
func (c *Client) TryUpdate(ctx context.Context, ref string, ch Changes) (DryRun, error) {
	var out DryRun
	_, err := c.do(ctx, ch.call(ref, true), &out)
	return out, err
}

// call makes an update's request. A module travels as it is, without base64.
func (ch Changes) call(ref string, dry bool) call {
	in := call{method: http.MethodPut, path: agentPath(ref, ""), query: url.Values{}}
	if dry {
		in.query.Set("dry_run", "true")
	}
	if ch.Wasm == nil {
		in.media, in.body = typeJSON, ch.object()
		return in
	}
	in.media, in.body = typeWasm, ch.Wasm
	if ch.Priority != "" {
		in.query.Set("priority", string(ch.Priority))
	}
	if ch.Reason != "" {
		in.query.Set("reason", ch.Reason)
	}
	for _, k := range sortedKeys(ch.Labels) {
		in.query.Add("label", k+"="+ch.Labels[k])
	}
	setLimits(in.query, ch.Limits)
	return in
}

// object is the JSON form of changes without a module.
func (ch Changes) object() []byte {
	fields := map[string]any{}
	limits := map[string]uint64{}
	for name, v := range limitFields(ch.Limits) {
		if v > 0 {
			limits[name] = v
		}
	}
	if len(limits) > 0 {
		fields["resource_limits"] = limits
	}
	if ch.Priority != "" {
		fields["priority"] = ch.Priority
	}
	if ch.Labels != nil {
		fields["labels"] = ch.Labels
	}
	if ch.Reason != "" {
		fields["reason"] = ch.Reason
	}
	b, err := json.Marshal(fields)
	if err != nil { // strings and numbers: cannot fail
		panic(err)
	}
	return b
}

func limitFields(l events.ResourceLimits) map[string]uint64 {
	return map[string]uint64{
		"max_memory_bytes":      l.MaxMemoryBytes,
		"max_fuel":              uint64(l.MaxFuel),
		"max_execution_time_ms": l.MaxExecutionTimeMS,
	}
}

func setLimits(q url.Values, l events.ResourceLimits) {
	for name, v := range limitFields(l) {
		if v > 0 {
			q.Set(name, strconv.FormatUint(v, 10))
		}
	}
}

// Restart has an agent's guest begin anew and lets the agent run; reason may be
// empty.
func (c *Client) Restart(ctx context.Context, ref, reason string) (projections.AgentView, error) {
	return c.change(ctx, ref, "/restart", reason)
}

// RestartOnce is Restart under an Idempotency-Key of 1 to 255 bytes: repeated, for 24
// hours, it empties no memory again.
func (c *Client) RestartOnce(ctx context.Context, ref, reason, key string) (projections.AgentView, error) {
	if err := checkKey(key); err != nil { // no header at all would be a restart each time
		return projections.AgentView{}, err
	}
	return c.changeBy(ctx, call{method: http.MethodPost, path: agentPath(ref, "/restart"), key: key}, reason)
}

// Stopping says how an agent is to be stopped.
type Stopping struct {
	Reason string        // may be empty
	Grace  time.Duration // whole seconds, 0 to an hour
	Drain  bool          // whether what waits is worked off first
}

// Stop puts an agent out of service, and returns it as it then is: stopped, or
// draining for at most the grace, or about to, when its guest is busy.
func (c *Client) Stop(ctx context.Context, ref string, how Stopping) (StoppedAgent, error) {
	fields := map[string]any{"grace_period_seconds": int64(how.Grace / time.Second), "drain_messages": how.Drain}
	if how.Reason != "" {
		fields["reason"] = how.Reason
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return StoppedAgent{}, err
	}
	var out StoppedAgent
	_, err = c.do(ctx, call{method: http.MethodPost, path: agentPath(ref, "/stop"), media: typeJSON, body: b}, &out)
	return out, err
}

func (c *Client) change(ctx context.Context, ref, verb, why string) (projections.AgentView, error) {
	return c.changeBy(ctx, call{method: http.MethodPost, path: agentPath(ref, verb)}, why)
}

func (c *Client) changeBy(ctx context.Context, in call, why string) (projections.AgentView, error) {
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

// Bulk does one action to every agent that a filter fits. Agents that it failed for
// are no error: the result names them.
func (c *Client) Bulk(ctx context.Context, r actors.BulkRequest) (actors.BulkResult, error) {
	filter := map[string]any{}
	if r.Filter.All {
		filter["all"] = true
	}
	if r.Filter.Status != "" {
		filter["status"] = r.Filter.Status
	}
	if r.Filter.Priority != "" {
		filter["priority"] = r.Filter.Priority
	}
	if len(r.Filter.Labels) > 0 {
		filter["labels"] = r.Filter.Labels
	}
	fields := map[string]any{
		"action": r.Action, "filter": filter, "dry_run": r.DryRun,
		"grace_period_seconds": int64(r.Grace / time.Second), "drain_messages": r.Drain,
	}
	if r.Reason != "" {
		fields["reason"] = r.Reason
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return actors.BulkResult{}, err
	}
	var out actors.BulkResult
	_, err = c.do(ctx, call{method: http.MethodPost, path: "/agents/actions", media: typeJSON, body: b, wait: bulkTime}, &out)
	return out, err
}
