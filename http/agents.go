package http

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// streamPage is how many agents a streamed list holds in memory at a time.
const streamPage = 256

// listAgents answers with all agents, streamed, or with one page of them.
func (s *Server) listAgents(r *request) error {
	if !r.query.Has("limit") {
		if r.query.Has("cursor") {
			return events.Invalid("cursor", "needs a limit beside it")
		}
		return s.streamAgents(r)
	}
	limit, err := r.number("limit", 0, 1, MaxPageAgents)
	if err != nil {
		return err
	}
	page, err := s.deps.Agents.List(r.query.Get("cursor"), int(limit))
	if err != nil {
		return err
	}
	r.c.Set(HeaderTotal, strconv.Itoa(page.Total))
	if page.Next != "" {
		r.link(fmt.Sprintf("%s/agents?limit=%d&cursor=%s", base, limit, url.QueryEscape(page.Next)))
	}
	agents := make([]projections.AgentView, len(page.Agents)) // [] when there are none
	for i, v := range page.Agents {
		agents[i] = shown(v)
	}
	return r.json(http.StatusOK, agents)
}

// link names the next page (RFC 8288).
func (r *request) link(next string) {
	r.c.Set("Link", "<"+next+`>; rel="next"`)
}

func (s *Server) streamAgents(r *request) error {
	first, err := s.deps.Agents.List("", streamPage)
	if err != nil {
		return err
	}
	r.c.Set(HeaderTotal, strconv.Itoa(first.Total))
	ctx := r.c.Context()
	ctx.Response.Header.SetContentType(typeJSON)
	if ctx.IsHead() { // the engine would end the missing body with a stray line
		return nil
	}
	ctx.SetBodyStream(&agentStream{list: s.deps.Agents, page: first, buf: []byte{'['}}, -1)
	return nil
}

// agentStream is a JSON array of all agents that is made while it is read. An
// error in the middle ends the stream without its last chunk, by which the
// reader knows that something is missing.
type agentStream struct {
	list  Agents
	page  projections.Page
	next  int // of page.Agents
	sent  bool
	ended bool
	buf   []byte // made and not yet read
}

// Read implements io.Reader.
func (a *agentStream) Read(p []byte) (int, error) {
	for len(a.buf) == 0 {
		if a.ended {
			return 0, io.EOF
		}
		if err := a.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.buf)
	a.buf = a.buf[n:]
	if len(a.buf) == 0 {
		a.buf = nil
	}
	return n, nil
}

// fill makes the next agent, or the end of the array.
func (a *agentStream) fill() error {
	for a.next == len(a.page.Agents) {
		if a.page.Next == "" {
			a.buf, a.ended = append(a.buf, ']'), true
			return nil
		}
		page, err := a.list.List(a.page.Next, streamPage)
		if err != nil {
			return err
		}
		a.page, a.next = page, 0
	}
	b, err := json.Marshal(shown(a.page.Agents[a.next]))
	if err != nil {
		return err
	}
	if a.sent {
		a.buf = append(a.buf, ',')
	}
	a.sent = true
	a.next++
	a.buf = append(a.buf, b...)
	return nil
}

// shown is a view as it is written: empty lists are [] and {}, never null.
func shown(v projections.AgentView) projections.AgentView {
	if v.Labels == nil {
		v.Labels = events.Labels{}
	}
	if v.Capabilities == nil {
		v.Capabilities = []string{}
	}
	return v
}

func (s *Server) getAgent(r *request) error {
	view, err := r.view()
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, shown(view))
}

// view is the agent of the path as readers see it.
func (r *request) view() (projections.AgentView, error) {
	id, err := r.agent()
	if err != nil {
		return projections.AgentView{}, err
	}
	return r.viewOf(id)
}

func (r *request) viewOf(id events.AgentID) (projections.AgentView, error) {
	view, ok := r.server.deps.Agents.Get(id)
	if !ok {
		return projections.AgentView{}, fmt.Errorf("agent %s: %w", id, events.ErrAgentNotFound)
	}
	return view, nil
}
