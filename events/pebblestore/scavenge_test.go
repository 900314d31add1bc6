package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/caxton-run/caxton/events"
)

// clock is a store's clock that a test moves.
type clock struct{ micros atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMicro(c.micros.Load()) }
func (c *clock) advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

func newClock() *clock {
	c := &clock{}
	c.micros.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

// fill appends n events of one KiB to stream, one minute apart, and returns them.
func fill(t *testing.T, s *Store, c *clock, stream events.Stream, n int) []events.Event {
	t.Helper()
	var all []events.Event
	for i := range n {
		evs := part(fmt.Sprint(stream, "/", i), 1, 1024)
		c.advance(time.Minute)
		if _, err := s.Append(t.Context(), stream, events.Any(), evs...); err != nil {
			t.Fatal(err)
		}
		all = append(all, evs...)
	}
	return all
}

func setMetadata(t *testing.T, s *Store, stream events.Stream, md events.StreamMetadata) {
	t.Helper()
	if _, err := s.SetStreamMetadata(t.Context(), stream, events.Any(), md); err != nil {
		t.Fatal(err)
	}
}

func scavenge(t *testing.T, s *Store, opts ScavengeOptions) Scavenged {
	t.Helper()
	done, err := s.Scavenge(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func read(t *testing.T, s *Store, stream events.Stream) []string {
	t.Helper()
	var got []string
	for ev, err := range s.ReadStream(t.Context(), stream, events.ReadStreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(uint64(ev.Revision)))
	}
	return got
}

func sound(t *testing.T, s *Store) Verified {
	t.Helper()
	v, err := s.Verify(t.Context(), func(fault error) { t.Errorf("fault: %v", fault) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// hidden fills a log with streams of which each kind of metadata hides a part, and
// returns what is shown of each, and the events of snapshot-1.
func hidden(t *testing.T, s *Store, c *clock) (shown map[events.Stream][]string, counted []events.Event) {
	t.Helper()
	counted = fill(t, s, c, "snapshot-1", 10)
	fill(t, s, c, "truncated-1", 6)
	fill(t, s, c, "aged-1", 8)
	fill(t, s, c, "dead-1", 4)
	fill(t, s, c, "kept-1", 5)
	fill(t, s, c, "gone-1", 3)
	setMetadata(t, s, "snapshot-1", events.StreamMetadata{MaxCount: 99})
	setMetadata(t, s, "snapshot-1", events.StreamMetadata{MaxCount: 3})
	setMetadata(t, s, "truncated-1", events.StreamMetadata{TruncateBefore: 5})
	setMetadata(t, s, "aged-1", events.StreamMetadata{MaxAge: 15*time.Minute + 30*time.Second})
	if _, err := s.Tombstone(t.Context(), "dead-1", events.Any()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(t.Context(), "gone-1", events.Exact(2)); err != nil {
		t.Fatal(err)
	}
	return map[events.Stream][]string{"snapshot-1": {"7", "8", "9"}, "truncated-1": {"5"}, "aged-1": {"4", "5", "6", "7"}, "kept-1": {"0", "1", "2", "3", "4"}}, counted
}

func shows(t *testing.T, when string, s *Store, shown map[events.Stream][]string) {
	t.Helper()
	for stream, want := range shown {
		if got := read(t, s, stream); !slices.Equal(got, want) {
			t.Errorf("%s: %s shows %v, want %v", when, stream, got, want)
		}
	}
}

// TestScavenge drops what each kind of metadata hides, and nothing else, and
// leaves roots and revisions as they were.
func TestScavenge(t *testing.T) {
	c := newClock()
	opts := smallOptions(vfs.NewMem())
	opts.Now = c.now
	s := open(t, "log", opts)
	shown, _ := hidden(t, s, c)
	before := s.Root()
	shows(t, "before", s, shown)
	done := scavenge(t, s, ScavengeOptions{})
	// 7 of snapshot-1, 5 of truncated-1, 4 of aged-1, 4 of dead-1, 3 of gone-1, one of $$snapshot-1.
	if done.Events != 24 || done.Streams != 6 || done.Bytes < 23*1024 {
		t.Errorf("scavenged %+v", done)
	}
	shows(t, "after", s, shown)
	v := sound(t, s)
	if v.Scavenged != 24 || v.Root != s.Root() {
		t.Errorf("Verify: %+v, root %s", v, s.Root())
	}
	// One event came after: the one that says what was scavenged.
	if got := readAll(t, s); got[len(got)-1].Type != TypeScavengeCompleted || s.Root().Next != before.Next+1 {
		t.Errorf("the log ends with %s at %d, was at %d", got[len(got)-1].Type, s.Root().Next, before.Next)
	}
	if again := scavenge(t, s, ScavengeOptions{}); again != (Scavenged{}) {
		t.Errorf("a second scavenge found %+v", again)
	}
	root := s.Root()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, "log", opts)
	shows(t, "reopened", s, shown)
	if s.Root() != root {
		t.Errorf("root is %s after opening, was %s", s.Root(), root)
	}
}

// TestScavengedEventsAreKnown repeats appends of scavenged events: the answers are
// those of before, and no conversation finds them.
func TestScavengedEventsAreKnown(t *testing.T) {
	c := newClock()
	opts := smallOptions(vfs.NewMem())
	opts.Now = c.now
	s := open(t, "log", opts)
	_, counted := hidden(t, s, c)
	scavenge(t, s, ScavengeOptions{})
	if r, err := s.Append(t.Context(), "snapshot-1", events.NoStream(), counted[0]); err != nil || !r.Duplicate || r.First != 0 {
		t.Errorf("a retry of a scavenged event: %+v, %v", r, err)
	}
	other := counted[1]
	other.Data = append(slices.Clone(other.Data), ' ')
	if _, err := s.Append(t.Context(), "snapshot-1", events.Exact(0), other); !errors.Is(err, events.ErrIDReused) {
		t.Errorf("another event with a scavenged one's id: %v", err)
	}
	for ev, err := range s.ReadCorrelation(t.Context(), "snapshot-1/0", 0) {
		t.Errorf("found by correlation: %s@%d, %v", ev.Stream, ev.Revision, err)
	}
}

// TestScavengeKeepsWhatTheAuditNeeds drops nothing that was recorded at or after
// a time, and takes it up when the time has moved on.
func TestScavengeKeepsWhatTheAuditNeeds(t *testing.T) {
	c := newClock()
	opts := smallOptions(vfs.NewMem())
	opts.Now = c.now
	s := open(t, "log", opts)
	fill(t, s, c, "snapshot-1", 10)
	setMetadata(t, s, "snapshot-1", events.StreamMetadata{MaxCount: 1})
	floor := c.now().Add(-5*time.Minute - time.Second) // revision 4 is the first after it
	if done := scavenge(t, s, ScavengeOptions{Before: floor}); done.Events != 4 {
		t.Errorf("scavenged %+v, want 4 events", done)
	}
	if done := scavenge(t, s, ScavengeOptions{}); done.Events != 5 {
		t.Errorf("scavenged %+v, want the other 5", done)
	}
	sound(t, s)
}

// TestRootsAreOfTheirEvents compares two logs with the same commands, one of
// them scavenged, over more than a chunk, and a third with one other byte.
func TestRootsAreOfTheirEvents(t *testing.T) {
	const appends, each = 70, 128 // two chunks and some
	logOf := func(odd string) *Store {
		opts := smallOptions(vfs.NewMem())
		at := newClock()
		opts.Now = at.now
		s := open(t, "log", opts)
		for i := range appends {
			evs := make([]events.Event, each)
			for j := range evs {
				evs[j] = events.Event{ID: events.EventID{byte(i), byte(j)}, Type: "T", Data: []byte("d")}
			}
			if i == 40 {
				evs[7].Data = []byte(odd)
			}
			if _, err := s.Append(t.Context(), events.Stream(fmt.Sprintf("a-%d", i%3)), events.Any(), evs...); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	a, b, other := logOf("d"), logOf("d"), logOf("e")
	if a.Root() != b.Root() || a.Root() == other.Root() || a.Root().Next != appends*each {
		t.Errorf("roots %s, %s and of other events %s", a.Root(), b.Root(), other.Root())
	}
	if _, err := b.Tombstone(t.Context(), "a-1", events.Any()); err != nil {
		t.Fatal(err)
	}
	if done := scavenge(t, b, ScavengeOptions{}); done.Events != appends/3*each {
		t.Errorf("scavenged %+v", done)
	}
	sound(t, b)
	for chunk := range uint64(3) {
		ra, oka, erra := a.ChunkRoot(t.Context(), chunk)
		rb, okb, errb := b.ChunkRoot(t.Context(), chunk)
		ro, _, _ := other.ChunkRoot(t.Context(), chunk)
		if erra != nil || errb != nil || oka != (chunk < 2) || okb != (chunk < 2) || ra != rb {
			t.Errorf("chunk %d: %s, %s; %v, %v", chunk, ra, rb, erra, errb)
		}
		if differs := oka && ra != ro; differs != (chunk == 1) { // append 40 is in chunk 1
			t.Errorf("chunk %d of other events differs: %v", chunk, differs)
		}
	}
}

// TestForgedHistoryIsFound writes a record anew with all checksums right: only
// the roots can tell.
func TestForgedHistoryIsFound(t *testing.T) {
	s := open(t, "log", smallOptions(vfs.NewMem()))
	for i := range ChunkEvents/512 + 1 {
		evs := make([]events.Event, 512)
		for j := range evs {
			evs[j] = events.Event{ID: events.EventID{byte(i), byte(j), byte(j >> 8)}, Type: "T", Data: []byte("d")}
		}
		if _, err := s.Append(t.Context(), "a-1", events.Any(), evs...); err != nil {
			t.Fatal(err)
		}
	}
	forge := func(pos events.Position) {
		value, closer, err := s.db.Get(appendEventKey(nil, pos))
		if err != nil {
			t.Fatal(err)
		}
		b := slices.Clone(value)
		b[len(b)-1] = 'D'
		if err := errors.Join(closer.Close(), s.db.Set(appendEventKey(nil, pos), reseal(b), pebble.Sync)); err != nil {
			t.Fatal(err)
		}
	}
	forge(ChunkEvents + 3)
	if found := faults(t, s); len(found) != 1 || !strings.Contains(found[0], "root of the log") {
		t.Errorf("forged after the last chunk: %q", found)
	}
	forge(100)
	if found := faults(t, s); len(found) != 2 || !strings.Contains(found[0], "root of chunk 0") {
		t.Errorf("forged in chunk 0 too: %q", found)
	}
}

// TestPowerCutWhileScavenging cuts the power before every sync of a scavenge:
// what is shown stays, what is hidden is whole or a leaf, and the next scavenge
// ends the work.
func TestPowerCutWhileScavenging(t *testing.T) {
	for at := 1; ; at++ {
		mem := vfs.NewCrashableMem()
		c := newClock()
		opts := smallOptions(mem)
		opts.Now = c.now
		var armed bool
		var syncs int
		var clone *vfs.MemFS
		opts.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
				if syncs++; armed && syncs == at {
					clone = mem.CrashClone(vfs.CrashCloneCfg{})
				}
			}
			return nil
		}))
		s := open(t, "log", opts)
		for i := range 3 {
			fill(t, s, c, events.Stream(fmt.Sprintf("snapshot-%d", i)), 4)
			setMetadata(t, s, events.Stream(fmt.Sprintf("snapshot-%d", i)), events.StreamMetadata{MaxCount: 1})
		}
		evs := make([]events.Event, 2*maxScavenged) // so that one stream takes several commands
		for j := range evs {
			evs[j] = events.Event{ID: events.EventID{1, byte(j), byte(j >> 8)}, Type: "T", Data: []byte("d")}
		}
		if _, err := s.Append(t.Context(), "long-1", events.Any(), evs...); err != nil {
			t.Fatal(err)
		}
		setMetadata(t, s, "long-1", events.StreamMetadata{TruncateBefore: 2 * maxScavenged})
		root := s.Root()
		armed, syncs = true, 0 // nothing else syncs: the store is idle
		scavenge(t, s, ScavengeOptions{})
		armed = false
		if clone == nil {
			if at < 4 {
				t.Errorf("a scavenge has %d syncs only", at-1)
			}
			return
		}
		opts.FS = clone
		after := open(t, "log", opts)
		sound(t, after)
		for i := range 3 {
			if got := read(t, after, events.Stream(fmt.Sprintf("snapshot-%d", i))); !slices.Equal(got, []string{"3"}) {
				t.Errorf("cut before sync %d: snapshot-%d shows %v", at, i, got)
			}
		}
		if after.Root().Next == root.Next && after.Root() != root {
			t.Errorf("cut before sync %d: root is %s, was %s", at, after.Root(), root)
		}
		scavenge(t, after, ScavengeOptions{})
		if v := sound(t, after); v.Scavenged != 9+2*maxScavenged {
			t.Errorf("cut before sync %d: %d events are scavenged in the end", at, v.Scavenged)
		}
		if err := errors.Join(s.Close(), after.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestCloseEndsAScavenge closes the store under a scavenge of many streams.
func TestCloseEndsAScavenge(t *testing.T) {
	c := newClock()
	opts := smallOptions(vfs.NewMem())
	opts.Now = c.now
	s := open(t, "log", opts)
	for i := range 50 {
		stream := events.Stream(fmt.Sprintf("snapshot-%d", i))
		fill(t, s, c, stream, 2)
		setMetadata(t, s, stream, events.StreamMetadata{MaxCount: 1})
	}
	closed := make(chan error, 1)
	_, err := s.Scavenge(t.Context(), ScavengeOptions{Progress: func(streams uint64) {
		if streams == 10 {
			go func() { closed <- s.Close() }()
			<-s.quit
		}
	}})
	if !errors.Is(err, events.ErrClosed) {
		t.Errorf("the scavenge ends with %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s = open(t, "log", opts)
	if _, err := s.Scavenge(ctx, ScavengeOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled scavenge ends with %v", err)
	}
	scavenge(t, s, ScavengeOptions{})
	if v := sound(t, s); v.Scavenged != 50 {
		t.Errorf("%d of 50 events are scavenged", v.Scavenged)
	}
}

// TestScavengeTombstonedWithMetadata: a stream that has metadata and a tombstone is found
// by both, and dropped once.
func TestScavengeTombstonedWithMetadata(t *testing.T) {
	s := open(t, "log", smallOptions(vfs.NewMem()))
	defer s.Close()
	ctx := t.Context()
	_, appended := s.Append(ctx, "x-1", events.Any(), part("x", 4, 100)...)
	_, told := s.SetStreamMetadata(ctx, "x-1", events.Any(), events.StreamMetadata{MaxCount: 100})
	_, ended := s.Tombstone(ctx, "x-1", events.Any())
	if err := errors.Join(appended, told, ended); err != nil {
		t.Fatal(err)
	}
	done, err := s.Scavenge(ctx, ScavengeOptions{})
	if err != nil || done.Events != 5 { // the metadata are one
		t.Errorf("%+v, %v", done, err)
	}
	if found := faults(t, s); len(found) > 0 {
		t.Error(found)
	}
	if done, err = s.Scavenge(ctx, ScavengeOptions{}); err != nil || done.Events != 0 {
		t.Errorf("again: %+v, %v", done, err)
	}
}
