package pebblestore

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
)

func sampleEvents() []events.Event {
	return []events.Event{
		{ID: events.EventID{1}, Type: "A", ContentType: events.JSON, Data: []byte(`{}`), Metadata: []byte(`{"$correlationId":"c"}`)},
		{ID: events.EventID{2}, Type: "B", ContentType: events.Binary, Data: bytes.Repeat([]byte{0, 255}, 9)},
		{ID: events.EventID{3}, Type: "C"},
	}
}

func samplePlace() place {
	return place{stream: "agent-1", pos: 7, rev: 3, micros: 1_700_000_000_000_000}
}

func at(name string) func() string { return func() string { return name } }

func TestRecordRoundTrip(t *testing.T) {
	for _, ev := range sampleEvents() {
		b := appendRecord([]byte("before"), samplePlace(), &ev)[len("before"):]
		if len(b) != recordSize("agent-1", &ev) {
			t.Errorf("%s: %d bytes, recordSize says %d", ev.Type, len(b), recordSize("agent-1", &ev))
		}
		r, err := decodeRecord(at("here"), b)
		if err != nil {
			t.Fatal(err)
		}
		if !r.sameEvent(&ev) || r.pos != 7 || r.rev != 3 || r.micros != samplePlace().micros || string(r.stream) != "agent-1" {
			t.Errorf("%s decodes to %+v", ev.Type, r)
		}
	}
}

// TestRecordLayout holds the bytes on disk still: a change needs a version.
func TestRecordLayout(t *testing.T) {
	ev := events.Event{ID: events.EventID{0xaa}, Type: "T", ContentType: events.JSON, Data: []byte("d"), Metadata: []byte("m")}
	got := appendRecord(nil, place{stream: "s", pos: 1, rev: 2, micros: 3}, &ev)
	want := "\x01\xbf\xd2\x22\xb3\x01" + "\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x02" +
		"\x00\x00\x00\x00\x00\x00\x00\x03" + "\xaa" + strings.Repeat("\x00", 15) + "\x00\x01\x00\x01\x00\x00\x00\x01" + "sTmd"
	if d := cmp.Diff([]byte(want), got); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
}

