package http

import (
	"context"
	"net/http"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// Emergency stops all agents and lets them run again.
type Emergency interface {
	// StopAll returns when no guest runs. With r.Cluster the node shuts down
	// after the answer, unless the stop is refused, was lifted, or is not in the log: its
	// agents would run after the next start. Errors are those of actors.Gateway.StopAll.
	StopAll(ctx context.Context, r actors.StopAllRequest) (EmergencyStop, error)
	// LiftStop reports whether a stop was in force.
	LiftStop(ctx context.Context, c actors.Caller) (bool, error)
}

// EmergencyStop is what an emergency stop did on one node.
type EmergencyStop struct {
	Node      events.MemberID `json:"node"`
	Since     time.Time       `json:"since"`      // when the stop in force began
	Agents    int             `json:"agents"`     // deployed on the node
	Guests    int             `json:"guests"`     // that ran and were stopped; their messages wait
	GuestsUS  int64           `json:"guests_us"`  // until none ran
	Spilled   int             `json:"spilled"`    // messages kept that were in mailboxes
	Left      int             `json:"left"`       // messages in mailboxes still
	ElapsedUS int64           `json:"elapsed_us"` // until mailboxes were empty
	Dump      *actors.Dump    `json:"dump,omitempty"`
	DumpError string          `json:"dump_error,omitempty"` // why there is none; the agents are stopped all the same
	Shutdown  bool            `json:"shutdown"`             // the node ends now, and its agents stay stopped when it starts

	RecordError string `json:"record_error,omitempty"` // why the stop is not in the log: a restart ends it
}

// EmergencyLift says whether there was a stop to lift.
type EmergencyLift struct {
	Lifted bool `json:"lifted"`
}

// maxEmergency is how long an emergency stop may take beyond the common time: the
// dump of a large node.
const maxEmergency = 10 * time.Minute

// emergencyRoutes are answered however busy the server is, and before reads are.
func emergencyRoutes() []route {
	return []route{
		{method: http.MethodPost, path: base + "/emergency/stop", change: true, body: mayJSON, always: true, long: maxEmergency, handle: (*Server).stopAll},
		{method: http.MethodPost, path: base + "/emergency/lift", change: true, body: mayJSON, handle: (*Server).liftStop},
	}
}

func (s *Server) stopAll(r *request) error {
	var f events.Faults
	o := readObject(r.body, &f)
	in := actors.StopAllRequest{Caller: r.caller, Reason: o.reason(), Cluster: o.flag("cluster"), DumpTo: o.text("dump_to")}
	if o.flag("preserve_state") && in.DumpTo == "" {
		f.Add("dump_to", "must name a directory for the state to be preserved in")
	}
	o.finish()
	if err := f.Err(); err != nil {
		return err
	}
	out, err := s.deps.Emergency.StopAll(r.ctx, in)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) liftStop(r *request) error {
	if _, err := decodeReason(r.body); err != nil {
		return err
	}
	lifted, err := s.deps.Emergency.LiftStop(r.ctx, r.caller)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, EmergencyLift{Lifted: lifted})
}

// StopOrder asks for an emergency stop.
type StopOrder struct {
	Reason   string `json:"reason,omitempty"`
	Cluster  bool   `json:"cluster,omitempty"`        // shut the nodes down too
	Preserve bool   `json:"preserve_state,omitempty"` // needs DumpTo
	DumpTo   string `json:"dump_to,omitempty"`        // absolute, on the server, within security.dump_dirs
}

// EmergencyStop stops all agents and returns when no guest runs.
func (c *Client) EmergencyStop(ctx context.Context, in StopOrder) (EmergencyStop, error) {
	return order[EmergencyStop](ctx, c, "/emergency/stop", maxEmergency, in)
}

// EmergencyLift lets agents run again, and reports whether an emergency stop was in
// force.
func (c *Client) EmergencyLift(ctx context.Context) (bool, error) {
	out, err := order[EmergencyLift](ctx, c, "/emergency/lift", 0, struct{}{})
	return out.Lifted, err
}
