package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/storetest"
)

// order keeps proposals in the order in which they came, one an entry, and has
// one replica apply them.
type order struct {
	mu      sync.Mutex
	entries []Entry
	replica *Replica
}

func (o *order) propose(_ context.Context, proposal []byte) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := Entry{Index: uint64(len(o.entries) + 1), Proposals: [][]byte{bytes.Clone(proposal)}}
	o.entries = append(o.entries, e)
	out, err := o.replica.Apply([]Entry{e})
	if err != nil {
		return Outcome{Err: err}
	}
	return out[0][0]
}

func openReplica(t *testing.T, dir string, opts Options) (*Replica, *order) {
	t.Helper()
	o := &order{}
	r, err := OpenReplica(dir, opts, o.propose)
	if err != nil {
		t.Fatal(err)
	}
	o.replica = r
	t.Cleanup(func() { r.Close() })
	return r, o
}

func TestReplicaConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) events.Store {
		opts := DefaultOptions()
		opts.BallastBytes = 0
		r, _ := openReplica(t, t.TempDir(), opts)
		return r
	})
}

// history makes proposals of all kinds, many of which are refused or repeated.
func history(t *testing.T, seed uint64, n int) [][]byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	var all [][]byte
	for i := range n {
		r := &request{
			stream: events.Stream(fmt.Sprintf("agent-%d", rng.IntN(4))),
			id:     events.EventID{1, byte(i), byte(i >> 8)},
		}
		switch rng.IntN(12) {
		case 0:
			r.op, r.metadata = opMetadata, events.StreamMetadata{MaxCount: 5, TruncateBefore: events.Revision(rng.IntN(4))}
		case 1:
			r.op = opDelete
		case 2:
			if rng.IntN(8) == 0 {
				r.op = opTombstone
			}
		case 3:
			r.expected = events.NoStream()
		case 4, 5:
			r.expected = events.Exact(events.Revision(rng.IntN(12)))
		}
		if r.op == opAppend {
			r.events = part(fmt.Sprint(i), 1+rng.IntN(3), rng.IntN(200))
			for j := range r.events {
				r.events[j].ID = events.EventID{2, byte(i), byte(i >> 8), byte(j)}
			}
		}
		b, err := encodeProposal(r, time.UnixMicro(int64(1_000_000+i)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
		for rng.IntN(3) == 0 { // repeated byte for byte, now or later
			all = append(all, all[rng.IntN(len(all))])
		}
	}
	return all
}

// bundle makes entries of 1 to 20 proposals.
func bundle(rng *rand.Rand, all [][]byte) []Entry {
	var entries []Entry
	for index := uint64(3); len(all) > 0; index += 1 + rng.Uint64N(3) {
		n := min(1+rng.IntN(20), len(all))
		entries = append(entries, Entry{Index: index, Proposals: all[:n]})
		all = all[n:]
	}
	return entries
}

func say(out []Outcome) string {
	var b bytes.Buffer
	for _, o := range out {
		fmt.Fprintf(&b, "%+v %v\n", o.Result, o.Err)
	}
	return b.String()
}

// TestReplicasAgree applies the same entries to a replica at once, to another one
// by one, and to a third that loses its unsynced bytes again and again: outcomes
// and roots are the same.
func TestReplicasAgree(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		entries := bundle(rng, history(t, seed, 120))
		whole, _ := openReplica(t, "log", smallOptions(vfs.NewMem()))
		want, err := whole.Apply(entries)
		if err != nil {
			t.Fatal(err)
		}
		single, _ := openReplica(t, "log", smallOptions(vfs.NewMem()))
		for i := range entries {
			got, err := single.Apply(entries[i : i+1])
			if err != nil || say(got[0]) != say(want[i]) {
				t.Fatalf("seed %d, entry %d alone: %v\n%s\nwith the others:\n%s", seed, i, err, say(got[0]), say(want[i]))
			}
		}
		crashed := crashing(t, rng, entries)
		for name, r := range map[string]*Replica{"single": single, "crashed": crashed} {
			if r.Root() != whole.Root() || r.Applied() != whole.Applied() {
				t.Errorf("seed %d, %s: %v at entry %d; all at once: %v at entry %d",
					seed, name, r.Root(), r.Applied(), whole.Root(), whole.Applied())
			}
		}
		if _, err := crashed.Verify(t.Context(), func(fault error) { t.Error(fault) }, nil); err != nil {
			t.Error(err)
		}
	}
}

