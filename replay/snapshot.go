package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// snapshotsTried is how many snapshots are looked at, newest first, before a
// rebuild begins at the beginning.
const snapshotsTried = 3

// restore begins the rebuild at the newest snapshot that can be used. One that
// cannot is passed over: the log has everything that it had, or an older one stands for
// what was removed.
func (r *rebuild) restore(ctx context.Context, id events.AgentID) error {
	return r.withModules(ctx, func() error {
		return r.src.snapshots(ctx, id, func(s stored) bool { return r.use(ctx, s) })
	})
}

// Newest returns the data of the events of an agent's newest snapshot that reads,
// in their order, and the state in it; nil without one.
func (s Source) Newest(ctx context.Context, id events.AgentID) (data [][]byte, st *agent.State, err error) {
	err = s.snapshots(ctx, id, func(s stored) bool {
		data, st = s.data, s.state
		return true
	})
	return data, st, err
}

// snapshots tries an agent's snapshots, newest first, until one is taken: at last the
// one that stands for what was removed of its history.
func (s Source) snapshots(ctx context.Context, id events.AgentID, take func(stored) bool) error {
	for _, stream := range []events.Stream{events.SnapshotStream(id), events.BaseStream(id)} {
		taken, err := s.snapshotsIn(ctx, stream, id, func(one stored, _ events.Revision) bool { return take(one) })
		if taken || err != nil {
			return err
		}
	}
	return nil
}

// NewestBase returns where in an agent's base stream the newest snapshot begins that
// reads. Error: *events.CorruptError when none does.
func (s Source) NewestBase(ctx context.Context, id events.AgentID) (at events.Revision, err error) {
	stream := events.BaseStream(id)
	taken, err := s.snapshotsIn(ctx, stream, id, func(_ stored, first events.Revision) bool {
		at = first
		return true
	})
	if err == nil && !taken {
		err = &events.CorruptError{Where: string(stream), Reason: "holds no snapshot that reads"}
	}
	return at, err
}

// snapshotsIn is snapshots in one stream; take is told where the first event stands.
func (s Source) snapshotsIn(ctx context.Context, stream events.Stream, id events.AgentID, take func(one stored, first events.Revision) bool) (taken bool, err error) {
	opts := events.ReadStreamOptions{
		From: events.EndOfStream, Direction: events.Backwards,
		Max: (snapshotsTried + 1) * maxSnapshotParts, // the newest may have been left unfinished
	}
	if stream.Category() == events.CategoryBase {
		opts.Max = 0 // nothing else stands for what was removed, however many were left unfinished after it
	}
	var parts gatherer
	tried, leave := 0, func() {}
	defer func() { leave() }()
	for rec, err := range s.Store.ReadStream(ctx, stream, opts) {
		if errors.Is(err, events.ErrStreamNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("agent %s: read snapshot: %w", id, err)
		}
		n, err := s.weigh(ctx, stream, rec)
		if err != nil {
			return false, fmt.Errorf("agent %s: weigh snapshot: %w", id, err)
		}
		if n > 0 {
			leave() // what was read before is let go with the next
			if leave, err = s.Room.enter(ctx, n); err != nil {
				leave = func() {}
				return false, fmt.Errorf("agent %s: %w", id, err)
			}
		}
		one, whole, err := parts.add(rec.Data)
		if !whole {
			continue
		}
		if err == nil && one.state.ID == id && take(one, rec.Revision) {
			return true, nil
		}
		if tried++; tried == snapshotsTried {
			break
		}
	}
	return false, ctx.Err()
}

// weigh is what the snapshot takes of memory that an event is read first of; 0 for
// another event. Of several parts the first is looked at before: it comes last, and who
// then asked for more room, while they hold theirs, would wait for others who do the same.
func (s Source) weigh(ctx context.Context, stream events.Stream, last events.Recorded) (int, error) {
	n, before := holds(last.Data)
	if before == 0 || s.Room == nil || last.Revision < events.Revision(before) {
		return n, nil
	}
	at := last.Revision - events.Revision(before)
	for first, err := range s.Store.ReadStream(ctx, stream, events.ReadStreamOptions{From: at, Max: 1}) {
		if err != nil {
			return 0, err
		}
		if first.Revision == at && isFirst(first.Data, last.Data) { // or it is not whole, and comes to nothing
			n += unpacksTo(first.Data[partHeadBytes:])
		}
	}
	return n, nil
}

// use tries one snapshot and reports whether it is the one to end with: the rebuild now
// stands on it, or needs a module for that which is not compiled (r.lacks).
func (r *rebuild) use(ctx context.Context, s stored) bool {
	clean := r.out
	r.out.State, r.out.Snapshot = s.state, s.state.Revision
	if !r.guest {
		return true
	}
	err := r.stand(ctx, s)
	if err == nil {
		return true
	}
	r.out.Release()
	r.out = clean
	if r.lacks == "" {
		r.passedOver(err)
	}
	return r.lacks != ""
}

// stand makes module and guest what they were at a snapshot. After an error the caller
// releases them.
func (r *rebuild) stand(ctx context.Context, s stored) (err error) {
	if r.out.Module, err = r.module(ctx, s.state.Module); err != nil {
		return fmt.Errorf("agent %s: %w", s.state.ID, err)
	}
	r.src.starting()
	if r.out.Module.Info().HandlesMessages {
		r.out.Guest, err = r.src.Host.Restore(ctx, r.out.Module, s.state.Limits.MaxMemoryBytes, s.memory)
	}
	return err
}

// passedOver notes why the newest snapshot that read was of no use.
func (r *rebuild) passedOver(err error) {
	if r.cause == nil {
		r.cause = err
	}
}
