package http

import (
	"net/http"
)

// agentModule answers with the bytes that were deployed. Their hash is the
// entity tag: a module never changes under its hash.
func (s *Server) agentModule(r *request) error {
	view, err := r.view()
	if err != nil {
		return err
	}
	wasm, err := s.deps.Commands.Module(r.ctx, view.Module)
	if err != nil {
		return err
	}
	r.c.Set("ETag", `"`+string(view.Module)+`"`)
	return r.bytes(http.StatusOK, typeWasm, wasm)
}
