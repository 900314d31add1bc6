package wasmhost

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// inUse checks that a slot reads as zeros, and marks it as its owner's.
func inUse(t rapid.TB, p slot, size uint64, mark byte) {
	t.Helper()
	b := p.bytes()
	if uint64(len(b)) < size || len(b) > 2*max(int(size), pageBytes) {
		t.Fatalf("a slot of %d bytes for %d", len(b), size)
	}
	for i := 0; i < len(b); i += blockBytes {
		if !bytes.Equal(b[i:i+blockBytes], zeroBlock[:]) {
			t.Fatalf("a new slot holds an old guest's bytes at %d", i)
		}
	}
	paint(b, mark)
}

// paint marks a slot at its ends and here and there between.
func paint(b []byte, mark byte) {
	for i := 0; i < len(b); i += 4099 {
		b[i] = mark
	}
	b[len(b)-1] = mark
}

func painted(b []byte, mark byte) bool {
	for i := 0; i < len(b); i += 4099 {
		if b[i] != mark {
			return false
		}
	}
	return b[len(b)-1] == mark
}

// TestSlabs: whatever is taken and given back in whatever order, no two slots
// share a byte, none shows what was there before, and the sums are right.
func TestSlabs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s slabs
		type owned struct {
			slot
			mark byte
		}
		var list []owned
		var taken int64
		sizes := rapid.SampledFrom([]uint64{1, pageBytes, pageBytes + 1, 3 * pageBytes, 1 << 20, 5 << 20})
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				if len(list) > 200 {
					t.Skip("enough")
				}
				size := sizes.Draw(t, "size")
				p, err := s.take(size)
				if err != nil {
					t.Fatal(err)
				}
				mark := byte(rapid.IntRange(1, 255).Draw(t, "mark"))
				inUse(t, p, size, mark)
				taken += int64(len(p.bytes()))
				list = append(list, owned{p, mark})
			},
			"give": func(t *rapid.T) {
				if len(list) == 0 {
					t.Skip("none")
				}
				i := rapid.IntRange(0, len(list)-1).Draw(t, "which")
				p := list[i]
				if !painted(p.bytes(), p.mark) {
					t.Fatal("someone else wrote to a slot")
				}
				taken -= int64(len(p.bytes()))
				s.give(p.slot)
				list[i] = list[len(list)-1]
				list = list[:len(list)-1]
			},
			"extend": func(t *rapid.T) {
				if len(list) == 0 {
					t.Skip("none")
				}
				p := list[rapid.IntRange(0, len(list)-1).Draw(t, "which")]
				before := p.bytes()
				size := uint64(2 * len(before))
				if size > 64<<20 {
					t.Skip("large enough")
				}
				if len(before) <= 1<<maxSharedBits {
					if s.extend(p.slot, size) {
						t.Fatal("a slot among others was extended")
					}
					return
				}
				old := len(before)
				if !s.extend(p.slot, size) {
					t.Fatal("not extended")
				}
				b := p.bytes()
				if uint64(len(b)) != size || !painted(b[:old], p.mark) {
					t.Fatal("the content is lost")
				}
				for i := old; i < len(b); i += blockBytes {
					if !bytes.Equal(b[i:i+blockBytes], zeroBlock[:]) {
						t.Fatalf("not zeros at %d", i)
					}
				}
				taken += int64(len(b) - old)
				paint(b, p.mark)
			},
			"trim": func(*rapid.T) { s.trim() },
			"": func(t *rapid.T) {
				mapped, got, lost := s.sizes()
				if got != taken || mapped < taken || lost != 0 {
					t.Fatalf("%d bytes mapped, %d taken, %d lost; %d are", mapped, got, lost, taken)
				}
			},
		})
		for _, p := range list {
			if !painted(p.bytes(), p.mark) {
				t.Fatal("someone else wrote to a slot")
			}
			s.give(p.slot)
		}
		s.close()
		if mapped, got, lost := s.sizes(); mapped != 0 || got != 0 || lost != 0 {
			t.Fatalf("at the end %d bytes are mapped, %d taken, %d lost", mapped, got, lost)
		}
	})
}

func TestSlabLimits(t *testing.T) {
	var s slabs
	for _, size := range []uint64{0, 1<<32 + 1} {
		if _, err := s.take(size); err == nil {
			t.Errorf("%d bytes are given", size)
		}
	}
	large, err := s.take(1 << 32)
	if err != nil {
		t.Fatal(err)
	}
	large.bytes()[1<<32-1] = 1
	s.give(large)
	s.give(slot{})
	if mapped, _, _ := s.sizes(); mapped != 0 {
		t.Errorf("a large mapping stays: %d bytes", mapped)
	}
	kept, err := s.take(1)
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	if _, err := s.take(1); err == nil {
		t.Error("closed slabs give memory")
	}
	kept.bytes()[0] = 1 // still its owner's
	s.give(kept)
	if mapped, taken, _ := s.sizes(); mapped != 0 || taken != 0 {
		t.Errorf("after the last: %d mapped, %d taken", mapped, taken)
	}
}

func TestSlabsFromManyGoroutines(t *testing.T) {
	var s slabs
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			var list []slot
			for range 2000 {
				if len(list) < 100 && r.IntN(2) == 0 {
					p, err := s.take(1 << (16 + r.IntN(3)))
					if err != nil {
						t.Error(err)
						return
					}
					paint(p.bytes(), byte(g+1))
					list = append(list, p)
				} else if n := len(list); n > 0 {
					if !painted(list[n-1].bytes(), byte(g+1)) {
						t.Error("someone else wrote to a slot")
					}
					s.give(list[n-1])
					list = list[:n-1]
				}
			}
			for _, p := range list {
				s.give(p)
			}
		})
	}
	wg.Wait()
	s.close()
	if mapped, taken, _ := s.sizes(); mapped != 0 || taken != 0 {
		t.Errorf("%d mapped, %d taken", mapped, taken)
	}
}