// crashing applies entries in batches and cuts the power after each, with any part
// of the unsynced bytes kept; what the replica then lacks it is given again.
func crashing(t *testing.T, rng *rand.Rand, entries []Entry) *Replica {
	t.Helper()
	mem := vfs.NewCrashableMem()
	r, _ := openReplica(t, "log", smallOptions(mem))
	for to := 0; to < len(entries); {
		to = min(to+1+rng.IntN(6), len(entries))
		if _, err := r.Apply(entries[:to]); err != nil {
			t.Fatal(err)
		}
		mem = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		r.Close()
		r, _ = openReplica(t, "log", smallOptions(mem))
	}
	if _, err := r.Apply(entries); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReplicaGoesOnWithinAnEntry crashes between two batches of one entry. The
// first of its proposals is refused; decided again after the second it would not be.
func TestReplicaGoesOnWithinAnEntry(t *testing.T) {
	propose := func(id byte, stream events.Stream, expected events.ExpectedRevision) []byte {
		r := &request{stream: stream, expected: expected, events: part("x", 1, 10)}
		r.events[0].ID = events.EventID{id}
		b, err := encodeProposal(r, time.UnixMicro(1))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	again := propose(2, "agent-1", events.Any())
	e := Entry{Index: 1, Proposals: [][]byte{
		propose(1, "agent-1", events.Exact(0)), again, again, propose(3, "agent-2", events.NoStream()),
	}}
	mem := vfs.NewCrashableMem()
	r, _ := openReplica(t, "log", smallOptions(mem))
	g := &group{}
	cut := Entry{Index: 1, Proposals: e.Proposals[:3]}
	if _, err := r.applyEntry(&g, &cut); err != nil { // the third makes it write what it has
		t.Fatal(err)
	}
	if err := r.db.LogData(nil, nil); err != nil { // syncs what was written
		t.Fatal(err)
	}
	again2, _ := openReplica(t, "log", smallOptions(mem.CrashClone(vfs.CrashCloneCfg{})))
	if again2.at != (applied{index: 0, done: 2}) {
		t.Fatalf("after the crash it came as far as %+v", again2.at)
	}
	if _, err := again2.Apply([]Entry{e}); err != nil {
		t.Fatal(err)
	}
	want, _ := openReplica(t, "log", smallOptions(vfs.NewMem()))
	if _, err := want.Apply([]Entry{e}); err != nil {
		t.Fatal(err)
	}
	if again2.Root() != want.Root() {
		t.Errorf("root %v, without a crash %v", again2.Root(), want.Root())
	}
}

// TestReplicaStops holds that what does not read stops a replica, by name.
func TestReplicaStops(t *testing.T) {
	good := history(t, 1, 1)[0]
	for name, harm := range map[string]func([]byte) []byte{
		"version 2": func(b []byte) []byte { b[0] = 2; return b },
		"kind 9":    func(b []byte) []byte { b[5] = 9; return sealCommand(b, 0) },
		"bit":       func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"cut":       func(b []byte) []byte { return b[:7] },
	} {
		r, _ := openReplica(t, "log", smallOptions(vfs.NewMem()))
		_, err := r.Apply([]Entry{{Index: 1, Proposals: [][]byte{harm(bytes.Clone(good))}}})
		if !errors.Is(err, events.ErrCorrupt) || r.Applied() != 0 {
			t.Errorf("%s: applied %d, %v", name, r.Applied(), err)
		}
	}
}

// TestReplicaIsNotOpenedAlone holds that no plain store writes to a replica's log.
func TestReplicaIsNotOpenedAlone(t *testing.T) {
	mem := vfs.NewMem()
	r, _ := openReplica(t, "log", smallOptions(mem))
	if _, err := r.Append(t.Context(), "agent-1", events.Any(), part("x", 1, 1)...); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := Open("log", smallOptions(mem)); !errors.Is(err, ErrReplicated) {
		t.Errorf("opened alone: %v", err)
	}
	opts := smallOptions(mem)
	opts.ReadOnly = true
	s := open(t, "log", opts)
	if head, ok, err := s.Head(t.Context()); head != 0 || !ok || err != nil {
		t.Errorf("opened to look: head %d, %v, %v", head, ok, err)
	}
}

// TestReplace puts a checkpoint of a replica that is ahead in the place of another
// whose subscribers wait.
func TestReplace(t *testing.T) {
	mem := vfs.NewMem()
	ahead, o := openReplica(t, "ahead", smallOptions(mem))
	behind, o2 := openReplica(t, "behind", smallOptions(mem))
	append1 := func(r *Replica, n int) {
		t.Helper()
		for i := range n {
			if _, err := r.Append(t.Context(), "agent-1", events.Any(), part(fmt.Sprint(i), 1, 100)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	append1(ahead, 10)
	if _, err := behind.Apply(o.entries[:3]); err != nil {
		t.Fatal(err)
	}
	sub, err := behind.SubscribeAll(t.Context(), 0, events.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	got := make(chan events.Position, 20)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 11 {
			ev, err := sub.Next(t.Context())
			if err != nil {
				t.Error(err)
				break
			}
			got <- ev.Position
		}
		close(got)
	})
	for range 3 {
		<-got
	}
	if _, err := ahead.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	if err := behind.Replace("copy"); err != nil {
		t.Fatal(err)
	}
	if behind.Root() != ahead.Root() || behind.Applied() != ahead.Applied() {
		t.Errorf("replaced: %v at %d, want %v at %d", behind.Root(), behind.Applied(), ahead.Root(), ahead.Applied())
	}
	o2.entries = o.entries // it goes on where the other is
	append1(behind, 1)
	wg.Wait()
	want := events.Position(3)
	for pos := range got {
		if pos != want {
			t.Errorf("subscriber got position %d, want %d", pos, want)
		}
		want++
	}
	if err := behind.Replace("nothing"); err == nil {
		t.Error("replaced by nothing")
	}
	if err := behind.Close(); err != nil {
		t.Error(err)
	}
}
