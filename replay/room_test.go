package replay

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// TestHolds: a snapshot is weighed by its event that is read first.
func TestHolds(t *testing.T) {
	memory := make([]byte, 2*partBytes)
	if _, err := rand.Read(memory); err != nil {
		t.Fatal(err)
	}
	state := &agent.State{ID: events.NewAgentID()}
	large, err := EncodeSnapshot(state, memory)
	if err != nil || len(large) != 3 {
		t.Fatal(len(large), err)
	}
	small, err := EncodeSnapshot(state, memory[:10])
	if err != nil {
		t.Fatal(err)
	}
	state.Name = strings.Repeat("x", 1<<20)
	packed, err := EncodeSnapshot(state, nil)
	if err != nil || len(packed) != 1 {
		t.Fatal(len(packed), err)
	}
	unpacked, err := state.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want int
	}{
		"a packed state": {packed[0].Data, len(packed[0].Data) + len(unpacked)}, "the last part": {large[2].Data, 6 * partBytes}, "another part": {large[1].Data, 0}, "the first part": {large[0].Data, 0},
		"the only part": {small[0].Data, len(small[0].Data)}, "an old one": {[]byte{1, 2, 3}, 3}, "nothing": {nil, 0},
		"too many parts": {append([]byte{snapshotVersion, 0, 64, 0, 65}, make([]byte, 40)...), 0},
	} {
		if got := holds(c.data); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// found is a store that tells when it has come upon an event of a snapshot.
type found struct {
	events.Store
	tell func()
}

func (f found) ReadStream(ctx context.Context, s events.Stream, opts events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		for rec, err := range f.Store.ReadStream(ctx, s, opts) {
			if s.Category() == events.CategorySnapshot {
				f.tell()
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// TestSnapshotsWaitForRoom: one that finds no room waits until there is, or its caller
// gives up; all room is given back, also after snapshots that were of no use.
func TestSnapshotsWaitForRoom(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	b.count(2)
	b.count(2)
	b.src.Room = NewRoom(1) // so that each is read alone
	b.rebuilt()
	leave, err := b.src.Room.enter(t.Context(), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := b.src
	waiting.Store = found{b.store, cancel}
	if a, err := waiting.Agent(ctx, b.state.ID); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "wait to read a snapshot of ") {
		t.Errorf("it gave up with %v", err)
		if err == nil {
			a.Release()
		}
	}
	leave()
	b.snapshot(func(d []byte) []byte { return bytes.ToUpper(d) }) // damaged
	b.rebuilt()
	if _, ok := b.confirm(); !ok {
		t.Error("not confirmed")
	}
	if leave, err = b.src.Room.enter(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	leave()
}
