package wasmhost

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// TestEngineBytesAreCharged: what a module makes the engine hold for each instance is
// the agent's memory: it is refused by name under a limit that does not hold it, and
// grows no further than what is left of one that does.
func TestEngineBytesAreCharged(t *testing.T) {
	h := hostWith(t, nil, false)
	m, err := h.Compile(t.Context(), generated{globals: 4000, elements: 100_000}.wasm())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	const beside = 4000*chargeGlobal + 100_000*chargeElement
	if n := m.charge + chargeFree; n < beside || n > beside+4096 {
		t.Errorf("the charge and what is free are %d, want %d and the meter's few", n, beside)
	}
	if low := uint64(m.engineBytes()); m.charge+chargeFree < low {
		t.Errorf("charged %d, the engine takes %d", m.charge, low)
	}
	_, err = h.Instantiate(t.Context(), m, 1<<20)
	var failed *InitError
	if !errors.As(err, &failed) || failed.Status != events.OutcomeMemoryLimit || !strings.Contains(failed.Detail, "globals, tables and segments") {
		t.Errorf("under 1 MiB: %v", err)
	}
	const limit = 8 << 20
	in, err := h.Instantiate(t.Context(), m, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	pages := (limit - m.charge) / pageBytes
	if !in.resize(pages*pageBytes) || in.NeededMemory() > limit {
		t.Errorf("%d pages are not given, or %d bytes are too many", pages, in.NeededMemory())
	}
	if in.resize((pages+1)*pageBytes) || !in.linear.denied {
		t.Error("one page too many is given")
	}
	in.SetMaxMemory(limit + pageBytes)
	if !in.resize((pages + 1) * pageBytes) {
		t.Error("a raised limit does not hold it")
	}
}

// TestGuestsPayNothingBeside: the agents that come with caxton are not charged.
func TestGuestsPayNothingBeside(t *testing.T) {
	h := hostWith(t, nil, false)
	for _, name := range fixtures.Names() {
		if m := compileFixture(t, h, name); m.charge != 0 {
			t.Errorf("%s pays %d", name, m.charge)
		}
	}
}

// largeImage is a module whose initial image has n bytes and a little.
func largeImage(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i) | 1
	}
	return generated{data: data, pages: n/pageBytes + 2}.wasm()
}

// TestImagesAreBounded: a module for whose image there is no room works without:
// its guests are the same, and so are their snapshots, made with an image or not.
func TestImagesAreBounded(t *testing.T) {
	roomy, tight := hostWith(t, nil, false), hostWith(t, func(c *Config) { c.ImageMemory = 1 << 20 }, false)
	wasm := largeImage(2 << 20)
	var snaps [2][]byte
	var hashes [2][32]byte
	for i, h := range []*Host{roomy, tight} {
		m, err := h.Compile(t.Context(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		var in *Instance
		most := int64(3 << 20) // the image once
		if h == tight {
			most = 1 << 20 // none of it
		}
		if n := allocated(func() { in = start(t, h, m) }); n > most {
			t.Errorf("host %d takes %d bytes of the heap to begin", i, n)
		}
		if kept := in.base != nil; kept != (h == roomy) {
			t.Errorf("host %d keeps the image: %v", i, kept)
		}
		if used := h.images.used.Load(); used != m.image.Load().bytes() {
			t.Errorf("host %d counts %d bytes, has %d", i, used, m.image.Load().bytes())
		}
		in.linear.buf[100] = 9
		if snaps[i], err = in.Snapshot(); err != nil {
			t.Fatal(err)
		}
		hashes[i] = in.StateHash()
	}
	if hashes[0] != hashes[1] {
		t.Error("without an image the guest is another")
	}
	for i, h := range []*Host{roomy, tight} {
		m, _ := h.Cached(events.HashModule(wasm))
		defer m.Release()
		for j, snap := range snaps {
			in, err := h.Restore(context.Background(), m, testMemory, snap)
			if err != nil {
				t.Fatalf("snapshot %d on host %d: %v", j, i, err)
			}
			if in.StateHash() != hashes[0] {
				t.Errorf("snapshot %d on host %d is another guest", j, i)
			}
			in.Close()
		}
	}
}

// TestCapabilitiesWithoutImage: a guest that was initialised for a snapshot of its
// own has what it registered then.
func TestCapabilitiesWithoutImage(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileFixture(t, h, "timer")
	snap, err := start(t, h, m).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	tight := hostWith(t, func(c *Config) { c.ImageMemory = 1 << 20 }, false)
	tight.images.used.Add(1 << 20)
	in, err := tight.Restore(t.Context(), compileFixture(t, tight, "timer"), testMemory, snap)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if in.base != nil || len(in.Capabilities()) != 1 {
		t.Errorf("an image is kept, or not %q", in.Capabilities())
	}
}

// TestIdleImagesMakeRoom: modules that no agent uses keep small images, as long as
// nobody needs the room, and no large ones.
func TestIdleImagesMakeRoom(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.ImageMemory = 1 << 20 }, false)
	used := func(size int) (m *Module) {
		m, err := h.Compile(t.Context(), largeImage(size))
		if err != nil {
			t.Fatal(err)
		}
		in, err := h.Instantiate(t.Context(), m, testMemory)
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		return m
	}
	first := used(600 << 10)
	first.Release()
	if first.image.Load() == nil {
		t.Error("a small image is not kept")
	}
	second := used(500 << 10)
	if first.image.Load() != nil || second.image.Load() == nil {
		t.Error("an idle module's image does not make room")
	}
	third := used(600<<10 + 1)
	if second.image.Load() == nil || third.image.Load() != nil {
		t.Error("the image of a module in use makes room")
	}
	second.Release()
	third.Release()
	h.cfg.ImageMemory = 1 << 30
	large := used(2 << 20)
	if large.image.Load() == nil {
		t.Error("a large image is not kept while it is used")
	}
	large.Release()
	if large.image.Load() != nil {
		t.Error("a large image is kept though nobody uses it")
	}
	h.Trim(true, false)
	if n := h.images.used.Load(); n != 0 {
		t.Errorf("%d bytes of images are counted, of none", n)
	}
}
