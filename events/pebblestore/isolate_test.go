package pebblestore

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// TestIsolationMarker: what is written is read, a marker from before it had a durable
// line says why, and damage to the line leaves it without.
func TestIsolationMarker(t *testing.T) {
	head := Root{Next: 1234, Hash: [32]byte{1, 2, 0xff}}
	line := durableLine(head)
	if m := parseIsolation(line + "sync: input/output error\n"); m.durable == nil || *m.durable != head || m.why != "sync: input/output error\n" {
		t.Errorf("%+v", m)
	}
	for bit := range len(line) * 8 {
		b := []byte(line + "why\n")
		b[bit/8] ^= 1 << (bit % 8)
		if m := parseIsolation(string(b)); m.durable != nil || m.why != string(b) {
			t.Fatalf("with bit %d flipped: %+v", bit, m)
		}
	}
	for _, old := range []string{"", "why\n", "durable\n", "durable 1 00 00000000\nwhy"} {
		if m := parseIsolation(old); m.durable != nil || m.why != old {
			t.Errorf("%q: %+v", old, m)
		}
	}
}

// TestIsolatedLogIsShorter than its marker says it was durable: damage, and named.
func TestIsolatedLogIsShorter(t *testing.T) {
	mem, _, want := closedLog(t)
	next := events.Position(len(want))
	if err := mark(mem, "log", "why", &Root{Next: next + 1}); err != nil {
		t.Fatal(err)
	}
	for _, look := range []bool{false, true} {
		opts := smallOptions(mem)
		opts.ReadOnly = look
		var bad *events.CorruptError
		if s, err := Open("log", opts); !errors.As(err, &bad) {
			t.Errorf("opened, %v", err)
			if err == nil {
				_ = s.Close()
			}
		}
	}
}

// TestMarkerOfAReplica does not bound it: its group knows what was acknowledged.
func TestMarkerOfAReplica(t *testing.T) {
	mem := vfs.NewMem()
	opts := smallOptions(mem)
	s := &Store{opts: opts, propose: func(context.Context, []byte) Outcome { return Outcome{} }, marker: isolation{durable: &Root{Next: 1}}}
	if err := s.serve(Root{Next: 7}); err != nil || s.limit() != 7 {
		t.Errorf("serves up to %d, %v", s.limit(), err)
	}
}

func FuzzIsolation(f *testing.F) {
	f.Add(durableLine(Root{Next: 7}) + "why\n")
	f.Add("durable 1 00 00000000\nwhy")
	f.Fuzz(func(t *testing.T, text string) {
		m := parseIsolation(text)
		if m.durable == nil && m.why != text {
			t.Fatalf("%q became %q", text, m.why)
		}
		if m.durable != nil && durableLine(*m.durable)+m.why != text && durableLine(*m.durable) != text+"\n" {
			t.Fatalf("%q is written as %q", text, durableLine(*m.durable)+m.why)
		}
	})
}