// TestEveryFlippedBitOfARecordIsFound flips each bit in turn.
func TestEveryFlippedBitOfARecordIsFound(t *testing.T) {
	ev := sampleEvents()[0]
	b := appendRecord(nil, samplePlace(), &ev)
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := decodeRecord(at("position 7"), b); !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), "position 7") {
			t.Errorf("bit %d: %v", i, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range len(b) {
		if _, err := decodeRecord(at("position 7"), b[:n]); !errors.Is(err, events.ErrCorrupt) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

// decodeWhole opens a command that must be an append.
func decodeWhole(b []byte) ([]entry, error) {
	kind, body, err := openCommand(b)
	if err == nil && kind != commandAppend {
		return nil, badCommand("kind %d", kind)
	}
	if err != nil {
		return nil, err
	}
	return decodeAppend(nil, body)
}

func TestCommandRefusesWhatIsNotOneAppend(t *testing.T) {
	evs, none := sampleEvents(), []string{"", "", ""}
	good := appendCommand(nil, samplePlace(), evs, []string{"c", "", ""})
	entries, err := decodeWhole(good)
	if err != nil || len(entries) != 3 || string(entries[0].correlation) != "c" || entries[2].rec.rev != 5 {
		t.Fatalf("%+v, %v", entries, err)
	}
	other := samplePlace()
	other.stream = "bad\x00name"
	typ := sampleEvents()
	typ[1].Type = ""
	version := bytes.Clone(good)
	version[0] = 9
	for name, b := range map[string][]byte{
		"empty":                {},
		"no events":            appendCommand(nil, samplePlace(), nil, nil),
		"cut short":            good[:len(good)-1],
		"too long":             append(bytes.Clone(good), 0),
		"version":              version,
		"bad stream":           appendCommand(nil, other, evs, none),
		"bad type":             appendCommand(nil, samplePlace(), typ, none),
		"too many":             appendCommand(nil, samplePlace(), make([]events.Event, events.MaxAppendEvents+1), make([]string, events.MaxAppendEvents+1)),
		"correlation too long": appendCommand(nil, samplePlace(), evs[:1], []string{strings.Repeat("c", maxCorrelation+1)}),
	} {
		if _, err := decodeWhole(b); !errors.Is(err, events.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, ev := range sampleEvents() {
		f.Add(appendRecord(nil, samplePlace(), &ev))
	}
	f.Add(appendScavenged(nil, &record{pos: 1, stream: []byte("agent-1"), typ: []byte("T")}, leaf{7}))
	f.Add([]byte{recordVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(at("here"), b)
		if err != nil {
			if !errors.Is(err, events.ErrCorrupt) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if r.scavenged() {
			if again := appendScavenged(nil, &r, leaf(r.data)); !bytes.Equal(again, b) {
				t.Errorf("%x decodes and encodes to %x", b, again)
			}
			return
		}
		ev := events.Event{
			ID: r.id, Type: events.Type(r.typ), ContentType: contentType(r.content), Data: r.data, Metadata: r.metadata,
		}
		again := appendRecord(nil, place{stream: events.Stream(r.stream), pos: r.pos, rev: r.rev, micros: r.micros}, &ev)
		if !bytes.Equal(again, b) {
			t.Errorf("%x decodes and encodes to %x", b, again)
		}
	})
}

// sealed gives a fuzzed body the version and checksum that let it through to
// the code behind them.
func sealed(version byte, body []byte) []byte {
	b := append([]byte{version, 0, 0, 0, 0}, body...)
	return reseal(b)
}

func FuzzRecordBody(f *testing.F) {
	for _, ev := range sampleEvents() {
		f.Add(appendRecord(nil, samplePlace(), &ev)[5:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeRecord(at("here"), sealed(recordVersion, body))
		if err != nil {
			if !errors.Is(err, events.ErrCorrupt) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if n := len(r.stream) + len(r.typ) + len(r.metadata) + len(r.data); n+recordHeader != len(body)+5 {
			t.Errorf("parts of %d bytes in a record of %d", n, len(body)+5)
		}
	})
}

func sampleScavenge() scavenged {
	return scavenged{
		positions: []events.Position{1, 5, 9},
		marks:     []streamMark{{"agent-1", 2}, {"$$agent-1", 1}},
	}
}

func TestScavengeCommandRefusesDisorder(t *testing.T) {
	for name, sc := range map[string]scavenged{
		"positions out of order": {positions: []events.Position{5, 1}},
		"a position twice":       {positions: []events.Position{5, 5}},
		"too many positions":     {positions: make([]events.Position, maxScavenged+1)},
		"too many marks":         {marks: make([]streamMark, maxScavenged+1)},
		"a bad stream":           {marks: []streamMark{{"a\x00b", 1}}},
	} {
		_, body, err := openCommand(appendScavenge(nil, sc))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeScavenge(body); !errors.Is(err, events.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCommand(f *testing.F) {
	f.Add(appendCommand(nil, samplePlace(), sampleEvents(), []string{"c", "", ""})[5:])
	f.Add(appendCommand(nil, samplePlace(), sampleEvents()[:1], []string{""})[5:])
	f.Add(appendScavenge(nil, sampleScavenge())[5:])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := sealed(commandVersion, body)
		kind, rest, err := openCommand(b)
		var entries []entry
		switch {
		case err != nil:
		case kind == commandScavenge:
			var sc scavenged
			if sc, err = decodeScavenge(rest); err == nil && !bytes.Equal(appendScavenge(nil, sc), b) {
				t.Errorf("%x decodes to %+v, which encodes to something else", b, sc)
			}
		default:
			entries, err = decodeAppend(nil, rest)
		}
		if err != nil {
			if !errors.Is(err, events.ErrCorrupt) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		for i := range entries {
			if entries[i].rec.rev != entries[0].rec.rev+events.Revision(i) {
				t.Errorf("event %d has revision %d", i, entries[i].rec.rev)
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	for _, k := range []key{
		{kind: kindEvent, number: 1}, {kind: kindStream, name: "agent-1", number: 2}, {kind: kindHead, name: "agent-1"},
		{kind: kindCategory, name: "agent", number: 3}, {kind: kindType, name: "T", number: 4},
		{kind: kindCorrelation, name: "a\x00b", number: 5}, {kind: kindID, name: "agent-1", id: events.EventID{9}}, {kind: kindApplied},
		{kind: kindRoot, number: 6}, {kind: kindScavenged, name: "snapshot-1"},
	} {
		f.Add(k.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseKey(b)
		if err != nil {
			if !errors.Is(err, events.ErrCorrupt) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if again := k.encode(); !bytes.Equal(again, b) {
			t.Errorf("%x parses to %+v, which encodes to %x", b, k, again)
		}
	})
}

func FuzzLowWater(f *testing.F) {
	var b [lowWaterSize]byte
	encodeLowWater(b[:], 7)
	f.Add(b[:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		next, ok := parseLowWater(b)
		if !ok {
			return
		}
		var again [lowWaterSize]byte
		if encodeLowWater(again[:], next); !bytes.Equal(again[:], b) {
			t.Errorf("%x reads as %d, which is written as %x", b, next, again)
		}
	})
}
