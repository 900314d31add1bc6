package http

import (
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// deployQuery names the parameters of a deployment whose body is the module
// itself.
func deployQuery() []string {
	return []string{"name", "unique_name", "priority", "label", "max_memory_bytes", "max_fuel", "max_execution_time_ms"}
}

// deploy makes an agent of a module and answers with the whole of it.
func (s *Server) deploy(r *request) error {
	var (
		req actors.DeployRequest
		err error
	)
	if r.media == typeWasm {
		req, err = s.cfg.deployOfModule(r)
	} else {
		req, err = s.cfg.decodeDeploy(r.body)
		if err == nil && len(r.query) > 0 {
			err = events.Invalid(clip(sortedKeys(r.query)[0]), "goes into the body of a JSON deployment, not into the query")
		}
	}
	if err != nil {
		return err
	}
	req.Caller = r.caller
	done, err := s.deps.Commands.Deploy(r.ctx, req)
	if err != nil {
		return err
	}
	r.c.Set("Location", base+"/agents/"+done.ID.String())
	fresh := r.reached(done.Position)
	view, err := r.viewOf(done.ID)
	if err != nil {
		if fresh { // it was removed since, by someone else
			return err
		}
		view = announced(done.ID, req)
	}
	return r.json(http.StatusCreated, shown(view))
}

// announced is an agent that is durable and that reads do not show yet.
func announced(id events.AgentID, req actors.DeployRequest) projections.AgentView {
	now := time.Now().UTC()
	return projections.AgentView{
		ID: id, Name: req.Name, Status: "running",
		Module: events.HashModule(req.Wasm), ModuleSize: len(req.Wasm),
		Limits: req.Limits, Priority: req.Priority, Labels: req.Labels,
		CreatedAt: now, UpdatedAt: now,
	}
}

// decodeDeploy reads a JSON deployment and reports all its faults.
func (c Config) decodeDeploy(body []byte) (actors.DeployRequest, error) {
	var (
		f   events.Faults
		req actors.DeployRequest
		err error
	)
	o := readObject(body, &f)
	if raw, ok := o.members["name"]; !ok || typeOf(raw) == "a string" {
		req.Name, err = events.CleanName(o.text("name"))
		f.Merge("name", err)
	} else {
		o.text("name") // its fault is that it is no string, not that it is empty
	}
	req.UniqueName = o.flag("unique_name")
	if raw, ok := o.members["wasm_module"]; ok && (typeOf(raw) != "a string" || string(raw) != `""`) {
		req.Wasm = o.base64("wasm_module")
	} else {
		o.text("wasm_module")
		f.Add("wasm_module", "must not be empty")
	}
	req.Limits = c.limits(o, c.Defaults)
	req.Priority, err = events.ParsePriority(o.text("priority"))
	f.Merge("priority", err)
	req.Labels = o.texts("labels")
	f.Merge("labels", req.Labels.Validate())
	o.finish()
	return c.checkDeploy(req, &f)
}

// limits reads resource_limits; those left out are as in def.
func (c Config) limits(o *object, def events.ResourceLimits) events.ResourceLimits {
	in, _ := o.object("resource_limits")
	defer in.finish()
	return events.ResourceLimits{
		MaxMemoryBytes:     in.limit("max_memory_bytes", def.MaxMemoryBytes, c.Ceilings.MaxMemoryBytes),
		MaxFuel:            events.Fuel(in.limit("max_fuel", uint64(def.MaxFuel), uint64(c.Ceilings.MaxFuel))),
		MaxExecutionTimeMS: in.limit("max_execution_time_ms", def.MaxExecutionTimeMS, c.Ceilings.MaxExecutionTimeMS),
	}
}

// limitsOfQuery reads the limits that stand in a query; those left out are as in def.
func (c Config) limitsOfQuery(q url.Values, o *object, def events.ResourceLimits) events.ResourceLimits {
	limit := func(name string, def, ceiling uint64) uint64 {
		if !q.Has(name) {
			return def
		}
		return o.checkLimit(name, q.Get(name), def, ceiling)
	}
	return events.ResourceLimits{
		MaxMemoryBytes:     limit("max_memory_bytes", def.MaxMemoryBytes, c.Ceilings.MaxMemoryBytes),
		MaxFuel:            events.Fuel(limit("max_fuel", uint64(def.MaxFuel), uint64(c.Ceilings.MaxFuel))),
		MaxExecutionTimeMS: limit("max_execution_time_ms", def.MaxExecutionTimeMS, c.Ceilings.MaxExecutionTimeMS),
	}
}

// labelsOfQuery reads label=key=value, as often as it comes; nil without any.
func labelsOfQuery(q url.Values, f *events.Faults) events.Labels {
	var labels events.Labels
	for _, pair := range q["label"] {
		key, value, ok := strings.Cut(pair, "=")
		if !utf8.ValidString(pair) { // the log would keep another
			f.Add("label", "must be UTF-8, got %q", clip(pair))
			continue
		}
		if !ok {
			f.Add("label", "must be key=value, got %q", clip(pair))
			continue
		}
		if labels == nil {
			labels = events.Labels{}
		}
		labels[key] = value
	}
	return labels
}

// deployOfModule reads a deployment whose body is the module and whose other
// fields are in the query; labels come as label=key=value.
func (c Config) deployOfModule(r *request) (actors.DeployRequest, error) {
	var (
		f   events.Faults
		err error
		o   = object{faults: &f}
		q   = r.query
		req = actors.DeployRequest{Wasm: r.body, UniqueName: q.Get("unique_name") == "true"}
	)
	req.Name, err = events.CleanName(q.Get("name"))
	f.Merge("name", err)
	if v := q.Get("unique_name"); q.Has("unique_name") && v != "true" && v != "false" {
		f.Add("unique_name", "must be true or false")
	}
	if len(r.body) == 0 {
		f.Add("wasm_module", "must not be empty")
	}
	req.Limits = c.limitsOfQuery(q, &o, c.Defaults)
	req.Priority, err = events.ParsePriority(q.Get("priority"))
	f.Merge("priority", err)
	req.Labels = labelsOfQuery(q, &f)
	f.Merge("label", req.Labels.Validate())
	return c.checkDeploy(req, &f)
}

// checkDeploy reports the faults found so far, or that the module is too large.
func (c Config) checkDeploy(req actors.DeployRequest, f *events.Faults) (actors.DeployRequest, error) {
	if err := f.Err(); err != nil {
		return actors.DeployRequest{}, err
	}
	if len(req.Wasm) > c.MaxModuleBytes {
		return actors.DeployRequest{}, refuse(CodeTooLarge, "wasm_module must be at most %d bytes, got %d", c.MaxModuleBytes, len(req.Wasm))
	}
	return req, nil
}
