package actors

import (
	"context"
	"errors"

	"github.com/caxton-run/caxton/events"
)

// keep puts messages of an agent that is held into its inbox, in their order, and
// answers them. They take as few appends as their bytes allow: an emergency stop finds
// thousands of them, and each append waits for the disk.
func (a *agentActor) keep(ctx context.Context, held []*envelope) {
	if len(held) == 0 {
		return
	}
	waiting := a.sys.deps.Inboxes.LenOf(a.id)
	for len(held) > 0 {
		room := a.sys.cfg.InboxSize - waiting
		if room <= 0 {
			for _, e := range held {
				e.respond(answer{err: inboxFull(waiting)})
			}
			return
		}
		batch := oneAppend(held[:min(len(held), room)])
		n := max(1, len(batch)) // of none, the first is by itself what is wrong
		a.keepBatch(ctx, held[:n], batch)
		held, waiting = held[n:], waiting+n
	}
}

// oneAppend makes the inbox entries of as many messages as one append takes. It ends
// before a repetition of one among them: that is told from its like by the log.
func oneAppend(held []*envelope) []events.Event {
	var list []events.Event
	known, size := make(map[events.MessageID]bool, len(held)), 0
	for _, e := range held {
		ev, err := e.asEntry(0)
		if size += ev.Size(); err != nil || known[e.message.ID] || size > events.MaxAppendBytes {
			break
		}
		known[e.message.ID] = true
		list = append(list, ev)
	}
	return list
}

// keepBatch makes one append of entries and answers their messages. What is known to
// the log in part, or is alone, is put there one by one.
func (a *agentActor) keepBatch(ctx context.Context, held []*envelope, batch []events.Event) {
	err := events.ErrIDReused
	var res events.Result
	if len(batch) > 1 {
		res, err = a.sys.append(ctx, events.InboxStream(a.id), events.Any(), batch...)
	}
	for i, e := range held {
		one, failed := res, err
		if errors.Is(err, events.ErrIDReused) {
			one, failed = a.sys.receive(ctx, a.id, e)
		} else {
			one.Last = res.First + events.Revision(i)
		}
		if failed == nil && a.state().InboxDone(one.Last) {
			failed = keyExpired(e)
		}
		e.respond(answer{delivery: Held, position: one.Position, err: failed})
	}
}
