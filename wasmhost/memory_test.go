package wasmhost

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestGrow: a memory that moves takes its bytes along, and what was never
// written stays out of memory.
func TestGrow(t *testing.T) {
	b := memoryBudget{limit: 1 << 40}
	l := &linearMemory{budget: &b, limit: 1 << 30}
	l.Reallocate(pageBytes)
	l.buf[0], l.buf[pageBytes-1] = 1, 2
	for size := uint64(2 * pageBytes); size <= 1<<30; size *= 2 {
		buf := l.Reallocate(size)
		if uint64(len(buf)) != size || buf[0] != 1 || buf[pageBytes-1] != 2 {
			t.Fatalf("%d bytes, ends %d and %d", len(buf), buf[0], buf[pageBytes-1])
		}
	}
	if b.used.Load() != 1<<30 {
		t.Errorf("%d bytes counted", b.used.Load())
	}
	p, err := openPagemap()
	if err != nil {
		t.Skip(err)
	}
	defer p.close()
	if got, err := p.resident(l.place.Load(), l.size.Load()); err != nil || got > 4*pageBytes {
		t.Errorf("%d bytes are in memory, %v", got, err)
	}
	if l.Reallocate(1<<30+1) != nil || !l.denied || l.exhausted {
		t.Error("grew beyond its limit")
	}
	for range 2 {
		l.Free()
	}
	b.slabs.trim()
	if mapped, taken, _ := b.slabs.sizes(); b.used.Load() != 0 || mapped != 0 || taken != 0 {
		t.Errorf("after Free: %d used, %d mapped, %d taken", b.used.Load(), mapped, taken)
	}
}

// TestLargeMemoryIsNotCopied: what a guest of 4 MiB and more has, it has after it grew
// because the pages moved, in memory or not, and no second copy was ever made: a copy
// of 512 MiB takes a tenth of a second in which nobody can stop the guest.
func TestLargeMemoryIsNotCopied(t *testing.T) {
	b := memoryBudget{limit: 1 << 40}
	l := &linearMemory{budget: &b, limit: 1 << 32}
	defer l.Free()
	size := uint64(2 << maxSharedBits)
	l.Reallocate(size)
	paint(l.buf, 7)
	slot, chunk := l.slot, l.slot.chunk
	for ; size <= 1<<31; size *= 2 {
		buf := l.Reallocate(size + pageBytes)
		if uint64(len(buf)) != size+pageBytes || !painted(buf[:2<<maxSharedBits], 7) {
			t.Fatalf("at %d bytes the content is another", size)
		}
		if l.slot != slot || l.slot.chunk != chunk {
			t.Fatalf("at %d bytes it was given another slot", size)
		}
	}
	if mapped, taken, lost := b.slabs.sizes(); mapped != 1<<32 || taken != 1<<32 || lost != 0 {
		t.Errorf("%d mapped, %d taken, %d lost", mapped, taken, lost)
	}
}

// TestGuestMemoryIsBounded: guests together have no more than the host may give.
// One that comes too late is told that the node is full, which passes; one that
// grows then crashes, and its message is tried again.
func TestGuestMemoryIsBounded(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.GuestMemory = 1 << 20 }, false)
	m := compileTest(t, h, "probe") // 1 page at the start
	ctx := context.Background()
	var list []*Instance
	for range 12 {
		list = append(list, start(t, h, m))
	}
	out := ask(list[0], "g")
	if out.Status != events.OutcomeHostFault || !strings.Contains(out.Detail, "no more memory") || !errors.Is(out.Short, events.ErrOverloaded) {
		t.Errorf("grows until the node is full: %s: %s; %v", out.Status, out.Detail, out.Short)
	}
	if _, err := h.Instantiate(ctx, m, testMemory); !errors.Is(err, events.ErrOverloaded) {
		t.Errorf("one more: %v", err)
	}
	snap, err := list[1].Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Restore(ctx, m, testMemory, snap); !errors.Is(err, events.ErrOverloaded) {
		t.Errorf("one from a snapshot: %v", err)
	}
	list[0].Close()
	in, err := h.Instantiate(ctx, m, testMemory)
	if err != nil {
		t.Fatalf("when there is room again: %v", err)
	}
	in.Close()
	for _, in := range list {
		in.Close()
	}
	in, err = h.Instantiate(ctx, m, 2<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if out := ask(in, "g"); out.Status != events.OutcomeHostFault || out.Short != nil {
		t.Errorf("alone, grows beyond what the node has: %s: %v", out.Status, out.Short)
	}
}

