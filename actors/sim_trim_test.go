package actors_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// trim has the node give up what is old and not needed, and the log drop it. What it may
// give up was recorded before now: it is read first, at the same simulated moment.
func (w *world) trim(ctx context.Context, n *node) error {
	w.keep(n)
	done, err := n.sys.TrimHistories(ctx, 0)
	w.mu.Lock()
	w.trims.Agents, w.trims.Events = w.trims.Agents+done.Agents, w.trims.Events+done.Events
	if done.Kept > 0 && !n.isCut() && w.plan.calm() {
		w.faults = append(w.faults, "the histories of some agents could not be trimmed")
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = n.log.Scavenge(ctx, pebblestore.ScavengeOptions{})
	return err
}

// age lets the answers of all keys run out, has agents sleep and wake so that there are
// snapshots, and trims them.
func (w *world) age(n *node) {
	ctx := context.Background()
	if !w.plan.keyless {
		n.after(25 * time.Hour)
	}
	w.closeBreakers(n)
	for range 3 {
		for i := range w.plan.ledgers {
			if _, ok := n.agents.Get(ledgerID(i)); ok {
				w.ask(n, ledgerID(i), `{"op":"get"}`, new(struct{}))
			}
		}
		if _, err := n.sys.Rest(ctx); err != nil {
			w.fault("a day later: %v", err)
		}
		n.after(time.Second)
	}
	if err := w.trim(ctx, n); err != nil {
		w.fault("a day later: %v", err)
	}
	n.after(simQuiet)
}

// calm reports whether nothing in a plan keeps an agent from being trimmed but what a
// client or an operator does.
func (p *plan) calm() bool {
	return p.early == "" && !slices.ContainsFunc(p.steps, func(s step) bool { return s.do == doCrash || s.do == doFault || s.do == doReboot })
}

// keep reads all that the log has, for the model.
func (w *world) keep(n *node) {
	list, err := readLog(n)
	if err != nil && !n.isCut() {
		w.fault("read the log: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rec := range list {
		w.kept[rec.Position] = rec
	}
}

func readLog(n *node) (list []events.Recorded, err error) {
	for rec, err := range n.log.ReadAll(context.Background(), events.ReadAllOptions{}) {
		if err != nil {
			return list, err
		}
		list = append(list, rec)
	}
	return list, nil
}

// read reads the whole log, with what it has given up on purpose: what its streams hide.
// Anything else that was read before and is gone is lost, or was never durable.
func (w *world) read(n *node) *history {
	h := newHistory()
	h.whole = func(m events.Message) events.Message {
		full, err := events.WithContent(context.Background(), n.log, m)
		if err != nil {
			w.fault("the content of message %s: %v", m.ID, err)
		}
		return full
	}
	list, err := readLog(n)
	hidden := make(map[events.Stream]events.Revision)
	all := make(map[events.Position]events.Recorded)
	for at, rec := range w.kept {
		if strings.HasPrefix(string(rec.Stream), "$") {
			continue // the log's own, of what is hidden
		}
		if _, ok := hidden[rec.Stream]; !ok {
			md, _, _, mdErr := n.log.StreamMetadata(context.Background(), rec.Stream)
			hidden[rec.Stream], err = md.TruncateBefore, errors.Join(err, mdErr)
		}
		if rec.Revision < hidden[rec.Stream] {
			all[at] = rec
		}
	}
	if err != nil {
		w.fault("read the log: %v", err)
	}
	for _, rec := range list {
		all[rec.Position] = rec
	}
	for _, at := range slices.Sorted(maps.Keys(all)) {
		if p, err := events.Decode(all[at].Event); err == nil {
			h.add(all[at], p)
		}
	}
	return h
}
