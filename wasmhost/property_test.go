package wasmhost

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// life is an agent as its owner keeps it: a guest, the durable state, and what a
// replay needs.
type life struct {
	t       *rapid.T
	h       *Host
	m       *Module
	in      *Instance
	state   mapState
	history []Call // that went well
	outs    []Outcome
}

func (l *life) born() {
	in, err := l.h.Instantiate(context.Background(), l.m, testMemory)
	if err != nil {
		l.t.Fatal(err)
	}
	l.in, l.state = in, mapState{}
}

// take is one message. What fails leaves no trace, and the guest is replayed.
func (l *life) take(c Call) Outcome {
	c.State = l.state
	out := l.in.Handle(context.Background(), c)
	if out.Status == events.OutcomeHostFault {
		l.t.Fatalf("a fault of the host: %s", out.Detail)
	}
	if out.Status != events.OutcomeOK {
		history := l.history
		l.in.Close()
		l.replay(history, l.outs)
		return out
	}
	l.state.apply(out.State)
	l.history, l.outs = append(l.history, c), append(l.outs, out)
	return out
}

func (m mapState) apply(list []events.StateChange) {
	for _, c := range list {
		if c.Delete {
			delete(m, c.Key)
		} else {
			m[c.Key] = c.Value
		}
	}
}

// replay makes the guest from nothing by its history, and wants each outcome to
// be what it was.
func (l *life) replay(history []Call, outs []Outcome) {
	l.born()
	for i, c := range history {
		c.State = l.state
		out := l.in.Handle(context.Background(), c)
		if diff := cmp.Diff(outs[i], out); diff != "" {
			l.t.Fatalf("message %d, replayed: %s", i, diff)
		}
		l.state.apply(out.State)
	}
	l.history, l.outs = slices.Clone(history), slices.Clone(outs)
}

// restored is the same guest from its snapshot.
func (l *life) restored() *Instance {
	snap, err := l.in.Snapshot()
	if err != nil {
		l.t.Fatal(err)
	}
	in, err := l.h.Restore(context.Background(), l.m, testMemory, snap)
	if err != nil {
		l.t.Fatal(err)
	}
	return in
}

// contents draws what fixtures are told: sense and nonsense.
func contents() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		m := map[string]any{
			"op":  rapid.SampledFrom([]string{"add", "get", "put", "delete", "dance"}).Draw(t, "op"),
			"n":   rapid.IntRange(-1000, 1000).Draw(t, "n"),
			"key": rapid.SampledFrom([]string{"a", "b", "", "ž"}).Draw(t, "key"),
		}
		if rapid.Bool().Draw(t, "with value") {
			m["value"] = rapid.StringN(0, 300, 2000).Draw(t, "value")
		}
		if rapid.Bool().Draw(t, "with ball") {
			m["ball"] = rapid.IntRange(0, 3).Draw(t, "ball")
			m["peer"], m["rounds"] = "pong", 3
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	})
}

// TestOriginalRestoredReplayed: after any messages, whatever became of them, the
// guest, the one from its snapshot and the one replayed from the beginning are
// the same, and go on the same way.
func TestOriginalRestoredReplayed(t *testing.T) {
	h := hostWith(t, nil, false)
	for _, name := range fixtures.Names() {
		t.Run(name, func(t *testing.T) {
			if os.Getenv("CAXTON_LONG") == "" && strings.HasSuffix(name, "-go") {
				t.Skip("a Go guest's hundred lives take ten seconds: set CAXTON_LONG=1")
			}
			m := compileFixture(t, h, name)
			if !m.Info().Snapshotable {
				t.Fatal("not snapshotable")
			}
			start(t, h, m).Close() // makes the image
			rapid.Check(t, func(t *rapid.T) {
				one := &life{t: t, h: h, m: m}
				one.born()
				defer func() { one.in.Close() }()
				for i := range rapid.IntRange(1, 12).Draw(t, "messages") {
					if rapid.IntRange(0, 3).Draw(t, "goes on from a snapshot") == 0 {
						next := one.restored()
						one.in.Close()
						one.in = next
					}
					content := contents().Draw(t, "content")
					msg := request(content)
					msg.Performative = rapid.SampledFrom([]events.Performative{events.Request, events.Request, events.Inform}).Draw(t, "performative")
					c := Call{Message: msg, Fuel: 100_000_000, Host: events.HostRecord{
						NowMicros: 1_700_000_000_000_000 + int64(i), Seed: uint64(i),
					}}
					if rapid.IntRange(0, 9).Draw(t, "too little fuel") == 0 {
						c.Fuel = events.Fuel(rapid.IntRange(1, 3000).Draw(t, "fuel"))
					}
					one.take(c)
				}
				snapped := one.restored()
				defer snapped.Close()
				again := &life{t: t, h: h, m: m}
				again.replay(one.history, one.outs)
				defer func() { again.in.Close() }()
				want := one.in.StateHash()
				if snapped.StateHash() != want || again.in.StateHash() != want {
					t.Fatalf("original %x, restored %x, replayed %x", want, snapped.StateHash(), again.in.StateHash())
				}
				if fmt.Sprint(one.state) != fmt.Sprint(again.state) {
					t.Fatalf("durable state %v, replayed %v", one.state, again.state)
				}
			})
		})
	}
}
