package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// snapshotVersion is the first byte of a SnapshotTaken event's data:
//
//	version (2) | length of state (4, big-endian) | state | guest's memory
//
// State is what agent.State.MarshalBinary gives; the memory what
// wasmhost.Instance.Snapshot gives, empty for an agent without a guest.
//
// Version 1 had no timers and no capabilities in the state. It is read: an agent of
// that time had neither.
const snapshotVersion = 2

// snapshotsTried is how many snapshots are looked at, newest first, before a
// rebuild begins at the beginning.
const snapshotsTried = 3

// EncodeSnapshot makes the event of a snapshot at the agent's present revision.
// Error: events.ErrTooLarge; the agent then is replayed from further back.
func EncodeSnapshot(st *agent.State, memory []byte) (events.Event, error) {
	state, err := st.MarshalBinary()
	if err != nil {
		return events.Event{}, fmt.Errorf("snapshot of agent %s: %w", st.ID, err)
	}
	data := make([]byte, 0, 5+len(state)+len(memory))
	data = append(data, snapshotVersion)
	data = binary.BigEndian.AppendUint32(data, uint32(len(state)))
	data = append(append(data, state...), memory...)
	ev := events.Event{
		ID: events.NewEventID(), Type: events.TypeSnapshotTaken, ContentType: events.Binary,
		Data: data, Metadata: events.Metadata{SchemaVersion: events.SchemaVersion(events.TypeSnapshotTaken)}.Encode(),
	}
	if ev.Size() > events.MaxAppendBytes {
		return events.Event{}, fmt.Errorf("snapshot of agent %s is %d bytes: %w", st.ID, ev.Size(), events.ErrTooLarge)
	}
	return ev, nil
}

// DecodeSnapshot reads what EncodeSnapshot wrote. Errors are *events.CorruptError.
func DecodeSnapshot(data []byte) (*agent.State, []byte, error) {
	bad := func(reason string) (*agent.State, []byte, error) {
		return nil, nil, &events.CorruptError{Where: "snapshot", Reason: reason}
	}
	if len(data) < 5 {
		return bad("too short")
	}
	if data[0] < 1 || data[0] > snapshotVersion {
		return bad(fmt.Sprintf("unknown version %d", data[0]))
	}
	n := binary.BigEndian.Uint32(data[1:])
	if uint64(n) > uint64(len(data)-5) {
		return bad("state longer than the snapshot")
	}
	st := new(agent.State)
	if err := st.UnmarshalBinary(data[5 : 5+n]); err != nil {
		return bad(err.Error())
	}
	return st, data[5+n:], nil
}

// restore begins the rebuild at the newest snapshot that can be used. One that
// cannot is passed over: the log has everything that it had.
func (r *rebuild) restore(ctx context.Context, id events.AgentID) error {
	opts := events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards, Max: snapshotsTried}
	for rec, err := range r.src.Store.ReadStream(ctx, events.SnapshotStream(id), opts) {
		if errors.Is(err, events.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("rebuild agent %s: read snapshot: %w", id, err)
		}
		if r.use(ctx, id, rec) {
			return nil
		}
	}
	return ctx.Err()
}

// use tries one snapshot and reports whether the rebuild now stands on it.
func (r *rebuild) use(ctx context.Context, id events.AgentID, rec events.Recorded) bool {
	st, memory, err := DecodeSnapshot(rec.Data)
	if err != nil || st.ID != id {
		return false
	}
	clean := r.out
	r.out.State, r.out.Snapshot = st, st.Revision
	if !r.guest {
		return true
	}
	if err := r.load(ctx); err != nil {
		r.out = clean
		return false
	}
	if r.out.Module.Info().HandlesMessages {
		g, err := r.src.Host.Restore(ctx, r.out.Module, st.Limits.MaxMemoryBytes, memory)
		if err != nil {
			r.out.Release()
			r.out = clean
			return false
		}
		r.out.Guest = g
	}
	return true
}

func (r *rebuild) load(ctx context.Context) error {
	m, err := r.src.Modules.Module(ctx, r.out.State.Module)
	if err != nil {
		return fmt.Errorf("agent %s: %w", r.out.State.ID, err)
	}
	r.out.Module = m
	return nil
}
