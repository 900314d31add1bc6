package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// count has the bench's agent handle some messages and takes a snapshot.
func (b *bench) count(messages int) events.Revision {
	b.t.Helper()
	for range messages {
		b.handle(`{"op":"add","n":1}`, nil)
	}
	b.snapshot(nil)
	return b.state.Revision
}

// trim hides the agent's events below a revision, as the keeper of histories does.
func (b *bench) trim(before events.Revision) events.Trim {
	b.t.Helper()
	b.append(events.HistoryTrimmed{Before: before, Deployed: events.AgentDeployed{AgentID: b.state.ID}})
	t := events.Trim{Before: before, Event: b.state.Revision, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	stream := events.AgentStream(b.state.ID)
	md, at, ok, err := b.store.StreamMetadata(context.Background(), stream)
	expected := events.NoStream()
	if ok {
		expected = events.Exact(at)
	}
	if err == nil {
		_, err = b.store.SetStreamMetadata(context.Background(), stream, expected, t.In(md))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return t
}

// keep makes a confirmed snapshot the agent's base.
func (b *bench) keep(c Confirmed) {
	b.t.Helper()
	for _, part := range c.Data {
		if _, err := b.store.Append(context.Background(), events.BaseStream(b.state.ID), events.Any(), PartEvent(part)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) confirm() (Confirmed, bool) {
	b.t.Helper()
	c, ok, err := b.src.Confirm(context.Background(), b.state.ID, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return c, ok
}

// TestConfirm: two snapshots, from the beginning or from the base; and none before
// there are two that are newer than it.
func TestConfirm(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	if _, ok := b.confirm(); ok {
		t.Fatal("confirmed without a snapshot")
	}
	first := b.count(3)
	if _, ok := b.confirm(); ok {
		t.Fatal("confirmed one snapshot")
	}
	b.snapshot(nil) // of the same revision
	if _, ok := b.confirm(); ok {
		t.Fatal("one revision twice is two snapshots")
	}
	second := b.count(2)
	if c, ok := b.confirm(); !ok || c.Older != first || c.Newer != second || c.Replayed != 5 {
		t.Fatalf("%+v %v", c, ok)
	}
	third := b.count(4)
	fourth := b.count(1)
	b.src.MaxRerun = time.Nanosecond // is of wakes, and a whole history may take long
	c, ok := b.confirm()
	if b.src.MaxRerun = 0; !ok || c.Older != third || c.Newer != fourth || c.Replayed != 10 {
		t.Fatalf("%d %d, %d replayed, %v", c.Older, c.Newer, c.Replayed, ok)
	}
	if _, ok, err := b.src.Confirm(context.Background(), b.state.ID, third+1); ok || err != nil {
		t.Fatalf("confirmed what the caller has no use for: %v", err)
	}
	b.keep(c)
	b.trim(third + 1)
	if c, ok := b.confirm(); !ok || c.Older != third || c.Replayed != 1 {
		t.Fatalf("with the older one as the base: %d replayed, %v", c.Replayed, ok)
	}
	b.count(1)
	b.count(1)
	if c, ok := b.confirm(); !ok || c.Replayed != 3 {
		t.Fatalf("after a trim: %d replayed, %v", c.Replayed, ok)
	}
	b.rebuilt()
}

// TestConfirmWithoutABase refuses: what the snapshots would be held against is gone.
func TestConfirmWithoutABase(t *testing.T) {
	for _, what := range []string{"none", "damaged"} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, fixtures.Agent("counter-rust"))
			first := b.count(3)
			b.count(1)
			c, _ := b.confirm()
			if what == "damaged" {
				c.Data[0] = c.Data[0][:len(c.Data[0])/2]
				b.keep(c)
			}
			b.trim(first + 1)
			b.count(1)
			b.count(1)
			if _, ok, err := b.src.Confirm(context.Background(), b.state.ID, 0); ok || !errors.Is(err, events.ErrHistoryRemoved) {
				t.Fatalf("%v %v", ok, err)
			}
		})
	}
}

// without is a store that has lost each stream's event of one revision.
type without struct {
	events.Store
	lost events.Revision
}

func (w without) ReadStream(ctx context.Context, s events.Stream, opts events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		for rec, err := range w.Store.ReadStream(ctx, s, opts) {
			if (err != nil || rec.Revision != w.lost) && !yield(rec, err) {
				return
			}
		}
	}
}

