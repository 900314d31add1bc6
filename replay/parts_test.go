package replay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// noise is bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b) // never fails
	return b
}

// grown is a state of n values, some of which compress.
func grown(t testing.TB, n, size int) *agent.State {
	t.Helper()
	id := events.NewAgentID()
	st := &agent.State{ID: id}
	if err := st.Apply(0, events.AgentDeployed{AgentID: id, Name: "a", Limits: events.DefaultLimits()}); err != nil {
		t.Fatal(err)
	}
	random := noise(n * size)
	for i := range n {
		value := bytes.Repeat([]byte{byte(i)}, size)
		if i%2 == 0 {
			value = random[i*size : (i+1)*size]
		}
		e := events.MessageHandled{
			Message: events.Message{ID: events.NewMessageID()}, Outcome: events.OutcomeOK,
			State: []events.StateChange{{Key: fmt.Sprint(i), Value: value}},
		}
		if err := st.Apply(st.Revision+1, e); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

func dataOf(list []events.Event) [][]byte {
	var out [][]byte
	for _, ev := range list {
		out = append(out, ev.Data)
	}
	return out
}

// TestSnapshotRoundTrip: of any size, in as many events as it takes, each of which
// fits an append.
func TestSnapshotRoundTrip(t *testing.T) {
	for _, c := range []struct {
		values, size, memory, parts int
	}{
		{0, 0, 0, 1}, {1, 10, 6, 1}, {40, 1000, 0, 1}, {0, 0, partBytes - 500, 1}, {0, 0, partBytes, 2}, {20, 200_000, 3 * partBytes, 6},
	} {
		st, memory := grown(t, c.values, c.size), noise(c.memory)
		list, err := EncodeSnapshot(st, memory)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != c.parts {
			t.Errorf("%d values of %d and %d of memory are %d events, want %d", c.values, c.size, c.memory, len(list), c.parts)
		}
		for _, ev := range list {
			if ev.Size() > events.MaxAppendBytes {
				t.Errorf("an event of %d bytes", ev.Size())
			}
		}
		got, err := decodeSnapshot(dataOf(list))
		if err != nil || !bytes.Equal(got.memory, memory) || encoded(t, got.state) != encoded(t, st) {
			t.Errorf("%+v: %v, or another state or memory", c, err)
		}
	}
	if _, err := EncodeSnapshot(new(agent.State), make([]byte, maxSnapshotParts*partBytes)); !errors.Is(err, events.ErrTooLarge) {
		t.Errorf("%v, want events.ErrTooLarge", err)
	}
}

// TestASnapshotTakesWhatItHolds: thousands are written at once when memory is short.
func TestASnapshotTakesWhatItHolds(t *testing.T) {
	for _, memory := range []int{0, 6, 5000, partBytes + 100} {
		list, err := EncodeSnapshot(grown(t, 1, 10), noise(memory))
		if err != nil {
			t.Fatal(err)
		}
		const slack = 8 << 10 // the state, and the allocator's classes
		size := 0
		for _, ev := range list {
			size += cap(ev.Data)
		}
		if size > memory+slack {
			t.Errorf("%d bytes are reserved for a snapshot of %d of memory", size, memory)
		}
	}
}

// TestSnapshotIsWholeOrNotThere: whatever is missing of it, in another place, or
// other than it was.
func TestSnapshotIsWholeOrNotThere(t *testing.T) {
	list, err := EncodeSnapshot(new(agent.State), noise(3*partBytes))
	if err != nil || len(list) != 4 {
		t.Fatal(len(list), err)
	}
	other, err := EncodeSnapshot(new(agent.State), noise(4 * partBytes)[partBytes:])
	if err != nil || len(other) != 4 {
		t.Fatal(len(other), err)
	}
	p, o := dataOf(list), dataOf(other)
	flipped := bytes.Clone(p[2])
	flipped[len(flipped)-1] ^= 1
	for name, parts := range map[string][][]byte{
		"nothing": {}, "the first is missing": p[1:], "the last is missing": p[:3], "one is missing": {p[0], p[1], p[3]},
		"out of order": {p[1], p[0], p[2], p[3]}, "twice": {p[0], p[1], p[1], p[2], p[3]},
		"another's part": {p[0], o[1], p[2], p[3]}, "another begun between": {p[0], p[1], o[0], p[2], p[3]},
		"a short part": {p[0][:3], p[1], p[2], p[3]}, "a bit of it flipped": {p[0], p[1], flipped, p[3]},
	} {
		if _, err := decodeSnapshot(parts); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
	if _, err := decodeSnapshot(append(slices.Clone(p), o[:2]...)); err != nil {
		t.Errorf("behind it one was left unfinished: %v", err)
	}
}

// TestRebuildFromParts: an agent's rebuild begins at a snapshot of many events, and
// at the one before when the newest was left unfinished.
func TestRebuildFromParts(t *testing.T) {
	b := newBench(t, fixtures.Agent("kv"))
	const size = 90_000
	random := noise(16 * size)
	for i := range 16 {
		b.handle(fmt.Sprintf(`{"op":"put","key":"k%d","value":"%x"}`, i, random[i*size:(i+1)*size]), nil)
	}
	b.snapshot(nil)
	stream := events.SnapshotStream(b.state.ID)
	head := events.Revision(0)
	for rec, err := range b.store.ReadStream(context.Background(), stream, events.ReadStreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		head = rec.Revision
	}
	if head == 0 {
		t.Fatal("the snapshot is one event: this test is of none")
	}
	b.handle(`{"op":"put","key":"k","value":1}`, nil)
	if a := b.rebuilt(); a.Snapshot != 16 || a.Replayed != 1 {
		t.Errorf("began at revision %d and ran %d messages again, want 16 and 1", a.Snapshot, a.Replayed)
	}
	memory, err := b.guest.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	list, err := EncodeSnapshot(b.state, memory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Append(context.Background(), stream, events.Any(), list[0]); err != nil {
		t.Fatal(err)
	}
	if a := b.rebuilt(); a.Snapshot != 16 || a.Replayed != 1 {
		t.Errorf("with an unfinished one it began at revision %d and ran %d messages again, want 16 and 1", a.Snapshot, a.Replayed)
	}
}

// Any bytes are a snapshot or a named fault, never a panic.
func FuzzDecodeSnapshot(f *testing.F) {
	for _, memory := range [][]byte{[]byte("memory"), noise(partBytes)} {
		list, err := EncodeSnapshot(grown(f, 3, 3000), memory)
		if err != nil {
			f.Fatal(err)
		}
		for _, ev := range list {
			f.Add(ev.Data[partHeadBytes:min(len(ev.Data), 16<<10)], byte(snapshotVersion))
		}
	}
	f.Add([]byte{0, 0, 0, 9}, byte(1))
	f.Add([]byte{}, byte(0))
	f.Fuzz(func(t *testing.T, data []byte, version byte) {
		in := append([]byte{version}, data...)
		if version == snapshotVersion { // with a head that is right, or nothing else would be looked at
			sum := sha256.Sum256(data)
			in = binary.BigEndian.AppendUint32([]byte{version}, 1)
			in = append(append(in, sum[:]...), data...)
		}
		s, err := decodeSnapshot([][]byte{in})
		var corrupt *events.CorruptError
		if (err == nil) != (s.state != nil) || err != nil && !errors.As(err, &corrupt) {
			t.Errorf("%v %v", s.state, err)
		}
	})
}
