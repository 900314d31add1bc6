package pebblestore

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
)

func sampleProposals() []*request {
	return []*request{
		{stream: "agent-1", expected: events.Exact(7), events: sampleEvents()},
		{stream: "agent-1", expected: events.NoStream(), events: sampleEvents()[:1]},
		{op: opMetadata, stream: "agent-1", id: events.EventID{9}, metadata: events.StreamMetadata{MaxCount: 3}},
		{op: opDelete, stream: "agent-1", id: events.EventID{9}, expected: events.StreamExists()},
		{op: opTombstone, stream: "agent-1", id: events.EventID{9}},
		{op: opScavenge, stream: ScavengesStream, scavenge: sampleScavenge()},
	}
}

// TestProposalRoundTrip holds that nothing of a request is lost on its way.
func TestProposalRoundTrip(t *testing.T) {
	now := time.UnixMicro(1_700_000_000_000_001)
	for _, want := range sampleProposals() {
		b, err := encodeProposal(want, now)
		if err != nil {
			t.Fatal(err)
		}
		got, at, err := decodeProposal(b)
		if err != nil || !at.Equal(now) {
			t.Fatalf("%v, %v", at, err)
		}
		type visible struct {
			Op       operation
			Stream   events.Stream
			Expected string
			Events   []events.Event
			ID       events.EventID
			Metadata events.StreamMetadata
			Scavenge string
		}
		see := func(r *request) visible {
			v := visible{r.op, r.stream, r.expected.String(), nil, r.id, r.metadata, ""}
			for _, ev := range r.events {
				ev.Data, ev.Metadata = append([]byte{}, ev.Data...), append([]byte{}, ev.Metadata...)
				v.Events = append(v.Events, ev)
			}
			if r.op == opScavenge {
				v.Scavenge = string(appendScavengeBody(nil, r.scavenge))
			}
			return v
		}
		if d := cmp.Diff(see(want), see(got)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

// TestProposalLayout holds the bytes still: members of different builds read them.
func TestProposalLayout(t *testing.T) {
	r := &request{op: opTombstone, stream: "a-1", expected: events.Exact(2), id: events.EventID{0xee}}
	b, err := encodeProposal(r, time.UnixMicro(0x0102))
	if err != nil {
		t.Fatal(err)
	}
	want := "\x01" + string(b[1:5]) + "\x04\x00\x00\x00\x00\x00\x00\x01\x02" + // version, CRC, kind, time
		"\x00\x03a-1" + "\x03\x00\x00\x00\x00\x00\x00\x00\x02" + // stream, expectation
		"\xee" + string(make([]byte, 15))
	if string(b) != want {
		t.Errorf("%x, want %x", b, want)
	}
}

// FuzzProposal gives bodies a right checksum, so that they reach the parser.
func FuzzProposal(f *testing.F) {
	for _, r := range sampleProposals() {
		b, err := encodeProposal(r, time.UnixMicro(1))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[5:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, now, err := decodeProposal(sealed(proposalVersion, body))
		if err != nil {
			if !errors.Is(err, events.ErrCorrupt) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		b, err := encodeProposal(r, now)
		if err != nil {
			return // metadata out of bounds: refused when they are decided
		}
		again, _, err := decodeProposal(b)
		if err != nil || again.stream != r.stream || again.op != r.op || len(again.events) != len(r.events) {
			t.Errorf("decodes, encodes and decodes to %+v, %v", again, err)
		}
	})
}

// TestAppends tells appends to one stream from all other proposals.
func TestAppends(t *testing.T) {
	one := []events.Event{{ID: events.NewEventID(), Type: "Tested", ContentType: events.JSON, Data: []byte("{}")}}
	for _, v := range []struct {
		r    request
		want bool
	}{
		{request{op: opAppend, stream: "cluster-main", events: one}, true},
		{request{op: opAppend, stream: "cluster-mai", events: one}, false},
		{request{op: opAppend, stream: "cluster-main2", events: one}, false},
		{request{op: opAppend, stream: "cluster-mein", events: one}, false},
		{request{op: opDelete, stream: "cluster-main"}, false},
	} {
		b, err := encodeProposal(&v.r, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got := Appends(b, "cluster-main"); got != v.want {
			t.Errorf("%d of %s: %v, want %v", v.r.op, v.r.stream, got, v.want)
		}
	}
}

// TestCheckProposalPassesWhatStoresMake refuses proposals that read and that no method of
// Store makes: they come from a member that is at fault, and would end all others.
func TestCheckProposalPassesWhatStoresMake(t *testing.T) {
	one := func(typ events.Type, data string) []events.Event {
		return []events.Event{{ID: events.EventID{1}, Type: typ, ContentType: events.JSON, Data: []byte(data)}}
	}
	twice := append(one("Tested", "{}"), one("Tested", "{}")...)
	for _, v := range []struct {
		what string
		r    request
		want bool
	}{
		{"an append", request{stream: "agent-1", events: one("Tested", "{}")}, true},
		{"the event of a scavenge", request{stream: ScavengesStream, events: one(TypeScavengeCompleted, "{}")}, true},
		{"a scavenge", request{op: opScavenge, stream: ScavengesStream, scavenge: sampleScavenge()}, true},
		{"a deletion", request{op: opDelete, stream: "agent-1"}, true},
		{"an append to metadata", request{stream: "$$agent-1", events: one("Tested", "no metadata")}, false},
		{"a tombstone by append", request{stream: "agent-1", events: one(events.TypeStreamDeleted, "{}")}, false},
		{"another event among the scavenges", request{stream: ScavengesStream, events: one(events.TypeStreamDeleted, "{}")}, false},
		{"an id that stands twice", request{stream: "agent-1", events: twice}, false},
		{"metadata of metadata", request{op: opMetadata, stream: "$$agent-1"}, false},
		{"more than an append may hold", request{stream: "agent-1", events: one("Tested", strings.Repeat("x", events.MaxAppendBytes))}, false},
	} {
		b, err := encodeProposal(&v.r, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckProposal(b); (err == nil) != v.want || err != nil && !errors.Is(err, events.ErrCorrupt) {
			t.Errorf("%s: %v", v.what, err)
		}
	}
}

// TestWhatPassesStopsNoReplica changes bytes of proposals and applies what CheckProposal
// lets pass. (Not a fuzz test: what runs beside a replica hides what an input covers.)
func TestWhatPassesStopsNoReplica(t *testing.T) {
	opts := DefaultOptions()
	opts.BallastBytes, opts.FS = 0, vfs.NewMem()
	r, err := OpenReplica("log", opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	passed := 0
	for range 20_000 {
		samples := sampleProposals()
		b, err := encodeProposal(samples[rng.IntN(len(samples))], time.UnixMicro(1))
		if err != nil {
			t.Fatal(err)
		}
		body := b[5:]
		for range rng.IntN(3) {
			body[rng.IntN(len(body))] = byte(rng.Uint32())
		}
		whole := sealed(proposalVersion, body)
		if CheckProposal(whole) != nil {
			continue
		}
		passed++
		if _, err := r.Apply([]Entry{{Index: r.Applied() + 1, Proposals: [][]byte{whole}}}); err != nil {
			t.Fatalf("%x: %v", whole, err)
		}
	}
	if passed < 1000 {
		t.Errorf("%d passed: the test shows little", passed)
	}
}