// TestConfirmMissesAnEvent that nobody says was removed.
func TestConfirmMissesAnEvent(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	b.count(3)
	b.count(1)
	b.src.Store = without{b.src.Store, 2}
	var bad *events.CorruptError
	if _, ok, err := b.src.Confirm(context.Background(), b.state.ID, 0); ok || !errors.As(err, &bad) {
		t.Fatalf("%v %v, want *events.CorruptError", ok, err)
	}
}

// TestUnconfirmed: a snapshot of another state or memory is named, and so is a
// guest that goes otherwise than recorded.
func TestUnconfirmed(t *testing.T) {
	refused := func(t *testing.T, b *bench, what string, at events.Revision) {
		t.Helper()
		_, ok, err := b.src.Confirm(context.Background(), b.state.ID, 0)
		var bad *UnconfirmedError
		if ok || !errors.As(err, &bad) || bad.What != what || bad.Revision != at || bad.Agent != b.state.ID {
			t.Fatalf("%v %v, want another %s at %d", ok, err, what, at)
		}
	}
	for _, from := range []string{"the beginning", "a snapshot"} {
		t.Run("state, from "+from, func(t *testing.T) {
			b := newBench(t, fixtures.Agent("counter-rust"))
			b.count(1)
			if from == "a snapshot" {
				b.count(1)
			}
			b.state.Handled++
			at := b.count(1)
			refused(t, b, "state", at)
		})
	}
	t.Run("state, and all later ones made from it", func(t *testing.T) {
		b := newBench(t, fixtures.Agent("counter-rust"))
		b.state.Handled++
		b.count(1)
		b.count(1)
		at := b.count(1)
		b.count(1)
		refused(t, b, "state", at)
	})
	t.Run("memory", func(t *testing.T) {
		b := newBench(t, fixtures.Agent("counter-rust"))
		b.count(1)
		late, err := b.guest.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		b.handle(`{"op":"add","n":1}`, nil)
		list, err := EncodeSnapshot(b.state, late)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.store.Append(context.Background(), events.SnapshotStream(b.state.ID), events.Any(), list...); err != nil {
			t.Fatal(err)
		}
		refused(t, b, "memory", b.state.Revision)
	})
	t.Run("a run", func(t *testing.T) {
		b := newBench(t, fixtures.Agent("counter-rust"))
		b.count(1)
		b.handle(`{"op":"add","n":1}`, func(h *events.MessageHandled) { h.Fuel++ })
		b.count(1)
		var diverged *DivergedError
		if _, ok, err := b.src.Confirm(context.Background(), b.state.ID, 0); ok || !errors.As(err, &diverged) {
			t.Fatalf("%v %v", ok, err)
		}
	})
}

// TestRebuildOfATrimmedHistory: from either of two snapshots; without them the error
// names what is gone and why it is needed.
func TestRebuildOfATrimmedHistory(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	first := b.count(3)
	b.count(2)
	trim := b.trim(first + 1)
	if a := b.rebuilt(); a.Replayed != 0 {
		t.Fatalf("replayed %d", a.Replayed)
	}
	b.snapshot(func(d []byte) []byte { return d[:len(d)/2] })
	b.rebuilt()
	md := events.StreamMetadata{TruncateBefore: 2} // only the damaged one is left
	if _, err := b.store.SetStreamMetadata(context.Background(), events.SnapshotStream(b.state.ID), events.Any(), md); err != nil {
		t.Fatal(err)
	}
	for name, rebuild := range map[string]func() error{
		"state": func() error { _, err := b.src.State(context.Background(), b.state.ID); return err },
		"agent": func() error { _, err := b.src.Agent(context.Background(), b.state.ID); return err },
	} {
		var gone *events.HistoryRemovedError
		if err := rebuild(); !errors.As(err, &gone) || gone.Before != trim.Before || !gone.At.Equal(trim.At) {
			t.Errorf("%s without a snapshot: %v", name, err)
		}
	}
}

