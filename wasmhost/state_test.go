package wasmhost

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// count lets a probe take its n-th message: each has its own clock and seed.
func count(in *Instance, n int) Outcome {
	c := testCall("c")
	c.Message.ID = events.MessageID{byte(n), byte(n >> 8)}
	c.Host = events.HostRecord{NowMicros: 1_700_000_000_000_000 + int64(n), Seed: uint64(n)}
	return in.Handle(context.Background(), c)
}

// TestRestore: at any point, a restored guest is the guest it was, and goes on
// as it would have; and so is one that was replayed.
func TestRestore(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		cut, total := r.IntN(25)*min(round, 1), 30 // 0 first: a body too small to say its size
		one, replayed := start(t, h, m), start(t, h, m)
		live := one
		for n := range total {
			if n == cut {
				snap, err := live.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				before := live.StateHash()
				if live, err = h.Restore(context.Background(), m, testMemory, snap); err != nil {
					t.Fatal(err)
				}
				defer live.Close()
				if live.StateHash() != before || live.MemoryBytes() != one.MemoryBytes() {
					t.Fatalf("restored after %d messages it is another", n)
				}
			}
			a, b := count(live, n), count(replayed, n)
			if a.Status != events.OutcomeOK || a.Fuel != b.Fuel || !bytes.Equal(a.Reply, b.Reply) {
				t.Fatalf("message %d: %s with %d fuel, replayed %s with %d", n, a.Status, a.Fuel, b.Status, b.Fuel)
			}
		}
		if live.StateHash() != replayed.StateHash() {
			t.Errorf("cut at %d: the states differ", cut)
		}
	}
}

// TestStateHashTells: a hash that is always the same would pass the tests above.
func TestStateHashTells(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	in := start(t, h, m)
	seen := map[[32]byte]bool{in.StateHash(): true}
	in.mem.WriteByte(50_000, 1)
	seen[in.StateHash()] = true
	in.state[0].Set(9)
	seen[in.StateHash()] = true
	in.mem.Grow(1)
	seen[in.StateHash()] = true
	if len(seen) != 4 {
		t.Errorf("%d hashes of 4 states", len(seen))
	}
}

func TestSnapshotErrors(t *testing.T) {
	h := hostWith(t, nil, false)
	m, other := compileTest(t, h, "probe"), compileTest(t, h, "alloc-null")
	ctx := context.Background()
	in := start(t, h, m)
	for n := range 12 {
		count(in, n)
	}
	snap, err := in.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	bad := func(name string, m *Module, memory uint64, snap []byte) {
		t.Helper()
		var damaged *SnapshotError
		if got, err := h.Restore(ctx, m, memory, snap); !errors.As(err, &damaged) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	bad("of another module", other, testMemory, snap)
	bad("empty", m, testMemory, nil)
	bad("of another version", m, testMemory, append([]byte{9}, snap[1:]...))
	bad("cut", m, testMemory, snap[:len(snap)-3])
	bad("of two frames", m, testMemory, append(bytes.Clone(snap), snap[snapshotHeadBytes:]...))
	bad("under a lower limit", m, 2*pageBytes, snap)

	ask(in, "u")
	if _, err := in.Snapshot(); err == nil {
		t.Error("a failed instance gives a snapshot")
	}
	fixed := compileTest(t, h, "table-set")
	if w := fixed.Info().Warnings; fixed.Info().Snapshotable || len(w) != 1 || !strings.HasPrefix(w[0], events.WarnReplayOnly) {
		t.Errorf("a module that sets its table is snapshotable, or nobody is warned: %q", w)
	}
	if _, err := start(t, h, fixed).Snapshot(); !errors.Is(err, ErrNotSnapshotable) {
		t.Errorf("snapshot: %v", err)
	}
	if _, err := h.Restore(ctx, fixed, testMemory, snap); !errors.Is(err, ErrNotSnapshotable) {
		t.Errorf("restore: %v", err)
	}
}

func FuzzRestore(f *testing.F) {
	h := hostWith(f, nil, false)
	m := compileTest(f, h, "probe")
	in := start(f, h, m)
	for n := range 7 {
		snap, err := in.Snapshot()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(snap[snapshotHeadBytes:], true)
		body, err := h.zstd.decompress(snap[snapshotHeadBytes:], testMemory)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, false)
		count(in, n)
	}
	f.Fuzz(func(t *testing.T, b []byte, compressed bool) {
		snap := m.snapshotHead(snapshotVersion, baseImage)
		if compressed {
			snap = append(snap, b...)
		} else {
			snap = h.zstd.compress(snap, b)
		}
		in, err := h.Restore(context.Background(), m, 1<<20, snap)
		var damaged *SnapshotError
		if err != nil && !errors.As(err, &damaged) {
			t.Fatalf("error of no kind: %v", err)
		}
		if err == nil {
			in.Close()
		}
	})
}

// TestImage: the guest is initialised once, and what it came to serves all
// limits that hold it.
func TestImage(t *testing.T) {
	h := hostWith(t, nil, false)
	m, err := h.Compile(context.Background(), fixtures.Agent("counter-as"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	first := start(t, h, m)
	if m.image.Load() == nil || first.base == nil {
		t.Fatal("no image is kept")
	}
	second, err := h.Instantiate(context.Background(), m, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.base != first.base || first.StateHash() != second.StateHash() {
		t.Error("two fresh instances differ")
	}
	elsewhere := hostWith(t, func(c *Config) { c.InitFuel, c.Slice = 77_000_000, 100 }, true)
	n, err := elsewhere.Compile(context.Background(), fixtures.Agent("counter-as"))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Release()
	if start(t, elsewhere, n).StateHash() != first.StateHash() {
		t.Error("the image depends on the node")
	}
}
