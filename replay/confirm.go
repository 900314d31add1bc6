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

// Confirm replays an agent up to its newest snapshot and compares: from the third
// newest, or from the beginning when there are two. Two must be right, so that one
// which is damaged later leaves another to wake from. ok is false when there are not
// enough, or the events between them are gone.
//
// Errors: *UnconfirmedError, those of Agent.
func (s Source) Confirm(ctx context.Context, id events.AgentID) (c Confirmed, ok bool, err error) {
	var list []stored // the newest first
	err = s.snapshots(ctx, id, func(one stored) bool {
		if n := len(list); n == 0 || one.state.Revision < list[n-1].state.Revision {
			list = append(list, one)
		}
		return len(list) == snapshotsTried
	})
	if err != nil || len(list) < 2 {
		return Confirmed{}, false, err
	}
	r := rebuild{src: s, guest: true, out: Agent{State: &agent.State{ID: id}}}
	defer func() { r.out.Release() }()
	next := events.Revision(0)
	if len(list) == snapshotsTried {
		base := list[snapshotsTried-1]
		if next = base.state.Revision + 1; !r.use(ctx, base) {
			return Confirmed{}, false, r.cause
		}
	}
	c = Confirmed{Older: list[1].state.Revision, Newer: list[0].state.Revision, Data: list[1].data}
	err = r.meet(ctx, id, next, list[1], list[0])
	if errors.Is(err, events.ErrHistoryRemoved) {
		return Confirmed{}, false, nil // the newest two stand where an earlier trim left them
	}
	c.Replayed = r.out.Replayed
	return c, err == nil, err
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
			return r.removed(ctx, id, next)
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
