package replay

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"iter"
	"sort"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
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
		if got, before := holds(c.data); got != c.want || (before > 0) != (name == "the last part") {
			t.Errorf("%s: %d, and %d parts before, want %d", name, got, before, c.want)
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

// asking is a source of modules that tells when a module is asked for.
type asking struct {
	Modules
	tell func(h events.ModuleHash)
}

func (w asking) Module(ctx context.Context, h events.ModuleHash) (*wasmhost.Module, error) {
	w.tell(h)
	return w.Modules.Module(ctx, h)
}

// TestPackedStateTakesRoom: of a snapshot of several parts, what its state is unpacked
// to counts as well, and comes with the rest.
func TestPackedStateTakesRoom(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	b.count(2)
	parts, unpacked := b.largeSnapshot()
	bytes := int64(2*parts*partBytes + unpacked)
	b.src.Room = NewRoom(bytes + 1)
	asked := false
	b.src.Modules = asking{b.src.Modules, func(events.ModuleHash) {
		asked = true
		if left := b.src.Room.left(); left != 1 {
			t.Errorf("it leaves %d bytes of room, want 1 beside its parts, what they are joined to and its state", left)
		}
	}}
	a, err := b.src.Agent(t.Context(), b.state.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Release()
	if !asked || a.Snapshot != b.state.Revision {
		t.Errorf("it began at revision %d, and asked for its module: %t", a.Snapshot, asked)
	}
	if left := b.src.Room.left(); left != bytes+1 {
		t.Errorf("it left %d bytes of room, want %d", left, bytes+1)
	}
}

// left is how much room nobody holds, which nobody may want meanwhile.
func (r *Room) left() int64 {
	return int64(sort.Search(int(r.bytes), func(n int) bool {
		if !r.held.TryAcquire(int64(n) + 1) {
			return true
		}
		r.held.Release(int64(n) + 1)
		return false
	}))
}

// largeSnapshot stores one of several parts, of an agent that has a state which packs
// well and one that does not, and says how many parts that are and how large the state is.
func (b *bench) largeSnapshot() (parts, unpacked int) {
	b.t.Helper()
	noise := make([]byte, partBytes)
	if _, err := rand.Read(noise); err != nil {
		b.t.Fatal(err)
	}
	large := *b.state
	large.Name = strings.Repeat("x", 8<<20) + hex.EncodeToString(noise)
	memory, err := b.guest.Snapshot()
	if err != nil {
		b.t.Fatal(err)
	}
	list, err := EncodeSnapshot(&large, memory)
	if err != nil || len(list) < 2 {
		b.t.Fatal(len(list), err)
	}
	b.keepSnapshot(list, nil)
	return len(list), len(encoded(b.t, &large))
}
