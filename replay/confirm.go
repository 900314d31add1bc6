package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// Confirmed are two snapshots of an agent that say what its events say.
type Confirmed struct {
	Older, Newer events.Revision // of the agent's stream; Older < Newer
	Replayed     int             // messages run again to know
	Data         [][]byte        // of the events of the older one, in their order
}

// UnconfirmedError is a snapshot that a replay does not come to: a guest that is not
// deterministic, damage, or a fault of the host. Until a later snapshot is confirmed,
// the agent needs its history.
type UnconfirmedError struct {
	Agent    events.AgentID
	Revision events.Revision // of the snapshot
	What     string          // differs: state or memory
}

// Error implements error.
func (e *UnconfirmedError) Error() string {
	return fmt.Sprintf("agent %s: the snapshot at revision %d has another %s than a replay comes to", e.Agent, uint64(e.Revision), e.What)
}

// Confirm replays an agent up to its newest snapshot and compares the newest two. Two
// must be right, so that one which is damaged later leaves another to wake from. It
// begins where nothing has to be believed: at the base that an earlier call confirmed
// and a trim kept, or else at the agent's first event. A snapshot in between proves
// nothing, as those after it may have been made from it. MaxRerun does not bound it.
// ok is false when there are not two snapshots from the base on, or when the older one
// is of a revision below least: nothing is replayed for what the caller has no use for.
//
// Errors: *UnconfirmedError, *events.HistoryRemovedError (what was removed has no base
// that reads), those of Agent.
func (s Source) Confirm(ctx context.Context, id events.AgentID, least events.Revision) (c Confirmed, ok bool, err error) {
	s.MaxRerun = 0
	pair, err := s.newestTwo(ctx, id)
	if err != nil || len(pair) < 2 || pair[1].state.Revision < least {
		return Confirmed{}, false, err
	}
	older, newer := pair[1], pair[0]
	r := rebuild{src: s, guest: true, out: Agent{State: &agent.State{ID: id}}}
	defer func() { r.out.Release() }()
	next, err := r.base(ctx, id)
	switch {
	case err != nil:
		return Confirmed{}, false, err
	case older.state.Revision+1 < next:
		return Confirmed{}, false, nil // nothing newer to confirm
	case older.state.Revision+1 == next: // the base is a copy of it
		if err := r.compare(ctx, older); err != nil {
			return Confirmed{}, false, err
		}
		err = r.meet(ctx, id, next, newer)
	default:
		err = r.meet(ctx, id, next, older, newer)
	}
	if err != nil {
		return Confirmed{}, false, err
	}
	return Confirmed{
		Older: older.state.Revision, Newer: newer.state.Revision,
		Replayed: r.out.Replayed, Data: older.data,
	}, true, nil
}

// newestTwo returns an agent's newest snapshots of two revisions, the newest first and
// without its data, or the one that there is.
func (s Source) newestTwo(ctx context.Context, id events.AgentID) (list []stored, err error) {
	_, err = s.snapshotsIn(ctx, events.SnapshotStream(id), id, func(one stored, _ events.Revision) bool {
		switch {
		case len(list) == 0:
			one.data = nil // only the older one's is wanted, and a replay holds what it is given
			list = append(list, one)
		case one.state.Revision < list[0].state.Revision:
			list = append(list, one)
		}
		return len(list) == 2
	})
	return list, err
}

// base puts the rebuild where nothing has to be believed, and returns the revision from
// which it goes on. A base whose module or memory cannot be had is an error: to pass it
// over would be to begin at what is gone.
func (r *rebuild) base(ctx context.Context, id events.AgentID) (next events.Revision, err error) {
	err = r.withModules(ctx, func() error {
		_, err := r.src.snapshotsIn(ctx, events.BaseStream(id), id, func(one stored, _ events.Revision) bool {
			if r.use(ctx, one) && r.lacks == "" {
				next = one.state.Revision + 1
			}
			return true
		})
		return err
	})
	return next, errors.Join(err, r.cause)
}

// meet replays from a revision on up to the last of some snapshots, and compares with
// each on the way.
func (r *rebuild) meet(ctx context.Context, id events.AgentID, next events.Revision, snapshots ...stored) error {
	last := snapshots[len(snapshots)-1].state.Revision
	opts := events.ReadStreamOptions{From: next, Max: int(last - next + 1)}
	for rec, err := range r.src.Store.ReadStream(ctx, events.AgentStream(id), opts) {
		if err != nil {
			return fmt.Errorf("confirm snapshots of agent %s: %w", id, err)
		}
		if rec.Revision != next {
			if err := r.removed(ctx, id, next); err != nil {
				return err
			}
			break // nobody removed it
		}
		next++
		p, err := events.Decode(rec.Event)
		if err != nil {
			return fmt.Errorf("confirm snapshots of agent %s, revision %d: %w", id, rec.Revision, err)
		}
		if err := r.step(ctx, rec.Revision, p); err != nil {
			return err
		}
		if rec.Revision != snapshots[0].state.Revision {
			continue
		}
		if err := r.compare(ctx, snapshots[0]); err != nil {
			return err
		}
		if snapshots = snapshots[1:]; len(snapshots) == 0 {
			return nil
		}
	}
	return &events.CorruptError{
		Where:  fmt.Sprintf("%s, revision %d", events.AgentStream(id), uint64(next)),
		Reason: fmt.Sprintf("is not there, and a snapshot at %d is", uint64(last)),
	}
}

// compare holds a snapshot against what the replay has come to at its revision.
func (r *rebuild) compare(ctx context.Context, s stored) error {
	if r.lost != nil {
		return r.lost
	}
	fault := func(what string) error {
		return &UnconfirmedError{Agent: s.state.ID, Revision: s.state.Revision, What: what}
	}
	want, err := r.out.State.MarshalBinary()
	if err != nil {
		return err
	}
	got, err := s.state.MarshalBinary()
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return fault("state")
	}
	if r.out.Guest == nil {
		if len(s.memory) > 0 {
			return fault("memory")
		}
		return nil
	}
	g, err := r.src.Host.Restore(ctx, r.out.Module, s.state.Limits.MaxMemoryBytes, s.memory)
	if err != nil {
		return fmt.Errorf("agent %s: restore the snapshot at revision %d: %w", s.state.ID, uint64(s.state.Revision), err)
	}
	defer g.Close()
	if g.StateHash() != r.out.Guest.StateHash() {
		return fault("memory")
	}
	return nil
}
