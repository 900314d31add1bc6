package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/caxton-run/caxton/events"
)

// TestIsolationMarker: what is written is read, and a marker from before it had durable
// lines says why. A flipped bit anywhere leaves it one that reads.
func TestIsolationMarker(t *testing.T) {
	head := Root{Next: 1234, Hash: [32]byte{1, 2, 0xff}}
	whole := isolation{why: "sync: input/output error\n", durable: &head}
	if m := parseIsolation(whole.text()); m.durable == nil || *m.durable != head || m.why != whole.why || m.damaged {
		t.Errorf("%+v", m)
	}
	why := len(durableLine(head))
	for bit := range len(whole.text()) * 8 {
		b := []byte(whole.text())
		b[bit/8] ^= 1 << (bit % 8)
		inWhy := bit/8 >= why && bit/8 < why+len(whole.why)-1
		if m := parseIsolation(string(b)); m.durable == nil || *m.durable != head || m.damaged == inWhy {
			t.Fatalf("with bit %d flipped: %+v", bit, m)
		}
	}
	for _, old := range []string{"", "why\n", "durable\n", "durable 1 00 00000000\nwhy"} {
		if m := parseIsolation(old); m.durable != nil || m.why != old || m.damaged {
			t.Errorf("%q: %+v", old, m)
		}
	}
	for _, once := range []string{durableLine(head) + "why\n", durableLine(head), "why\n" + durableLine(head)} {
		if m := parseIsolation(once); m.durable == nil || *m.durable != head || !m.damaged {
			t.Errorf("%q: %+v", once, m)
		}
	}
}