// TestRebuildSaysWhyItNeedsWhatIsGone: the snapshot is there, and this host has no
// room for it.
func TestRebuildSaysWhyItNeedsWhatIsGone(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	b.count(3)
	b.trim(b.state.Revision + 1)
	b.handle(`{"op":"add","n":1}`, nil)
	src := b.src
	src.Modules = only{} // none can be had
	if _, err := src.Agent(context.Background(), b.state.ID); !errors.Is(err, events.ErrHistoryRemoved) || !errors.Is(err, events.ErrModuleNotFound) {
		t.Errorf("%v", err)
	}
}

// TestTrialOfATrimmedHistory begins at a snapshot and says so.
func TestTrialOfATrimmedHistory(t *testing.T) {
	b := newBench(t, fixtures.Agent("kv"))
	b.shelve("kv")
	var at []events.Revision
	for i := range 9 {
		b.handle(fmt.Sprintf(`{"op":"put","key":"k%d","value":"v"}`, i), nil)
		if i%3 == 2 {
			b.snapshot(nil)
			at = append(at, b.state.Revision)
		}
	}
	whole := b.trialOf("kv")
	if whole.Difference != nil || whole.From != 1 || !whole.FromMemory || whole.HistoryFrom != 0 {
		t.Fatalf("%+v", whole)
	}
	b.trim(at[1] + 1)
	got := b.trialOf("kv")
	if got.Difference != nil || got.From != at[1]+1 || got.FromMemory || got.HistoryFrom != at[1]+1 || got.Messages != 3 || !got.Complete {
		t.Errorf("%+v %+v", got, got.Difference)
	}
	b.trim(at[2] + 1)
	if got = b.trialOf("kv"); got.Messages != 0 || got.From != at[2]+1 {
		t.Errorf("with nothing left but a snapshot: %+v", got)
	}
	if _, err := b.store.Delete(context.Background(), events.SnapshotStream(b.state.ID), events.StreamExists()); err != nil {
		t.Fatal(err)
	}
	_, err := b.src.Trial(context.Background(), b.state.ID, events.HashModule(fixtures.Agent("kv")), events.DefaultLimits())
	if !errors.Is(err, events.ErrHistoryRemoved) {
		t.Errorf("without a snapshot: %v", err)
	}
	if b, err := json.Marshal(got); err != nil || len(b) == 0 {
		t.Error(err)
	}
}

// TestUnfinishedBasesHideNoOlderOne: however often the next base was left unfinished, the
// one before it is found, and stands for what was removed.
func TestUnfinishedBasesHideNoOlderOne(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	first := b.count(3)
	b.count(1)
	c, _ := b.confirm()
	b.keep(c)
	b.trim(first + 1)
	for range snapshotsTried + 2 {
		for index := range maxSnapshotParts - 1 { // the last never came
			part := make([]byte, partHeadBytes)
			part[0], part[2], part[4] = snapshotVersion, byte(index), maxSnapshotParts
			if _, err := b.store.Append(context.Background(), events.BaseStream(b.state.ID), events.Any(), PartEvent(part)); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.count(1)
	b.count(1)
	if c, ok := b.confirm(); !ok || c.Replayed != 3 {
		t.Errorf("%d replayed, %v", c.Replayed, ok)
	}
	if at, err := b.src.NewestBase(context.Background(), b.state.ID); err != nil || at != 0 {
		t.Errorf("the newest base is at %d, %v", at, err)
	}
}
