package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
)

// TestReadOnlyChangesNothing: looking at a log leaves each file as it was, and a
// directory without one is not made into one.
func TestReadOnlyChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	look := DefaultOptions()
	look.ReadOnly = true
	if _, err := Open(dir, look); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, look); !errors.Is(err, ErrNoLog) {
		t.Errorf("an empty directory: %v", err)
	}
	s := open(t, dir, DefaultOptions())
	if _, err := s.Append(t.Context(), "a-1", events.Any(), part("x", 3, 10)...); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, look); !errors.Is(err, ErrInUse) {
		t.Errorf("a log in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	s = open(t, dir, look)
	if n := len(readAll(t, s)); n != 3 {
		t.Errorf("%d events are read, want 3", n)
	}
	if _, err := s.Append(t.Context(), "a-1", events.Any(), part("y", 1, 1)...); !errors.Is(err, events.ErrReadOnly) {
		t.Errorf("an append: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, files(t, dir)); d != "" {
		t.Errorf("files (-before +after):\n%s", d)
	}
}

// files returns the content of each file in dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[n.Name()] = string(b)
	}
	return all
}

func TestCensus(t *testing.T) {
	s := open(t, "log", smallOptions(vfs.NewMem()))
	if c, err := s.Census(t.Context(), 2); err != nil || c.Events != 0 || !c.First.IsZero() {
		t.Errorf("an empty log: %+v, %v", c, err)
	}
	for i, stream := range []events.Stream{"agent-1", "agent-2", "inbox-1"} {
		if _, err := s.Append(t.Context(), stream, events.Any(), part(fmt.Sprint(i), i+1, 1)...); err != nil {
			t.Fatal(err)
		}
	}
	setMetadata(t, s, "agent-1", events.StreamMetadata{MaxCount: 1})
	got, err := s.Census(t.Context(), 2)
	if err != nil || got.First.IsZero() || got.Last.Before(got.First) {
		t.Errorf("%+v, %v", got, err)
	}
	want := Census{
		Events: 7, Streams: 4, First: got.First, Last: got.Last,
		Categories: []Count{{"agent", 3}, {"inbox", 3}, {"$$agent", 1}},
		Types:      []Count{{"Part", 6}, {"$metadata", 1}},
		Largest:    []Count{{"inbox-1", 3}, {"agent-2", 2}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestVerifyEnd reads the end only, and finds there what is wrong.
func TestVerifyEnd(t *testing.T) {
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
	end := func() (Verified, []string) {
		var found []string
		v, err := s.VerifyEnd(t.Context(), func(fault error) { found = append(found, fault.Error()) })
		if err != nil {
			t.Fatal(err)
		}
		return v, found
	}
	if v, found := end(); len(found) > 0 || v.Events != 512 || v.Root != s.Root() {
		t.Errorf("a sound log: %+v, %v", v, found)
	}
	damage := func(key []byte, edit func([]byte)) {
		value, closer, err := s.db.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		b := slices.Clone(value)
		edit(b)
		if err := errors.Join(closer.Close(), s.db.Set(key, b, pebble.Sync)); err != nil {
			t.Fatal(err)
		}
	}
	damage(appendEventKey(nil, 5), func(b []byte) { b[len(b)-1]++ })
	if _, found := end(); len(found) > 0 {
		t.Errorf("damage before the end: %v", found)
	}
	damage(appendEventKey(nil, ChunkEvents+5), func(b []byte) { b[len(b)-1]++ })
	if _, found := end(); len(found) != 1 || !strings.Contains(found[0], fmt.Sprintf("position %d: CRC-32C", ChunkEvents+5)) {
		t.Errorf("damage at the end: %v", found)
	}
	damage(appendRootKey(nil, 0), func(b []byte) { b[0] = 9 })
	if _, found := end(); len(found) != 2 || !strings.Contains(found[0], "root of chunk 0: unknown version") {
		t.Errorf("damage to the last stored root: %v", found)
	}
}

// meddling is a context that does something when it is asked for the first time
// whether it ended.
type meddling struct {
	context.Context
	once sync.Once
	do   func()
}

// Err implements context.Context.
func (m *meddling) Err() error {
	m.once.Do(m.do)
	return m.Context.Err()
}

// TestVerifyBesideAScavenge scavenges in the middle of a walk: what is dropped
// meanwhile is no fault.
func TestVerifyBesideAScavenge(t *testing.T) {
	for name, verify := range map[string]func(*Store, context.Context, func(error)) (Verified, error){
		"all": func(s *Store, ctx context.Context, report func(error)) (Verified, error) {
			return s.Verify(ctx, report, nil)
		},
		"end": (*Store).VerifyEnd,
	} {
		s := open(t, "log", smallOptions(vfs.NewMem()))
		for i := range 3 {
			if _, err := s.Append(t.Context(), "a-1", events.Any(), part(fmt.Sprint(i), verifyPause, 1)...); err != nil {
				t.Fatal(err)
			}
		}
		setMetadata(t, s, "a-1", events.StreamMetadata{MaxCount: 1})
		ctx := &meddling{Context: t.Context(), do: func() { scavenge(t, s, ScavengeOptions{}) }}
		v, err := verify(s, ctx, func(fault error) { t.Errorf("%s: %v", name, fault) })
		if err != nil || v.Events != 3*verifyPause+1 {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		if t.Failed() {
			return
		}
	}
}