// TestFlippedBitInTheMarker: an isolated log serves nothing beyond what was durable,
// whichever bit of its marker is another.
func TestFlippedBitInTheMarker(t *testing.T) {
	mem := vfs.NewMem()
	s, want := filled(t, mem)
	head := s.Root()
	if _, err := s.Append(t.Context(), "x-1", events.Any(), part("x", 1, 3)...); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), mark(mem, "log", "why", &head)); err != nil {
		t.Fatal(err)
	}
	marker := contents(t, mem, isolatedName)
	for bit := range len(marker) * 8 {
		damaged := bytes.Clone(marker)
		damaged[bit/8] ^= 1 << (bit % 8)
		s := open(t, "log", smallOptions(copyWith(t, mem, isolatedName, damaged)))
		if got := readAll(t, s); len(got) != len(want) || s.Root() != head {
			t.Errorf("bit %d: %d events are served, %d were durable", bit, len(got), len(want))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIsolatedLogIsAnother than its marker says: shorter, or with another root. It is
// not served; a look at it opens, and names the fault.
func TestIsolatedLogIsAnother(t *testing.T) {
	mem, _, want := closedLog(t)
	next := events.Position(len(want))
	for name, root := range map[string]Root{"shorter": {Next: next + 1}, "another": {Next: next}, "another before its end": {Next: next - 1}} {
		t.Run(name, func(t *testing.T) {
			if err := mark(mem, "log", "why", &root); err != nil {
				t.Fatal(err)
			}
			opts := smallOptions(mem)
			if root.Next >= next { // of one before the end only a walk knows the root
				var bad *events.CorruptError
				if s, err := Open("log", opts); !errors.As(err, &bad) {
					t.Errorf("opened, %v", err)
					if err == nil {
						_ = s.Close()
					}
				}
			}
			opts.ReadOnly = true
			s := open(t, "log", opts)
			defer s.Close()
			for what, verify := range map[string]func(func(error)) (Verified, error){
				"all": func(report func(error)) (Verified, error) { return s.Verify(t.Context(), report, nil) },
				"end": func(report func(error)) (Verified, error) { return s.VerifyEnd(t.Context(), report) },
			} {
				found := 0
				if _, err := verify(func(fault error) {
					if found++; !strings.Contains(fault.Error(), isolatedName) {
						t.Error(fault)
					}
				}); err != nil || found != 1 {
					t.Errorf("%s: %d faults, %v", what, found, err)
				}
			}
		})
	}
}

// TestIsolatedReplica: its marker does not bound it, since it is written without syncs
// and its group knows what was acknowledged; and opened again it leaves the marker.
func TestIsolatedReplica(t *testing.T) {
	mem := vfs.NewMem()
	opts := smallOptions(mem)
	opts.Fatal = func(string) {}
	apply := func(index uint64) error {
		t.Helper()
		r, err := OpenReplica("log", opts, func(context.Context, []byte) Outcome { return Outcome{} })
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p, err := encodeProposal(&request{stream: "x-1", expected: events.Any(), events: part("x", 1, int(index)), correlations: []string{""}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Apply([]Entry{{Index: index, Proposals: [][]byte{p}}})
		if index == 1 {
			r.isolate("the real reason")
		}
		return err
	}
	if err := apply(1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if m, ok, err := marked(mem, "log"); err != nil || !ok || m.durable != nil || m.why != "the real reason\n" {
			t.Errorf("%+v %v %v", m, ok, err)
		}
		if err := apply(2); !errors.Is(err, events.ErrReadOnly) {
			t.Errorf("apply to an isolated replica: %v", err)
		}
	}
	opts.ReadOnly = true
	s := open(t, "log", opts)
	if s.Root().Next != 1 {
		t.Errorf("a look sees %d events", s.Root().Next)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestNothingAdvancesOnceIsolated: what the marker says is the last word.
func TestNothingAdvancesOnceIsolated(t *testing.T) {
	mem := vfs.NewMem()
	opts := smallOptions(mem)
	opts.Fatal = func(string) {}
	s := open(t, "log", opts)
	defer s.Close()
	if _, err := s.Append(t.Context(), "x-1", events.Any(), part("x", 1, 3)...); err != nil {
		t.Fatal(err)
	}
	head := s.Root()
	s.isolate("why")
	if s.advance(Root{Next: 9}) || s.Root() != head || s.limit() != head.Next {
		t.Errorf("advanced to %s", s.Root())
	}
	if m, _, err := marked(mem, "log"); err != nil || m.durable == nil || *m.durable != head {
		t.Errorf("the marker says %v, %v; want %s", m.durable, err, head)
	}
}

func FuzzIsolation(f *testing.F) {
	f.Add(isolation{why: "why\n", durable: &Root{Next: 7}}.text())
	f.Add(durableLine(Root{Next: 7}) + "why\n")
	f.Add("durable 1 00 00000000\nwhy")
	f.Fuzz(func(t *testing.T, text string) {
		m := parseIsolation(text)
		if m.durable == nil && (m.why != text || m.damaged) {
			t.Fatalf("%q became %+v", text, m)
		}
		if m.durable != nil && !strings.Contains(text+"\n", durableLine(*m.durable)) {
			t.Fatalf("%q is said to say %q", text, durableLine(*m.durable))
		}
	})
}

// TestIsolationMarkerIsWholeOrNotThere: a crash at any operation leaves no half of it,
// though the disk keeps any part of what was not synced.
func TestIsolationMarkerIsWholeOrNotThere(t *testing.T) {
	head := Root{Next: 7, Hash: [32]byte{1}}
	for _, percent := range []int{0, 40, 100} {
		mem := vfs.NewCrashableMem()
		if err := errors.Join(mem.MkdirAll("log", 0o755), syncDir(mem, "")); err != nil {
			t.Fatal(err)
		}
		looks, kept := 0, 0
		look := func() {
			looks++
			clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, uint64(looks)))})
			m, ok, err := marked(clone, "log")
			if err != nil || ok && (m.durable == nil || *m.durable != head || m.why != "why\n") {
				t.Errorf("%d %%, at operation %d: %+v %v", percent, looks, m, err)
			}
			if ok {
				kept++
			}
		}
		every := errorfs.InjectorFunc(func(errorfs.Op) error { look(); return nil })
		if err := mark(errorfs.Wrap(mem, every), "log", "why", &head); err != nil {
			t.Fatal(err)
		}
		was := kept
		if look(); kept != was+1 {
			t.Errorf("%d %%: it is gone after it was written", percent)
		}
	}
}
