package actors_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// simLabels and simPriority are what an agent is deployed with: bulk actions choose by
// them, and nothing changes them.
func simLabels(guest string, i int) events.Labels {
	return events.Labels{"guest": guest, "team": []string{"red", "blue"}[i%2]}
}

func simPriority(i int) events.Priority {
	return []events.Priority{events.Normal, events.Low, events.High}[i%3]
}

// drawFilter draws which agents a bulk action is for.
func drawFilter(t *rapid.T) actors.Filter {
	return rapid.SampledFrom([]actors.Filter{
		{Labels: events.Labels{"team": "red"}},
		{Priority: events.Low},
		{Labels: events.Labels{"guest": "ledger"}, Priority: events.Normal},
		{Status: "running", Labels: events.Labels{"team": "blue"}},
		{All: true},
		{Labels: events.Labels{"team": "green"}}, // nobody
	}).Draw(t, "filter")
}

// bulk is a bulk action that was answered, and between which heads of the log.
type bulk struct {
	reason   string
	request  actors.BulkRequest
	out      actors.BulkResult
	from, to events.Position
}

// bulk has the operator do one action to many agents.
func (w *world) bulk(ctx context.Context, n *node, number int, s step) error {
	b := &bulk{reason: fmt.Sprint("bulk-", number), request: actors.BulkRequest{
		Caller: actors.Caller{Principal: simPrincipal}, Action: s.bulk, Filter: s.filter, Drain: true, Grace: s.grace, DryRun: s.all,
	}}
	b.request.Reason = b.reason
	var errs [3]error
	b.from, _, errs[0] = n.log.Head(ctx)
	b.out, errs[1] = n.Bulk(ctx, b.request)
	b.to, _, errs[2] = n.log.Head(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.orders[b.reason] = b.request
	if n.isCut() || errors.Join(errs[:]...) != nil {
		return errs[1] // what it did counts, what was told does not
	}
	w.bulks = append(w.bulks, b)
	return errs[1]
}

// change is one of an agent's life by an operator: from then on it is held, or not.
type change struct {
	position events.Position
	recorded time.Time
	status   string // empty: it runs
	reason   string // the operator's
}

// fitsFilter reports whether a filter means an agent, as it was deployed.
func fitsFilter(f actors.Filter, d *events.AgentDeployed) bool {
	if f.Priority != "" && f.Priority != d.Priority {
		return false
	}
	for k, v := range f.Labels {
		if d.Labels[k] != v {
			return false
		}
	}
	return true
}

// checkBulks: a bulk action did what it was asked for to those that its filter means,
// each of which is named or was so already, and to nobody else; a dry run did nothing.
func (w *world) checkBulks(h *history) {
	for _, l := range h.agents {
		for _, t := range l.changed {
			if r, ok := w.orders[t.reason]; ok && (r.DryRun || !fitsFilter(r.Filter, &l.deployed)) {
				h.fault("agent %s was changed at %d by %s, which is not for it: %+v", l.id, t.position, t.reason, r)
			}
		}
	}
	for _, b := range w.bulks {
		if n := b.out.Changed + b.out.Unchanged + b.out.Failed; n != b.out.Matched {
			h.fault("%s: %d matched, and %d are counted", b.reason, b.out.Matched, n)
		}
		least, most := 0, 0
		for _, l := range h.agents {
			if !fitsFilter(b.request.Filter, &l.deployed) {
				continue
			}
			most++
			if !l.removed && b.request.Filter.Status == "" {
				least++
			}
		}
		if b.out.Matched < least || b.out.Matched > most {
			h.fault("%s matched %d agents, want %d to %d: %+v", b.reason, b.out.Matched, least, most, b.request.Filter)
		}
		for _, a := range b.out.Agents {
			if a.Error == "" && !b.request.DryRun {
				h.checkTurned(b, h.life(a.ID))
			}
		}
	}
}

// checkTurned: an agent that a bulk action says it changed was held when that returned,
// or was not. Nobody else turns it meanwhile: the operator does one thing after the other.
func (h *history) checkTurned(b *bulk, l *life) {
	status := ""
	for _, t := range l.changed {
		if t.position <= b.to {
			status = t.status
		}
	}
	switch {
	case b.request.Action == actors.ActionResume && (status == "" || status == "failed"):
	case b.request.Action != actors.ActionResume && status != "":
	default:
		h.fault("agent %s was changed by %s (%s), and then was %q", l.id, b.reason, b.request.Action, status)
	}
}
