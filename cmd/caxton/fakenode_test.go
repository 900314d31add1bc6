package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/projections"
)

// fakeServe is "server start" over a node in memory: the real REST server and
// metrics server, and behind them a map. It stands in where serve.go runs no
// server yet.
func fakeServe(ctx context.Context, opts serveOptions, stdout, _ io.Writer) error {
	node := &fakeNode{agents: map[events.AgentID]projections.AgentView{}, modules: map[events.ModuleHash][]byte{}, log: map[events.Stream][]events.Recorded{}}
	srv, err := caxtonhttp.New(caxtonhttp.DefaultConfig(), caxtonhttp.Deps{Commands: node, Agents: node, History: node})
	if err != nil {
		return err
	}
	api, err := net.Listen("tcp", opts.apiAddr)
	if err != nil {
		return err
	}
	metrics, err := net.Listen("tcp", opts.metricsAddr)
	if err != nil {
		_ = api.Close()
		return err
	}
	_, _ = fmt.Fprintf(stdout, "caxton: REST API on http://%s\n", api.Addr())
	_, _ = fmt.Fprintf(stdout, "caxton: metrics on http://%s/metrics\n", metrics.Addr())
	done := make(chan error, 1)
	go func() { done <- caxtonhttp.NewMetricsServer(prometheus.NewRegistry()).Serve(ctx, metrics) }()
	err = srv.Serve(ctx, api)
	return errors.Join(err, <-done)
}

// fakeNode deploys, lists and remembers; its agents understand nothing.
type fakeNode struct {
	mu      sync.Mutex
	order   []events.AgentID
	agents  map[events.AgentID]projections.AgentView
	modules map[events.ModuleHash][]byte
	log     map[events.Stream][]events.Recorded
	at      events.Position
}

func (n *fakeNode) record(id events.AgentID, p events.Payload) (events.Position, error) {
	ev, err := events.Encode(events.NewEventID(), p, events.Metadata{})
	if err != nil {
		return 0, err
	}
	n.at++
	s := events.AgentStream(id)
	n.log[s] = append(n.log[s], events.Recorded{Event: ev, Stream: s, Revision: events.Revision(len(n.log[s])), Position: n.at, RecordedAt: time.Now().UTC()})
	return n.at, nil
}

func (n *fakeNode) Deploy(_ context.Context, r actors.DeployRequest) (actors.Deployed, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(r.Wasm) < 8 || string(r.Wasm[:4]) != "\x00asm" {
		return actors.Deployed{}, events.ErrInvalidWasm
	}
	for _, v := range n.agents {
		if r.UniqueName && v.Name == r.Name {
			return actors.Deployed{}, fmt.Errorf("name %q: %w", r.Name, events.ErrNameTaken)
		}
	}
	id, hash := events.NewAgentID(), events.HashModule(r.Wasm)
	n.modules[hash] = r.Wasm
	n.order = append(n.order, id)
	now := time.Now().UTC()
	n.agents[id] = projections.AgentView{ID: id, Name: r.Name, Status: "running", Module: hash, ModuleSize: len(r.Wasm),
		Limits: r.Limits, Priority: r.Priority, Labels: r.Labels, Node: "node-1", CreatedAt: now, UpdatedAt: now}
	at, err := n.record(id, events.AgentDeployed{AgentID: id, Name: r.Name, Module: hash})
	return actors.Deployed{ID: id, Position: at}, err
}

func (n *fakeNode) Send(_ context.Context, r actors.SendRequest) (actors.Sent, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	conv := r.Message.ConversationID
	if conv == "" {
		conv = "c-" + events.NewMessageID().String()
	}
	sent := actors.Sent{MessageID: events.NewMessageID(), ConversationID: conv, Status: actors.Handled, Position: n.at}
	if n.agents[r.To].Status == "suspended" {
		sent.Status = actors.Held
		return sent, nil
	}
	sent.Reply = &events.Message{ID: events.NewMessageID(), Performative: events.NotUnderstood, Sender: r.To.String(), ConversationID: conv}
	return sent, nil
}

func (n *fakeNode) change(c actors.Command, status string, p events.Payload) (events.Position, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := n.agents[c.Agent]
	if v.Status == status {
		return n.at, nil
	}
	v.Status = status
	n.agents[c.Agent] = v
	return n.record(c.Agent, p)
}

func (n *fakeNode) Suspend(_ context.Context, c actors.Command) (events.Position, error) {
	return n.change(c, "suspended", events.AgentSuspended{Reason: c.Reason})
}

func (n *fakeNode) Resume(_ context.Context, c actors.Command) (events.Position, error) {
	return n.change(c, "running", events.AgentResumed{})
}

func (n *fakeNode) Remove(_ context.Context, c actors.Command) (events.Position, error) {
	at, err := n.change(c, "removed", events.AgentRemoved{})
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.agents, c.Agent)
	return at, err
}

func (n *fakeNode) Module(_ context.Context, h events.ModuleHash) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b, ok := n.modules[h]; ok {
		return b, nil
	}
	return nil, events.ErrModuleNotFound
}

func (n *fakeNode) List(string, int) (projections.Page, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	page := projections.Page{Total: len(n.agents)}
	for _, id := range n.order {
		if v, ok := n.agents[id]; ok {
			page.Agents = append(page.Agents, v)
		}
	}
	return page, nil
}

func (n *fakeNode) Get(id events.AgentID) (projections.AgentView, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, ok := n.agents[id]
	return v, ok
}

func (n *fakeNode) Resolve(ref string) (events.AgentID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []events.AgentID
	for _, id := range n.order {
		if v, ok := n.agents[id]; ok && (v.Name == ref || id.String() == ref || len(ref) >= 4 && id.String()[:min(len(ref), 36)] == ref) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return events.AgentID{}, fmt.Errorf("%q: %w", ref, events.ErrAgentNotFound)
	case 1:
		return found[0], nil
	}
	return events.AgentID{}, &events.AmbiguousError{Ref: ref, Matches: found}
}

func (n *fakeNode) Position() events.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at
}

func (n *fakeNode) WaitFor(context.Context, events.Position) error { return nil }

func (n *fakeNode) ReadStream(_ context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	n.mu.Lock()
	all := n.log[s]
	n.mu.Unlock()
	return func(yield func(events.Recorded, error) bool) {
		if len(all) == 0 {
			yield(events.Recorded{}, events.ErrStreamNotFound)
			return
		}
		count := 0
		for i := range all {
			rec := all[i]
			if o.Direction == events.Backwards {
				rec = all[len(all)-1-i]
			}
			if (rec.Revision < o.From) == (o.Direction == events.Forwards) && rec.Revision != o.From {
				continue
			}
			if count++; o.Max > 0 && count > o.Max || !yield(rec, nil) {
				return
			}
		}
	}
}
