package actors

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/replay"
)

// keepSnapshots is how many snapshots of an agent are kept: the newest, and two
// to fall back on.
const keepSnapshots = 3

// saveIfDue writes a snapshot when the next wake would have much to do. While there
// are enough under way, messages do not wait for it: the next turn tries again.
func (a *agentActor) saveIfDue(ctx context.Context) {
	if a.live == nil || !a.debt.due(a.snapshotEvery(), a.snapshotTook) {
		return
	}
	if size := a.guestBytes(); a.sys.saves.tryTake(size) {
		defer a.sys.saves.leave(size)
		a.save(ctx)
	}
}

// saveAtRest is saveIfDue of an agent that goes to sleep. It waits for others: nothing
// waits for it.
func (a *agentActor) saveAtRest(ctx context.Context) {
	if a.live == nil || !a.debt.dueAtRest(a.snapshotEvery(), a.snapshotTook) {
		return
	}
	if size := a.guestBytes(); a.sys.saves.await(ctx, size) {
		defer a.sys.saves.leave(size)
		a.save(ctx)
	}
}

// guestBytes is what the agent's guest has for its memory.
func (a *agentActor) guestBytes() uint64 {
	if a.live.Guest == nil {
		return 0
	}
	return a.live.Guest.MemoryBytes()
}

// snapshotEvery is how many events a wake may replay at most: so many times more
// as the last snapshot had parts, or a large agent would fill the log with what is
// never needed.
func (a *agentActor) snapshotEvery() int { return a.sys.cfg.SnapshotEvery * max(1, a.snapshotParts) }

// save writes a snapshot of the agent as it stands. Failing is no harm but to
// the next wake, and an operator who looks for why that is slow must find it.
func (a *agentActor) save(ctx context.Context) {
	if a.live == nil || a.live.Guest == nil || !a.live.Module.Info().Snapshotable || a.sys.deps.Room.Admit() != nil {
		return
	}
	if err := a.writeSnapshot(ctx); err != nil {
		a.sys.log.Warn("snapshot failed", slog.String("agent", a.id.String()), slog.Any("err", err))
	}
	a.debt = replayDebt{} // either way, try again when there is as much
}

// writeSnapshot stores the parts of a snapshot one after the other. Whatever
// comes between them, another writer's snapshot too, ends it: a wake reads a
// snapshot whole or not at all.
func (a *agentActor) writeSnapshot(ctx context.Context) error {
	began := time.Now()
	memory, err := a.live.Guest.Snapshot()
	if err != nil {
		return err
	}
	list, err := replay.EncodeSnapshot(a.state(), memory)
	a.snapshotTook = time.Since(began)
	if err != nil {
		return err
	}
	a.snapshotParts = len(list)
	if err := a.keepParts(ctx, len(list)); err != nil {
		return err
	}
	expected := events.Any()
	for _, ev := range list {
		r, err := a.sys.deps.Store.Append(ctx, events.SnapshotStream(a.id), expected, ev)
		if err != nil {
			return err
		}
		expected = events.Exact(r.Last)
	}
	return nil
}

// keepParts sees to it that the newest keepSnapshots snapshots stay when one of so
// many parts is written, before it is: the older ones must be there until the new
// one is whole. The count is only raised. Snapshots that have become smaller are
// kept in greater number than needed, and take no more than the large ones did.
func (a *agentActor) keepParts(ctx context.Context, parts int) error {
	want := uint64(keepSnapshots * parts)
	if a.partsKept >= want {
		return nil
	}
	var kept uint64
	err := a.sys.changeMetadata(ctx, events.SnapshotStream(a.id), func(md *events.StreamMetadata) bool {
		raise := md.MaxCount < want
		md.MaxCount = max(md.MaxCount, want)
		kept = md.MaxCount
		return raise
	})
	if wrong := (*events.WrongRevisionError)(nil); errors.As(err, &wrong) {
		return nil // another writer's; the next snapshot looks again
	}
	if err == nil {
		a.partsKept = kept
	}
	return err
}
