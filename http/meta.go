package http

import (
	"net/http"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/internal/version"
)

// Ready is the answer of GET /ready on a node that is ready. One that is not
// answers with NOT_READY, whose errors name what is missing and why.
type Ready struct {
	Ready    bool            `json:"ready"`
	Position events.Position `json:"position"` // that reads reflect

	// Warnings name what will keep the node from being ready if nobody looks
	// after it; none on a node that is well.
	Warnings []events.FieldError `json:"warnings,omitempty"`
}

// healthy is the body of GET /health, byte for byte what monitoring compares.
const healthy = `{"status":"healthy"}`

// health says that the process serves. It needs nothing that could be missing.
func (s *Server) health(r *request) error {
	return r.bytes(http.StatusOK, typeJSON, []byte(healthy))
}

// ready says whether this node should be given traffic.
func (s *Server) ready(r *request) error {
	if missing := s.missing(); len(missing.Fields) > 0 {
		return &notReadyError{missing}
	}
	answer := Ready{Ready: true, Position: s.deps.Agents.Position()}
	if s.deps.Warnings != nil {
		answer.Warnings = s.deps.Warnings()
	}
	return r.json(http.StatusOK, answer)
}

// missing is what keeps the node from serving.
func (s *Server) missing() events.InvalidError {
	if s.deps.NotReady == nil {
		return events.InvalidError{}
	}
	return events.InvalidError{Fields: s.deps.NotReady()}
}

// started reports whether reads can be answered.
func (s *Server) started() bool {
	if s.deps.Started == nil {
		return true
	}
	select {
	case <-s.deps.Started:
		return true
	default:
		return false
	}
}

func (s *Server) version(r *request) error {
	return r.json(http.StatusOK, version.Current())
}

// notReadyError lists what keeps the node from serving.
type notReadyError struct{ missing events.InvalidError }

// Error implements error.
func (e *notReadyError) Error() string { return e.missing.Error() }
