package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

func tryFixture(t *testing.T, name string, limits events.ResourceLimits) *trial {
	t.Helper()
	tr, err := newTrial(t.Context(), t.TempDir(), fixtures.Agent(name), limits, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func (t *trial) ask(tb testing.TB, content string) trialRun {
	tb.Helper()
	r, err := t.tell(tb.Context(), events.Message{Performative: events.Request, ConversationID: "c", Content: []byte(content)})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// TestTrialKeepsAnAgentsState: the limit of what an agent may keep is not the
// guest's to know, so the run ends well and the message fails all the same. What
// was there before is there after.
func TestTrialKeepsAnAgentsState(t *testing.T) {
	tr := tryFixture(t, "kv", events.DefaultLimits())
	value := strings.Repeat("x", 240<<10)
	var last trialRun
	n := 0
	for ; n <= agent.MaxStateBytes/len(value); n++ {
		last = tr.ask(t, fmt.Sprintf(`{"op":"put","key":"k%d","value":%q}`, n, value))
		if last.outcome.Status != events.OutcomeOK {
			break
		}
	}
	if last.outcome.Status != events.OutcomeEffectsTooLarge || last.outcome.Replied || len(last.outcome.State) > 0 || last.notice == nil {
		t.Fatalf("put %d: %s %s", n, last.outcome.Status, last.outcome.Detail)
	}
	for i, want := range map[int]string{0: `"found":true`, n: `"found":false`} {
		r := tr.ask(t, fmt.Sprintf(`{"op":"get","key":"k%d"}`, i))
		if r.outcome.Status != events.OutcomeOK || !strings.Contains(string(r.outcome.Reply), want) {
			t.Errorf("key %d: %s %.80s, want %s", i, r.outcome.Status, r.outcome.Reply, want)
		}
	}
}

// TestTrialIsAnAgent: memory outlasts a failure, and fuel is what it would have
// been without it.
func TestTrialIsAnAgent(t *testing.T) {
	contents := []string{`{"op":"add","n":1}`, `{"op":"add","n":2}`, `{"op":"get"}`}
	plain, troubled := tryFixture(t, "counter-as", events.DefaultLimits()), tryFixture(t, "counter-as", events.DefaultLimits())
	for _, c := range contents {
		want := plain.ask(t, c)
		if r := troubled.ask(t, `{"op":"explode"}`); r.outcome.Status != events.OutcomeRefused || r.notice == nil {
			t.Fatalf("%+v", r)
		}
		got := troubled.ask(t, c)
		if string(got.outcome.Reply) != string(want.outcome.Reply) || got.outcome.Fuel != want.outcome.Fuel {
			t.Errorf("%s: %s for %d, want %s for %d", c, got.outcome.Reply, got.outcome.Fuel, want.outcome.Reply, want.outcome.Fuel)
		}
	}
}

// TestTrialRunsMessagesAgainOnce: however often its guest fails, what an agent heard
// is run again once at the most, and what it knows is what it would know.
func TestTrialRunsMessagesAgainOnce(t *testing.T) {
	tr := tryFixture(t, "counter-c", events.DefaultLimits())
	const rounds = 6
	for range rounds {
		if r := tr.ask(t, `{"op":"add","n":1}`); r.outcome.Status != events.OutcomeOK {
			t.Fatalf("%s: %s", r.outcome.Status, r.outcome.Detail)
		}
		tr.guest.Kill() // as a trap would, it leaves the guest of no use
		if r := tr.ask(t, `{"op":"add","n":1}`); r.outcome.Status == events.OutcomeOK {
			t.Fatal("a killed guest answers")
		}
	}
	r := tr.ask(t, `{"op":"get"}`)
	if want := fmt.Sprint(rounds); !strings.Contains(string(r.outcome.Reply), want) {
		t.Errorf("the counter says %s, want %s", r.outcome.Reply, want)
	}
	if tr.reruns != rounds {
		t.Errorf("%d messages were run again %d times", rounds, tr.reruns)
	}
}
