package http

import (
	"net/http"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/replay"
)

// updateQuery names the parameters of an update; all but dry_run stand beside a body
// that is the module itself.
func updateQuery() []string {
	return []string{"dry_run", "priority", "label", "max_memory_bytes", "max_fuel", "max_execution_time_ms", "reason"}
}

// DryRun is the answer to an update that was only tried.
type DryRun struct {
	DryRun bool `json:"dry_run"` // true
	replay.Trial
}

// updateAgent changes an agent's module, limits, priority and labels, and answers
// with the whole of it; with dry_run it changes nothing and tells what would differ.
func (s *Server) updateAgent(r *request) error {
	dry, err := r.flag("dry_run")
	if err != nil {
		return err
	}
	req, err := s.cfg.decodeUpdate(r)
	if err != nil {
		return err
	}
	id, err := r.agent()
	if err != nil {
		return err
	}
	req.Caller, req.Agent = r.caller, id
	if dry {
		trial, err := s.deps.Commands.TryUpdate(r.ctx, req)
		if err != nil {
			return err
		}
		return r.json(http.StatusOK, DryRun{true, trial})
	}
	at, err := s.deps.Commands.Update(r.ctx, req)
	if err != nil {
		return err
	}
	r.reached(at)
	view, err := r.viewOf(id)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, shown(view))
}

// decodeUpdate reads either form of an update and reports all its faults. What is
// left out stays as it is.
func (c Config) decodeUpdate(r *request) (actors.UpdateRequest, error) {
	var (
		f   events.Faults
		req actors.UpdateRequest
	)
	if r.media == typeWasm {
		c.updateOfModule(r, &req, &f)
	} else {
		c.updateOfObject(r, &req, &f)
	}
	if err := f.Err(); err != nil {
		return actors.UpdateRequest{}, err
	}
	switch {
	case len(req.Wasm) > c.MaxModuleBytes:
		return actors.UpdateRequest{}, refuse(CodeTooLarge, "wasm_module must be at most %d bytes, got %d", c.MaxModuleBytes, len(req.Wasm))
	case req.Wasm == nil && req.Limits == (events.ResourceLimits{}) && req.Priority == "" && req.Labels == nil:
		return actors.UpdateRequest{}, events.Invalid("body", "names nothing to change: wasm_module, resource_limits, priority or labels")
	}
	return req, nil
}

func (c Config) updateOfObject(r *request, req *actors.UpdateRequest, f *events.Faults) {
	for _, k := range sortedKeys(r.query) {
		if k != "dry_run" {
			f.Add(clip(k), "goes into the body of a JSON update, not into the query")
		}
	}
	o := readObject(r.body, f)
	if o.has("wasm_module") {
		if req.Wasm = o.base64("wasm_module"); string(o.members["wasm_module"]) == `""` {
			f.Add("wasm_module", "must not be empty")
		}
	}
	req.Limits = c.limits(o, events.ResourceLimits{})
	req.Priority = givenPriority(o.text("priority"), f)
	if o.has("labels") {
		labels := events.Labels(o.texts("labels"))
		f.Merge("labels", labels.Validate())
		req.Labels = &labels
	}
	req.Reason = o.reason()
	o.finish()
}

func (c Config) updateOfModule(r *request, req *actors.UpdateRequest, f *events.Faults) {
	q := r.query
	if req.Wasm = r.body; len(r.body) == 0 {
		f.Add("wasm_module", "must not be empty")
	}
	req.Limits = c.limitsOfQuery(q, &object{faults: f}, events.ResourceLimits{})
	req.Priority = givenPriority(q.Get("priority"), f)
	if labels := labelsOfQuery(q, f); labels != nil {
		f.Merge("label", labels.Validate())
		req.Labels = &labels
	}
	if req.Reason = q.Get("reason"); len(req.Reason) > maxReason {
		f.Add("reason", "must be at most %d bytes, got %d", maxReason, len(req.Reason))
	}
}

// givenPriority reads a priority that may be left out; empty then.
func givenPriority(text string, f *events.Faults) events.Priority {
	if text == "" {
		return ""
	}
	p, err := events.ParsePriority(text)
	f.Merge("priority", err)
	return p
}

// flag reads true or false of the query; absent is false.
func (r *request) flag(name string) (bool, error) {
	switch v := r.query.Get(name); {
	case v == "true":
		return true, nil
	case v == "false" || !r.query.Has(name):
		return false, nil
	}
	return false, events.Invalid(name, "must be true or false")
}
