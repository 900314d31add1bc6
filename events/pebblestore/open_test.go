package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

func TestOptionsReportEveryFault(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	var inv *events.InvalidError
	if err := (Options{}).Validate(); !errors.As(err, &inv) || len(inv.Fields) != 8 {
		t.Errorf("the zero value has eight faults, not %v", err)
	}
	if _, err := Open(t.TempDir(), Options{}); !errors.As(err, &inv) {
		t.Errorf("Open: %v", err)
	}
}

func TestDirectoryInUse(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"disk": nil, "memory": vfs.NewMem()} {
		dir := filepath.Join(t.TempDir(), "a", "b")
		s := open(t, dir, smallOptions(fsys))
		if _, err := Open(dir, smallOptions(fsys)); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: second Open: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := open(t, dir, smallOptions(fsys)).Close(); err != nil {
			t.Errorf("%s: after Close: %v", name, err)
		}
	}
}

// TestReopenContinues closes and opens with more streams than the heads cache
// holds.
func TestReopenContinues(t *testing.T) {
	mem := vfs.NewMem()
	const streams = 3 * minHeadCache
	for round := range 3 {
		s := open(t, "log", smallOptions(mem))
		for i := range streams {
			stream, expected := events.Stream(fmt.Sprintf("agent-%d", i)), events.NoStream()
			if round > 0 {
				expected = events.Exact(events.Revision(round - 1))
			}
			r, err := s.Append(t.Context(), stream, expected, part("x", 1, 10)...)
			if err != nil || r.Position != events.Position(round*streams+i) {
				t.Fatalf("round %d, %s: %+v, %v", round, stream, r, err)
			}
		}
		if v, err := s.Verify(t.Context(), func(fault error) { t.Error(fault) }, nil); err != nil || v.Streams != streams || v.Events != uint64((round+1)*streams) {
			t.Errorf("Verify: %+v, %v", v, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnrootedLogIsUpgraded opens a log as it was written before there were
// roots and flags in heads: it gets the roots that it would have had.
func TestUnrootedLogIsUpgraded(t *testing.T) {
	mem := vfs.NewMem()
	s := open(t, "log", smallOptions(mem))
	for i := range ChunkEvents/256 + 1 {
		evs := make([]events.Event, 256)
		for j := range evs {
			evs[j] = events.Event{ID: events.EventID{byte(i), byte(j)}, Type: "T", Data: []byte("d")}
		}
		if _, err := s.Append(t.Context(), "a-1", events.Any(), evs...); err != nil {
			t.Fatal(err)
		}
	}
	want := s.Root()
	h, _, err := readHead(s.db, "a-1")
	if err != nil {
		t.Fatal(err)
	}
	old := appendHead(nil, h)
	old = old[:len(old)-1]
	old[0] = headUnflagged
	for key, value := range map[string][]byte{
		string(appliedKey()):              append([]byte{appliedUnrooted}, number(uint64(want.Next))...),
		string(appendHeadKey(nil, "a-1")): old,
	} {
		if err := s.db.Set([]byte(key), value, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Delete(appendRootKey(nil, 0), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // upgraded, then as any other
		s = open(t, "log", smallOptions(mem))
		if s.Root() != want {
			t.Errorf("root is %s, want %s", s.Root(), want)
		}
		sound(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnknownVersionsAreRefused: a log of a newer caxton is not opened, and says
// why.
func TestUnknownVersionsAreRefused(t *testing.T) {
	for where, key := range map[string][]byte{"applied position": appliedKey(), "head of stream a-1": appendHeadKey(nil, "a-1")} {
		mem := vfs.NewMem()
		s := open(t, "log", smallOptions(mem))
		if _, err := s.Append(t.Context(), "a-1", events.Any(), part("x", 1, 1)...); err != nil {
			t.Fatal(err)
		}
		value, closer, err := s.db.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(value)
		b[0] = 9
		if err := errors.Join(closer.Close(), s.db.Set(key, b, pebble.Sync), s.Close()); err != nil {
			t.Fatal(err)
		}
		s, err = Open("log", smallOptions(mem))
		if err == nil {
			_, err = s.Append(t.Context(), "a-1", events.Any(), part("y", 1, 1)...)
			s.Close()
		}
		if !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), where+": unknown version") {
			t.Errorf("%s of version 9: %v", where, err)
		}
	}
}

// TestOlderFormatIsTakenOver opens a directory that Pebble wrote in the oldest
// format that caxton ever used, without seals.
func TestOlderFormatIsTakenOver(t *testing.T) {
	mem := vfs.NewMem()
	o := (&Store{opts: smallOptions(mem), fs: mem, log: slog.New(slog.DiscardHandler)}).pebbleOptions()
	o.FormatMajorVersion = pebble.FormatWALSyncChunks
	db, err := pebble.Open("log", o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set(appliedKey(), encodeApplied(0, root{}), pebble.Sync), db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := open(t, "log", smallOptions(mem))
		if _, err := s.Append(t.Context(), "a-1", events.Any(), part("x", 1, 10)...); err != nil {
			t.Fatal(err)
		}
		sound(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEndOfLogCutOff takes the write-ahead log away: the low-water mark knows that more
// was acknowledged.
func TestEndOfLogCutOff(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, DefaultOptions())
	for range 3 {
		if _, err := s.Append(t.Context(), "agent-1", events.Any(), part("x", 1, 10)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	for _, name := range logs {
		if err := os.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Open(dir, DefaultOptions())
	if !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), "everything below 3 was acknowledged") {
		t.Errorf("Open: %v", err)
	}
}

func TestStatsAndObserve(t *testing.T) {
	opts := smallOptions(vfs.NewMem())
	var observed []time.Duration
	opts.Observe = func(d time.Duration) { observed = append(observed, d) }
	s := open(t, "log", opts)
	evs := part("x", 3, 10)
	for range 2 { // the second is a retry and writes nothing
		if _, err := s.Append(t.Context(), "agent-1", events.NoStream(), evs...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(t.Context(), "agent-1", events.NoStream(), part("y", 1, 10)...); err == nil {
		t.Error("a wrong expectation was accepted")
	}
	size := 0
	for i := range evs {
		size += evs[i].Size()
	}
	st := s.Stats()
	if st.Appends != 1 || st.Events != 3 || st.Syncs != 1 || st.Bytes != uint64(size) || st.DiskBytes == 0 {
		t.Errorf("%+v", st)
	}
	if len(observed) != 2 || observed[0] <= 0 {
		t.Errorf("observed %v", observed)
	}
}

func TestReadCorrelation(t *testing.T) {
	s := open(t, "log", smallOptions(vfs.NewMem()))
	long := strings.Repeat("l", maxCorrelation+1)
	for i, c := range []string{"a", "b", "a", "", "ab", "a", long, "a\x00b"} {
		ev := part(fmt.Sprint(i), 1, 10)[0]
		ev.Metadata = events.Metadata{CorrelationID: c}.Encode()
		if _, err := s.Append(t.Context(), events.Stream(fmt.Sprintf("agent-%d", i%2)), events.Any(), ev); err != nil {
			t.Fatal(err)
		}
	}
	for c, want := range map[string]string{"a": "[0 2 5]", "b": "[1]", "ab": "[4]", "": "[]", long: "[]", "a\x00b": "[7]", "none": "[]"} {
		got := []events.Position{}
		for ev, err := range s.ReadCorrelation(t.Context(), c, 0) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ev.Position)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("correlation %.10q: positions %v, want %s", c, got, want)
		}
	}
	n := 0
	for range s.ReadCorrelation(t.Context(), "a", 2) {
		n++
	}
	if n != 2 {
		t.Errorf("at most 2: got %d", n)
	}
}

// TestHubOverflowWakesEveryone announces more streams than the hub keeps.
func TestHubOverflowWakesEveryone(t *testing.T) {
	var h hub
	h.init()
	all := &waiter{filter: events.Filter{Categories: []events.Category{"none"}}, bell: make(chan struct{}, 1)}
	one := &waiter{stream: "agent-x", bell: make(chan struct{}, 1)}
	h.join(all)
	h.join(one)
	streams := make([]events.Stream, maxDirty+1)
	for i := range streams {
		streams[i] = events.Stream(fmt.Sprintf("agent-%d", i))
	}
	h.publish(streams)
	done := make(chan struct{})
	go func() { h.run(); close(done) }()
	<-all.bell
	<-one.bell
	h.stop()
	<-done
	h.part(all)
	h.part(one)
	if len(h.byLog)+len(h.byStream) != 0 || h.count.Load() != 0 {
		t.Error("the hub remembers who left")
	}
}

// TestVerifyTellsProgress: it grows, ends near its total, and a cancelled walk
// ends.
func TestVerifyTellsProgress(t *testing.T) {
	s := open(t, "log", smallOptions(vfs.NewMem()))
	for i := range 4 {
		if _, err := s.Append(t.Context(), events.Stream(fmt.Sprintf("agent-%d", i)), events.Any(), part("x", 1000, 10)...); err != nil {
			t.Fatal(err)
		}
	}
	var done, total uint64
	_, err := s.Verify(t.Context(), func(fault error) { t.Error(fault) }, func(d, of uint64) {
		if d <= done || d > of {
			t.Errorf("%d of %d after %d", d, of, done)
		}
		done, total = d, of
	})
	// Per event: a record, five index entries; and four heads.
	if want := uint64(4000*6 + 4); err != nil || total != want || want-done > verifyPause {
		t.Errorf("%d of %d, want a total of %d; %v", done, total, want, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = s.Verify(ctx, func(fault error) { t.Error(fault) }, func(uint64, uint64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled walk ends with %v", err)
	}
}
