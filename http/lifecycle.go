package http

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

func (s *Server) suspendAgent(r *request) error { return r.changeAgent(s.deps.Commands.Suspend) }

func (s *Server) resumeAgent(r *request) error { return r.changeAgent(s.deps.Commands.Resume) }

func (s *Server) restartAgent(r *request) error { return r.changeAgent(s.deps.Commands.Restart) }

// StoppedAgent is an agent that was told to stop, as it then is.
type StoppedAgent struct {
	projections.AgentView
	Requested bool `json:"stop_requested,omitempty"` // the stop waits for the guest, and is not durable yet
}

// stopAgent answers with an agent that is stopped or draining when the stop is durable,
// and with 202 when its guest keeps that waiting for longer than stopPatience.
func (s *Server) stopAgent(r *request) error {
	req, err := decodeStop(r.body)
	if err != nil {
		return err
	}
	id, err := r.agent()
	if err != nil {
		return err
	}
	req.Caller, req.Agent, req.Patience = r.caller, id, stopPatience
	done, err := s.deps.Commands.Stop(r.ctx, req)
	if err != nil {
		return err
	}
	if !done.Waits {
		return r.changed(id, done.Position)
	}
	view, err := r.viewOf(id)
	if err != nil {
		return err
	}
	return r.json(http.StatusAccepted, StoppedAgent{AgentView: shown(view), Requested: true})
}

// decodeStop reads {"reason", "grace_period_seconds", "drain_messages"}, each of
// which may be left out.
func decodeStop(body []byte) (actors.StopRequest, error) {
	var f events.Faults
	o := readObject(body, &f)
	req := actors.StopRequest{Drain: true, Grace: DefaultGrace}
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

type changeFunc func(context.Context, actors.Command) (events.Position, error)

// changeAgent does one lifecycle change whose body is at most a reason, and answers
// with the agent after it.
func (r *request) changeAgent(change changeFunc) error {
	reason, err := decodeReason(r.body)
	if err != nil {
		return err
	}
	return r.changeWith(func(ctx context.Context, c actors.Command) (events.Position, error) {
		c.Reason = reason
		return change(ctx, c)
	})
}

// changeWith does one change of the path's agent and answers with it.
func (r *request) changeWith(change changeFunc) error {
	id, err := r.agent()
	if err != nil {
		return err
	}
	at, err := change(r.ctx, actors.Command{Caller: r.caller, Agent: id})
	if err != nil {
		return err
	}
	return r.changed(id, at)
}

// changed answers with an agent as it is after a change.
func (r *request) changed(id events.AgentID, at events.Position) error {
	r.reached(at)
	view, err := r.viewOf(id)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, shown(view))
}

func (s *Server) removeAgent(r *request) error {
	at, err := r.remove()
	if errors.Is(err, events.ErrAgentNotFound) && r.caller.IdempotencyKey != "" {
		if before, ok := r.removedBefore(); ok {
			at, err = before, nil
		}
	}
	if err != nil {
		return err
	}
	r.reached(at)
	r.c.Status(http.StatusNoContent)
	return nil
}

func (r *request) remove() (events.Position, error) {
	id, err := r.agent()
	if err != nil {
		return 0, err
	}
	return r.server.deps.Commands.Remove(r.ctx, actors.Command{Caller: r.caller, Agent: id})
}

// maxAfterRemoval is how many events of a removed agent are looked at for its
// removal: what it had sent may have become dead letters since.
const maxAfterRemoval = 4096

// removedBefore finds the removal of the agent whose whole id the path has. A
// repeated DELETE is answered as the first one was: what it asks for is so.
func (r *request) removedBefore() (events.Position, bool) {
	ref, err := r.ref()
	if err != nil {
		return 0, false
	}
	id, err := events.ParseAgentID(ref)
	if err != nil {
		return 0, false // a name may be another agent's by now
	}
	opts := events.ReadStreamOptions{Direction: events.Backwards, From: events.EndOfStream, Max: maxAfterRemoval}
	for rec, err := range r.server.deps.History.ReadStream(r.ctx, events.AgentStream(id), opts) {
		if err != nil {
			return 0, false
		}
		if rec.Type == (events.AgentRemoved{}).EventType() {
			return rec.Position, true
		}
	}
	return 0, false
}

// decodeReason reads {"reason": "…"}; nothing and {} give none.
func decodeReason(body []byte) (string, error) {
	var f events.Faults
	o := readObject(body, &f)
	reason := o.reason()
	o.finish()
	return reason, f.Err()
}

// reason reads why a change is made, which is shown in one line.
func (o *object) reason() string {
	reason := o.text("reason")
	if len(reason) > maxReason {
		o.faults.Add("reason", "must be at most %d bytes, got %d", maxReason, len(reason))
	}
	return reason
}
