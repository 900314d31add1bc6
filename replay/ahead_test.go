package replay

import (
	"context"
	"errors"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
)

// elsewhere is the bench's log as a node sees it that has compiled nothing yet, with
// little room, and which modules it was asked for while they were not compiled.
func (b *bench) elsewhere() (src Source, compiled *[]events.ModuleHash) {
	b.t.Helper()
	cfg := wasmhost.DefaultConfig()
	cfg.IdleModules = 1 // so that a reference has to keep the others compiled
	ctx := context.Background()
	host, err := wasmhost.New(ctx, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := host.Close(ctx); err != nil {
			b.t.Error(err)
		}
	})
	var shelved Modules = sharing{host, fixtures.Agent("counter-rust")}
	if s, ok := b.src.Modules.(shelf); ok {
		shelved = shelf{host, s.wasm}
	}
	room := NewRoom(1) // so that whoever reads a snapshot has all of it
	compiled = new([]events.ModuleHash)
	src = Source{Store: b.store, Host: host, Room: room, Modules: asking{shelved, func(h events.ModuleHash) {
		if m, ok := host.Cached(h); ok {
			m.Release()
			return
		}
		*compiled = append(*compiled, h)
		if room.left() == 0 {
			b.t.Errorf("module %s is compiled while a snapshot holds its room", h)
		}
	}}}
	return src, compiled
}

// TestNoRoomIsHeldForACompiler: a snapshot whose module is not compiled is let go
// meanwhile, and the agent wakes from it all the same.
func TestNoRoomIsHeldForACompiler(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	b.count(2)
	b.count(2)
	c, _ := b.confirm()
	b.keep(c)
	b.trim(c.Older + 1)
	for name, look := range map[string]func(*testing.T, Source){
		"wake": func(t *testing.T, src Source) {
			a, err := src.Agent(t.Context(), b.state.ID)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Release()
			if a.Snapshot != c.Newer || a.Guest.StateHash() != b.guest.StateHash() {
				t.Errorf("it began at revision %d, want %d, and its memory is as it was: %t", a.Snapshot, c.Newer, a.Guest.StateHash() == b.guest.StateHash())
			}
		},
		"confirm": func(t *testing.T, src Source) {
			if c, ok, err := src.Confirm(t.Context(), b.state.ID, 0); err != nil || !ok || c.Replayed != 2 {
				t.Errorf("%d replayed, %t, %v", c.Replayed, ok, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, compiled := b.elsewhere()
			if look(t, src); len(*compiled) != 1 || src.Room.left() != 1 {
				t.Errorf("compiled %v, want one module once; %d of the room is left", *compiled, src.Room.left())
			}
		})
	}
}

// TestSnapshotsOfSeveralModules: when the newest is of no use, the next one's module is
// compiled as well, and none twice.
func TestSnapshotsOfSeveralModules(t *testing.T) {
	b := newBench(t, fixtures.Agent("tally"))
	b.shelve("tally", "tally-2")
	b.handle(`{"op":"add","n":2}`, nil)
	b.snapshot(nil)
	older := b.state.Revision
	b.update("tally-2", nil)
	for range 2 {
		b.keepSnapshot(EncodeSnapshot(b.state, []byte("no memory")))
	}
	src, compiled := b.elsewhere()
	a, err := src.Agent(t.Context(), b.state.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Release()
	if a.Snapshot != older || a.Module.Hash() != b.state.Module {
		t.Errorf("it began at revision %d, want %d", a.Snapshot, older)
	}
	if len(*compiled) < 2 || (*compiled)[0] != b.state.Module || (*compiled)[1] == b.state.Module {
		t.Errorf("compiled %v, want the newer module and then the older", *compiled)
	}
}

// keepSnapshot stores a snapshot's events.
func (b *bench) keepSnapshot(list []events.Event, err error) {
	b.t.Helper()
	for _, ev := range list {
		if err == nil {
			_, err = b.store.Append(b.t.Context(), events.SnapshotStream(b.state.ID), events.Any(), ev)
		}
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// TestAModuleThatCannotBeHad is asked for once for all snapshots, and once more to begin
// without one.
func TestAModuleThatCannotBeHad(t *testing.T) {
	b := newBench(t, fixtures.Agent("counter-rust"))
	b.count(1)
	b.count(1)
	src, compiled := b.elsewhere()
	src.Modules = asking{only{}, src.Modules.(asking).tell}
	if _, err := src.Agent(t.Context(), b.state.ID); !errors.Is(err, events.ErrModuleNotFound) {
		t.Errorf("%v, want events.ErrModuleNotFound", err)
	}
	if len(*compiled) != 2 {
		t.Errorf("asked for %d times, want 2", len(*compiled))
	}
}
