package http

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// statuses are those by which agents can be chosen.
func statuses() []string {
	return []string{"running", "suspended", "draining", "stopped", "failed"}
}

// bulkAgents does one action to all agents that a filter fits, and answers with what
// was done and a count. It is 200 even if some failed: the answer says which.
func (s *Server) bulkAgents(r *request) error {
	req, err := decodeBulk(r.body)
	if err != nil {
		return err
	}
	req.Caller = r.caller
	out, err := s.deps.Commands.Bulk(r.ctx, req)
	if err != nil {
		return err
	}
	if out.Position > 0 {
		r.reached(out.Position)
	}
	return r.json(http.StatusOK, out)
}

// decodeBulk reads {"action", "filter": {"all", "status", "priority", "labels"},
// "dry_run", "reason", "grace_period_seconds", "drain_messages"}.
func decodeBulk(body []byte) (actors.BulkRequest, error) {
	var f events.Faults
	o := readObject(body, &f)
	req := actors.BulkRequest{Action: actors.Action(o.text("action")), Drain: true, Grace: DefaultGrace}
	if !slices.Contains(actors.Actions(), req.Action) {
		f.Add("action", "must be one of %s, got %q", joined(actors.Actions()), clip(string(req.Action)))
	}
	in, _ := o.object("filter")
	req.Filter.All = in.flag("all")
	if req.Filter.Status = in.text("status"); req.Filter.Status != "" && !slices.Contains(statuses(), req.Filter.Status) {
		f.Add("filter.status", "must be one of %s", joined(statuses()))
	}
	req.Filter.Priority = givenPriority(in.text("priority"), &f)
	req.Filter.Labels = in.texts("labels")
	in.finish()
	if f.Err() == nil {
		f.Merge("filter", req.Filter.Validate())
	}
	req.DryRun = o.flag("dry_run")
	req.Reason = o.reason()
	if o.has("grace_period_seconds") {
		req.Grace = time.Duration(o.whole("grace_period_seconds", uint64(actors.MaxGrace/time.Second))) * time.Second
	}
	if o.has("drain_messages") {
		req.Drain = o.flag("drain_messages")
	}
	o.finish()
	return req, f.Err()
}

func joined[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return strings.Join(out, ", ")
}