// closing is a state whose reading closes the instance that reads.
type closing struct{ in *Instance }

func (c closing) Get(string) ([]byte, bool) {
	c.in.Close()
	c.in.Close()
	return nil, false
}

// TestCloseWithinCall: memory is not pulled from under a guest, whatever mistake
// its owner makes, and goes when the call is over.
func TestCloseWithinCall(t *testing.T) {
	h := hostWith(t, nil, false)
	in := start(t, h, compileTest(t, h, "busy"))
	c := testCall("r")
	c.State = closing{in}
	in.Handle(context.Background(), c)
	if in.use.Load() != useClosed || h.MemoryBytes() != 0 {
		t.Errorf("the closed instance holds %d bytes", h.MemoryBytes())
	}
	if out := ask(in, "a"); out.Status == events.OutcomeOK {
		t.Error("a closed instance runs")
	}
	if u, err := in.MemoryUsage(); u.Total() != 0 {
		t.Errorf("a closed instance takes %+v, %v", u, err)
	}
}

// calling is a state whose reading calls the instance that reads.
type calling struct {
	in  *Instance
	got *Outcome
}

func (c calling) Get(string) ([]byte, bool) {
	*c.got = ask(c.in, "a")
	return nil, false
}

func TestCallWithinCall(t *testing.T) {
	h := hostWith(t, nil, false)
	in := start(t, h, compileTest(t, h, "busy"))
	var inner Outcome
	c := testCall("r")
	c.State = calling{in, &inner}
	if out := in.Handle(context.Background(), c); out.Status != events.OutcomeOK || inner.Status != events.OutcomeHostFault {
		t.Errorf("%s, within it %s", out.Status, inner.Status)
	}
}

// TestStackIsFound: the engine's stacks can be measured, and one that grew large
// is not kept.
func TestStackIsFound(t *testing.T) {
	h := hostWith(t, nil, false)
	in := start(t, h, compileTest(t, h, "busy"))
	if out := ask(in, "a"); out.Status != events.OutcomeOK {
		t.Fatalf("%s: %s", out.Status, out.Detail)
	}
	if n := in.warm.stacks.Load(); n < 16<<10 || n > maxWarmStack {
		t.Errorf("after a small call the stacks have %d bytes", n)
	}
	before := in.entries()
	if out := ask(in, "d"); out.Status != events.OutcomeOK {
		t.Fatalf("%s: %s", out.Status, out.Detail)
	}
	if n := h.warm.stackBytes(before.handle); n <= maxWarmStack {
		t.Errorf("a deep recursion takes %d bytes of stack", n)
	}
	if in.warm.entries.Load() != nil || in.warm.stacks.Load() != 0 {
		t.Error("a large stack is kept")
	}
	if out := ask(in, "a"); out.Status != events.OutcomeOK {
		t.Errorf("after that: %s: %s", out.Status, out.Detail)
	}
}

// TestWarmGuests: as many keep their stacks as may, and all are called as well
// as before, from many goroutines too.
func TestWarmGuests(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.WarmGuests = 2 }, false)
	m := compileTest(t, h, "busy")
	list := make([]*Instance, 8)
	for i := range list {
		list[i] = start(t, h, m)
	}
	var wg sync.WaitGroup
	for _, in := range list {
		wg.Go(func() {
			for range 50 {
				if out := ask(in, "a"); out.Status != events.OutcomeOK {
					t.Errorf("%s: %s", out.Status, out.Detail)
				}
			}
		})
	}
	wg.Wait()
	warm := 0
	for _, in := range list {
		if in.warm.entries.Load() != nil {
			warm++
		}
	}
	if n, stacks := h.warm.size(); n > 2 || warm > 2 || stacks > 2*maxWarmStack {
		t.Errorf("%d guests are warm, %d by the host's count with %d bytes", warm, n, stacks)
	}
	freed := h.Trim(false, false)
	if n, _ := h.warm.size(); freed.Guests == 0 || n != 0 {
		t.Errorf("freed %+v, %d still warm", freed, n)
	}
	runtime.KeepAlive(list)
}
