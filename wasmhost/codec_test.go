package wasmhost

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// largeGuest is a guest that has filled so many bytes of its memory.
func largeGuest(t *testing.T, h *Host, m *Module, size int, fill func([]byte)) *Instance {
	t.Helper()
	in, err := h.Instantiate(context.Background(), m, 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	if !in.resize(uint64(size)) {
		t.Fatal("it does not grow")
	}
	fill(in.linear.buf[1<<20:])
	return in
}

// allocated is how many bytes of the Go heap f takes in all, freed or not.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// TestLargeSnapshotsPassThrough: neither saving nor restoring a large guest holds its
// memory once more on the Go heap: many do both at a time, and the host has counted
// each once.
func TestLargeSnapshotsPassThrough(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	const size, most = 64 << 20, 16 << 20
	in := largeGuest(t, h, m, size, func(b []byte) { paint(b, 7) })
	var snap []byte
	var err error
	if n := allocated(func() { snap, err = in.Snapshot() }); err != nil || n > most {
		t.Fatalf("saving %d bytes takes %d of the heap, %v", size, n, err)
	}
	var again *Instance
	if n := allocated(func() { again, err = h.Restore(context.Background(), m, 256<<20, snap) }); err != nil || n > most {
		t.Fatalf("restoring %d bytes takes %d of the heap, %v", size, n, err)
	}
	defer again.Close()
	if again.StateHash() != in.StateHash() {
		t.Error("restored, its state is another")
	}
	twice, err := again.Snapshot()
	if err != nil || !bytes.Equal(twice, snap) {
		t.Errorf("the same state has another snapshot, %v", err)
	}
	for name, bad := range map[string][]byte{
		"cut": snap[:len(snap)/2], "changed": changedAt(snap, len(snap)/2), "longer": append(bytes.Clone(snap), snap[snapshotHeadBytes:]...),
	} {
		var damaged *SnapshotError
		if _, err := h.Restore(context.Background(), m, 256<<20, bad); !errors.As(err, &damaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func changedAt(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0xff
	return b
}

// TestSnapshotIsBounded: what does not become small enough for the log is not made.
func TestSnapshotIsBounded(t *testing.T) {
	h := hostWith(t, nil, false)
	random := rand.NewChaCha8([32]byte{1})
	in := largeGuest(t, h, compileTest(t, h, "probe"), maxSnapshotBytes+8<<20, func(b []byte) { _, _ = random.Read(b) })
	if snap, err := in.Snapshot(); !errors.Is(err, events.ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(snap), err)
	}
	if out := ask(in, "a"); out.Status != events.OutcomeOK {
		t.Errorf("after it: %s: %s", out.Status, out.Detail)
	}
}

// TestCloseWithinSnapshot: memory is not pulled from under one who saves it, or
// computes its hash.
func TestCloseWithinSnapshot(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	for range 20 {
		in := largeGuest(t, h, m, 8<<20, func(b []byte) { paint(b, 3) })
		var wg sync.WaitGroup
		began := make(chan struct{})
		wg.Go(func() {
			close(began)
			if _, err := in.Snapshot(); err == nil {
				in.StateHash()
			}
		})
		<-began
		in.Close()
		wg.Wait()
	}
	if n := h.MemoryBytes(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
}

// TestUsageWhileMoving: those who ask what a guest takes do so while its memory moves
// to other addresses, and touch none.
func TestUsageWhileMoving(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	live := make(chan *Instance, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(live)
		for range 8 {
			in, err := h.Instantiate(context.Background(), m, 128<<20)
			if err != nil {
				t.Error(err)
				return
			}
			live <- in
			if out := ask(in, "g"); out.Status != events.OutcomeMemoryLimit { // moves at 8, 16, 32, 64 and 128 MiB
				t.Errorf("%s: %s", out.Status, out.Detail)
			}
			in.Close()
		}
	})
	for in := range live {
		for in.use.Load() != useClosed {
			if u, err := in.MemoryUsage(); err != nil || u.Resident > 128<<20 {
				t.Errorf("%+v, %v", u, err)
			}
			if u, err := h.MemoryUsage(); err != nil || u.Resident > u.Mapped {
				t.Errorf("%+v, %v", u, err)
			}
		}
	}
	wg.Wait()
}
