package replay

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// twist is a ledger that asks its messages for another field in place of one that they
// have: it does all that the ledger does but what that field says.
func twist(t *testing.T, field string) []byte {
	t.Helper()
	was := append([]byte("content."+field), 0)
	wasm := fixtures.Agent("ledger")
	if bytes.Count(wasm, was) != 1 {
		t.Fatalf("the ledger asks for content.%s in %d places", field, bytes.Count(wasm, was))
	}
	now := bytes.Clone(was)
	now[len(now)-2] = '#'
	return bytes.Replace(wasm, was, now, 1)
}

// try runs what the bench's agent has handled on a module of the shelf's.
func (b *bench) try(wasm []byte) *Difference {
	b.t.Helper()
	b.src.Modules.(shelf).wasm[events.HashModule(wasm)] = wasm
	out, err := b.src.Trial(context.Background(), b.state.ID, events.HashModule(wasm), events.DefaultLimits())
	if err != nil || !out.Complete {
		b.t.Fatalf("%+v, %v", out, err)
	}
	return out.Difference
}

// TestTrialComparesTimersAndCapabilities, which are events of their own: what a module
// sets, cancels and registers is part of what it does.
func TestTrialComparesTimersAndCapabilities(t *testing.T) {
	b := newBench(t, fixtures.Agent("ledger"))
	b.shelve("ledger")
	said := []string{ // revisions 1; 2 and 3; 4 and 5; 6 and 7; 8 to 10
		`{}`,
		`{"us":20000,"later":{"op":"get"}}`,
		`{"cancel":1}`,
		`{"can":"count"}`,
		`{"us":30000,"later":[1, 2],"can":"more"}`,
	}
	for _, s := range said {
		b.handle(s, nil)
	}
	if d := b.try(fixtures.Agent("ledger")); d != nil {
		t.Fatalf("the same module differs: %+v", d)
	}
	for _, c := range []struct {
		field, what   string
		revision      events.Revision
		recorded, now string
	}{
		{"us", "timers", 2, `set 1 after 20ms: {"op":"get"}`, "none"},
		{"later", "timers", 2, `set 1 after 20ms: {"op":"get"}`, "set 1 after 20ms"},
		{"cancel", "timers", 4, "cancel 1", "none"},
		{"can", "capabilities", 6, "count", "none"},
	} {
		d := b.try(twist(t, c.field))
		if d == nil || d.What != c.what || d.Revision != c.revision || d.Recorded != c.recorded || d.Now != c.now {
			t.Errorf("without %s: %+v, want %+v", c.field, d, c)
		}
	}
}

// TestTrialOfWhatTheOldModuleNeverDid tells effects that are new, too.
func TestTrialOfWhatTheOldModuleNeverDid(t *testing.T) {
	for field, what := range map[string]string{"us": "timers", "cancel": "timers", "can": "capabilities"} {
		b := newBench(t, twist(t, field))
		b.shelve("ledger")
		text := map[string]string{"us": `{"us":20000}`, "can": `{"can":"count"}`, "cancel": `{"cancel":1}`}[field]
		b.handle(`{"us":10000}`, nil) // one that can be cancelled
		b.handle(text, nil)
		if d := b.try(fixtures.Agent("ledger")); d == nil || d.What != what || d.Recorded != "none" {
			t.Errorf("with %s: %+v, want a difference in %s", field, d, what)
		}
	}
}

// TestTrialOfAModuleThatRegistersAtItsStart: the agent would have had the capability
// from the update on, so that it registers it no more is no difference.
func TestTrialOfAModuleThatRegistersAtItsStart(t *testing.T) {
	b := newBench(t, fixtures.Agent("ledger"))
	b.shelve("ledger")
	b.handle(`{"can":"timer"}`, nil)
	src := &trial{src: b.src}
	defer src.close()
	b.src.Modules.(shelf).wasm[events.HashModule(fixtures.Agent("timer"))] = fixtures.Agent("timer")
	src.module, src.limits = events.HashModule(fixtures.Agent("timer")), events.DefaultLimits()
	if _, err := src.begin(context.Background(), b.state); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(src.offers, src.beyond([]string{"timer", "b", "a"})); got != "[timer] [a b]" {
		t.Errorf("%s, want [timer] [a b]", got)
	}
}
