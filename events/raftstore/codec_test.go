package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// TestEntryLayout holds the bytes still: members of different builds read them.
func TestEntryLayout(t *testing.T) {
	got := encodeEntry(1, 0x0102, [][]byte{[]byte("ab"), {}})
	want := "\x01" + "\x00\x00\x00\x00\x00\x00\x01\x02" + "\x00\x00\x00\x02" + "\x00\x00\x00\x02ab" + "\x00\x00\x00\x00"
	if string(got) != want {
		t.Errorf("%x, want %x", got, want)
	}
	got[0] = 2
	if _, _, err := decodeEntry(got); !errors.Is(err, events.ErrCorrupt) {
		t.Errorf("an entry of version 2: %v", err)
	}
}

func sampleOutcomes() []pebblestore.Outcome {
	return []pebblestore.Outcome{
		{Result: events.Result{First: 1, Last: 2, Position: 9}},
		{Result: events.Result{First: 1, Last: 2, Position: 9, Duplicate: true}},
		{Err: &events.WrongRevisionError{Stream: "agent-1", Expected: events.Exact(3), Actual: 4, Exists: true}},
		{Err: &events.WrongRevisionError{Stream: "agent-1", Expected: events.StreamExists()}},
		{Err: events.Invalid("$tb", "must be at most 3")},
		{Err: fmt.Errorf("append to agent-1: %w", events.ErrIDReused)},
		{Err: fmt.Errorf("stream agent-1: %w", events.ErrStreamDeleted)},
		{Err: fmt.Errorf("delete agent-1: %w", events.ErrStreamNotFound)},
		{Err: errors.New("command does not continue the log")},
	}
}

// TestOutcomesTravel holds that a follower hears what the leader does: text,
// sentinel and fields.
func TestOutcomesTravel(t *testing.T) {
	var b []byte
	want := sampleOutcomes()
	for _, o := range want {
		b = appendOutcome(b, o)
	}
	got, err := readOutcomes(b, len(want))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i].Result != want[i].Result || fmt.Sprint(got[i].Err) != fmt.Sprint(want[i].Err) {
			t.Errorf("outcome %d: %+v, want %+v", i, got[i], want[i])
		}
		for _, is := range []error{events.ErrIDReused, events.ErrStreamDeleted, events.ErrStreamNotFound} {
			if errors.Is(got[i].Err, is) != errors.Is(want[i].Err, is) {
				t.Errorf("outcome %d: %v is not what %v is", i, got[i].Err, want[i].Err)
			}
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(encodeEntry(1, 1, [][]byte{[]byte("a"), []byte("bc")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		term, proposals, err := decodeEntry(b)
		if err != nil {
			if !errors.Is(err, events.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again := encodeEntry(b[0], term, proposals); !bytes.Equal(again, b) {
			t.Errorf("%x decodes and encodes to %x", b, again)
		}
	})
}

func FuzzOutcomes(f *testing.F) {
	for _, o := range sampleOutcomes() {
		f.Add(appendOutcome(nil, o))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := readOutcomes(b, 1)
		if err != nil {
			return
		}
		again, err := readOutcomes(appendOutcome(nil, out[0]), 1)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(out) {
			t.Errorf("%v travels as %v, %v", out, again, err)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(hello{purpose: forRaft, version: 1, to: ServerID{1}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(bytes.NewReader(b))
		if err == nil && !bytes.Equal(h.encode(), b[:helloSize]) {
			t.Errorf("%x reads as %+v", b, h)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(answer{accepted: true, version: 1, last: 3, applied: 2, term: 1}.encode())
	f.Add(answer{version: 1, reason: "because"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readAnswer(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again, err := readAnswer(bytes.NewReader(a.encode())); err != nil || again != a {
			t.Errorf("%+v reads as %+v, %v", a, again, err)
		}
	})
}

func FuzzContents(f *testing.F) {
	c := contents{applied: 3, end: pebblestore.Root{Next: 7}, files: []file{{"000001.sst", 9, 0}, {"OPTIONS-000002", 3, 5}}}
	f.Add(c.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readContents(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := c.encode(); !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("%x reads and encodes to %x", b, again)
		}
	})
}

func FuzzFrame(f *testing.F) {
	var b bytes.Buffer
	if err := writeFrame(&b, frame{7, askPropose, []byte("body")}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := readFrame(bytes.NewReader(b))
		if err == nil && len(fr.body) > len(b) {
			t.Errorf("a body of %d bytes in %d", len(fr.body), len(b))
		}
	})
}

func FuzzNote(f *testing.F) {
	f.Add([]byte{noteVersion, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewMem()
		w, err := fs.Create("note", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Clone(b)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readNote(fs, "note"); err != nil && !errors.Is(err, events.ErrCorrupt) {
			t.Errorf("%x: %v", b, err)
		}
	})
}
