package actors_test

import (
	"bytes"
	"context"
	"iter"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/replay"
	"github.com/caxton-run/caxton/wasmhost"
)

// unsnapped is a log without snapshots.
type unsnapped struct{ events.Store }

// ReadStream implements events.Store.
func (u unsnapped) ReadStream(ctx context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	if s.Category() == events.CategorySnapshot {
		return func(yield func(events.Recorded, error) bool) { yield(events.Recorded{}, events.ErrStreamNotFound) }
	}
	return u.Store.ReadStream(ctx, s, o)
}

// compiled hands out modules that are compiled already.
type compiled struct{ host *wasmhost.Host }

// Module implements replay.Modules.
func (c compiled) Module(_ context.Context, h events.ModuleHash) (*wasmhost.Module, error) {
	m, ok := c.host.Cached(h)
	if !ok {
		return nil, events.ErrModuleNotFound
	}
	return m, nil
}

// fold reads the log into new projections: they are as those that followed it.
func (w *world) fold(n *node) {
	again := projections.NewAgents("here")
	letters := projections.NewLetters()
	for rec, err := range n.log.ReadAll(context.Background(), events.ReadAllOptions{Filter: projections.Followed()}) {
		if err != nil {
			w.fault("read the log: %v", err)
			return
		}
		if p, err := events.Decode(rec.Event); err == nil {
			again.Apply(rec, p)
			letters.Apply(rec, p)
		}
	}
	live, err1 := n.agents.List("", 0)
	anew, err2 := again.List("", 0)
	if d := cmp.Diff(anew, live, cmpopts.EquateEmpty()); d != "" || err1 != nil || err2 != nil {
		w.fault("agents (-folded anew +as they were): %v %v %s", err1, err2, d)
	}
	set, err1 := n.letters.List("", 100)
	aside, err2 := letters.List("", 100)
	if d := cmp.Diff(aside, set, cmpopts.EquateEmpty()); d != "" || err1 != nil || err2 != nil {
		w.fault("letters (-folded anew +as they were): %v %v %s", err1, err2, d)
	}
}

// rebuildAll replays each agent from its newest snapshot and from its first event:
// state and memory are the same.
func (w *world) rebuildAll(n *node, h *history) {
	for id, l := range h.agents {
		if l.removed {
			continue
		}
		short, err := w.rebuild(n.log, id)
		if err != nil {
			w.fault("rebuild %s from its snapshot: %v", id, err)
			continue
		}
		long, err := w.rebuild(unsnapped{n.log}, id)
		if err != nil {
			w.fault("rebuild %s from its first event: %v", id, err)
			continue
		}
		if !bytes.Equal(short, long) {
			w.fault("agent %s from its snapshot is another one than from its first event", id)
		}
	}
}

// rebuild returns all that an agent is, as bytes.
func (w *world) rebuild(log events.Store, id events.AgentID) ([]byte, error) {
	src := replay.Source{Store: log, Host: w.host, Modules: compiled{w.host}}
	live, err := src.Agent(context.Background(), id)
	if err != nil {
		return nil, err
	}
	defer live.Release()
	all, err := live.State.MarshalBinary()
	if live.Guest != nil {
		sum := live.Guest.StateHash()
		all = append(all, sum[:]...)
	}
	return all, err
}
