package events

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"testing"
)

// memory keeps streams without durability: enough for a module. fail is the
// number of the append that fails, from 1.
type memory struct {
	Store
	streams map[Stream][]Event
	calls   int
	fail    int
}

func newMemory() *memory { return &memory{streams: make(map[Stream][]Event)} }

func (m *memory) Append(_ context.Context, s Stream, e ExpectedRevision, evs ...Event) (Result, error) {
	if m.calls++; m.calls == m.fail {
		return Result{}, ErrUnknownOutcome
	}
	for i, old := range m.streams[s] {
		if old.ID == evs[0].ID && bytes.Equal(old.Data, evs[0].Data) {
			return Result{First: Revision(i), Duplicate: true}, nil
		}
	}
	n := len(m.streams[s])
	if !e.Matches(Revision(max(n-1, 0)), n > 0) {
		return Result{}, &WrongRevisionError{Stream: s, Expected: e}
	}
	m.streams[s] = append(m.streams[s], evs...)
	return Result{First: Revision(n)}, nil
}

func (m *memory) ReadStream(_ context.Context, s Stream, _ ReadStreamOptions) iter.Seq2[Recorded, error] {
	return func(yield func(Recorded, error) bool) {
		if len(m.streams[s]) == 0 {
			yield(Recorded{}, ErrStreamNotFound)
			return
		}
		for i, ev := range m.streams[s] {
			if !yield(Recorded{Event: ev, Stream: s, Revision: Revision(i)}, nil) {
				return
			}
		}
	}
}

func TestModuleRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, ModuleChunkBytes - 1, ModuleChunkBytes, ModuleChunkBytes + 1, 3*ModuleChunkBytes + 5} {
		wasm := bytes.Repeat([]byte("wasm!"), size/5+1)[:size]
		m := newMemory()
		h, err := StoreModule(t.Context(), m, wasm)
		if err != nil || h != HashModule(wasm) {
			t.Fatalf("%d bytes: %s, %v", size, h, err)
		}
		calls := m.calls
		if again, err := StoreModule(t.Context(), m, wasm); err != nil || again != h || m.calls != 2*calls || len(m.streams[ModuleStream(h)]) != calls {
			t.Errorf("%d bytes, stored again: %s, %v; %d events", size, again, err, len(m.streams[ModuleStream(h)]))
		}
		got, err := LoadModule(t.Context(), m, h)
		if err != nil || !bytes.Equal(got, wasm) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
		for i, ev := range m.streams[ModuleStream(h)] {
			if ev.Size() > MaxAppendBytes || (i > 0 && ev.Type != TypeModuleChunk) {
				t.Errorf("event %d: %s of %d bytes", i, ev.Type, ev.Size())
			}
		}
	}
}

// TestModuleHalfStored fails each append in turn: the module is not found until
// it was stored to its end, and storing it again completes it.
func TestModuleHalfStored(t *testing.T) {
	wasm := bytes.Repeat([]byte{7}, 2*ModuleChunkBytes+1)
	for fail := 1; fail <= 4; fail++ {
		m := newMemory()
		m.fail = fail
		if _, err := StoreModule(t.Context(), m, wasm); !errors.Is(err, ErrUnknownOutcome) {
			t.Fatalf("append %d failed: %v", fail, err)
		}
		if _, err := LoadModule(t.Context(), m, HashModule(wasm)); !errors.Is(err, ErrModuleNotFound) {
			t.Errorf("half stored: %v", err)
		}
		if _, err := StoreModule(t.Context(), m, wasm); err != nil {
			t.Errorf("again: %v", err)
		}
		if got, err := LoadModule(t.Context(), m, HashModule(wasm)); err != nil || !bytes.Equal(got, wasm) {
			t.Errorf("after that: %d bytes, %v", len(got), err)
		}
	}
}

func TestModuleOfOtherBytes(t *testing.T) {
	m := newMemory()
	h, err := StoreModule(t.Context(), m, []byte("good"))
	if err != nil {
		t.Fatal(err)
	}
	m.streams[ModuleStream(h)][1].Data = []byte("evil")
	if _, err := LoadModule(t.Context(), m, h); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}
