package meter

import "math/bits"

// liveness finds, from the steps of a function, which locals hold a value that
// is still needed, and counts those that need a place in the frame.
type liveness struct {
	words  int // of a set of locals
	blocks []block
	arena  []uint64 // sets of locals, words each
	open   []int32  // ids of the open blocks

	live, placed []uint64
}

// block is a block of the function, numbered by its beginning. Its sets stand in
// the arena.
type block struct{ alternative bool } // it has an else

// Sets that each block has.
const (
	setAssigned = iota // locals that are set inside
	setLabel           // alive at its label
	setElse            // alive where its else begins
	setElsePlaced
	blockSets
)

func (l *liveness) begin(n int) {
	l.words = max(1, (n+63)/64)
	l.blocks, l.arena, l.open = l.blocks[:0], l.arena[:0], l.open[:0]
	l.enter()
}

// enter opens a block.
func (l *liveness) enter() uint32 {
	id := uint32(len(l.blocks))
	l.blocks = append(l.blocks, block{})
	for range l.words * blockSets {
		l.arena = append(l.arena, 0)
	}
	l.open = append(l.open, int32(id))
	return id
}

// leave closes the innermost block: what is set inside is set inside its parent.
func (l *liveness) leave() uint32 {
	k := len(l.open) - 1
	id := uint32(l.open[k])
	l.open = l.open[:k]
	if k > 0 {
		union(l.of(uint32(l.open[k-1]), setAssigned), l.of(id, setAssigned))
	}
	return id
}

func (l *liveness) of(id uint32, set int) []uint64 {
	at := (int(id)*blockSets + set) * l.words
	return l.arena[at : at+l.words : at+l.words]
}

func (l *liveness) set(local uint32) {
	l.of(uint32(l.open[len(l.open)-1]), setAssigned)[local/64] |= 1 << (local % 64)
}

func union(to, from []uint64) (grew bool) {
	for i, w := range from {
		if w&^to[i] != 0 {
			grew = true
			to[i] |= w
		}
	}
	return grew
}

func count(set []uint64) (n int) {
	for _, w := range set {
		n += bits.OnesCount64(w)
	}
	return n
}

// meet counts the values that differ where paths meet, and forgets them: above
// they are others.
func (s *frameSize) meet(id uint32, times int) {
	assigned := s.of(id, setAssigned)
	for i, w := range assigned {
		s.slots += times * bits.OnesCount64(s.placed[i]&w)
		s.placed[i] &^= w
	}
}

// maxPasses bounds how often a function is walked for what its loops carry: one
// more than loops nest is always enough, and two nearly always.
const maxPasses = 6

// finish ends the function: it walks the steps backward until what is alive at the
// heads of loops is known, and counts.
func (s *frameSize) finish() {
	s.live, s.placed = s.live[:0], s.placed[:0]
	for range s.words {
		s.live, s.placed = append(s.live, 0), append(s.placed, 0)
	}
	forward := s.slots
	for pass := 0; ; pass++ {
		s.slots, s.high = forward, 0
		clear(s.live)
		clear(s.placed)
		if changed := s.backward(); !changed {
			break
		}
		if pass == maxPasses {
			s.everything()
		}
	}
	union(s.placed, s.live) // the check at the entry may call
	s.slots += count(s.placed)
}

// everything takes all that is read anywhere as alive at the heads of all loops.
func (s *frameSize) everything() {
	read := make([]uint64, s.words)
	for _, x := range s.steps {
		if x.kind == stepGet {
			read[x.n/64] |= 1 << (x.n % 64)
		}
	}
	for id := range s.blocks {
		union(s.of(uint32(id), setLabel), read)
	}
}

func (s *frameSize) backward() (changed bool) {
	for i := len(s.steps) - 1; i >= 0; i-- {
		x := s.steps[i]
		switch x.kind {
		case stepGet:
			s.live[x.n/64] |= 1 << (x.n % 64)
		case stepSet:
			w, bit := x.n/64, uint64(1)<<(x.n%64)
			if s.placed[w]&bit != 0 {
				s.slots++
				s.placed[w] &^= bit
			}
			s.live[w] &^= bit
		case stepCall:
			union(s.placed, s.live)
		case stepStop:
			clear(s.live)
		case stepBranch:
			copy(s.live, s.of(x.n, setLabel))
		case stepMaybe:
			union(s.live, s.of(x.n, setLabel))
		case stepElse:
			copy(s.of(x.n, setElse), s.live)
			copy(s.of(x.n, setElsePlaced), s.placed)
			s.blocks[x.n].alternative = true
			copy(s.live, s.of(x.n, setLabel))
		case stepIf:
			if s.blocks[x.n].alternative {
				union(s.live, s.of(x.n, setElse))
				union(s.placed, s.of(x.n, setElsePlaced))
			} else {
				union(s.live, s.of(x.n, setLabel))
			}
		case stepEnd:
			copy(s.of(x.n, setLabel), s.live)
		case stepMeet:
			copy(s.of(x.n, setLabel), s.live)
			s.meet(x.n, 1)
		case stepLoop, stepMined:
			changed = union(s.of(x.n, setLabel), s.live) || changed
			union(s.placed, s.live) // its check may call
			times := loopMeets
			if x.kind == stepMined {
				times = minedMeets
			}
			s.meet(x.n, times)
		}
		s.pressure(x, count(s.live)+int(x.high))
	}
	return changed
}

// pressure counts what was made before a step with n values alive.
func (s *frameSize) pressure(x step, n int) {
	s.high = max(s.high, n)
	if n <= enoughRegisters {
		return
	}
	union(s.placed, s.live)
	switch x.kind {
	case stepCall, stepMeet, stepLoop, stepMined:
		s.slots += renewed
	}
}
