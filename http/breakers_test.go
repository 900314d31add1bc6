package http

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

func TestBreakers(t *testing.T) {
	f := new(fakeOperations)
	r := start(t, func(_ *Config, d *Deps) { d.Breakers = f })
	ctx := context.Background()
	closed := Breaker{Scope: "all", Kind: events.BreakerAll, State: actors.BreakerClosed, Admitted: 100}
	got, err := r.Breakers(ctx)
	if diff := cmp.Diff([]Breaker{closed}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	id := r.deploy(t, "a")
	gone := events.NewAgentID()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.breakers = []actors.BreakerView{
		{Scope: events.AgentScope(id), State: actors.BreakerOpen, Since: at, Until: at.Add(time.Minute), Failures: 10, Of: 10, Storm: actors.StormRef{Ancestor: events.MessageID{7}, Conversation: "c"}},
		{Scope: "all", State: actors.BreakerRecovering, Since: at, Admitted: 0.3333, Forced: true},
		{Scope: "node-n-1", State: actors.BreakerOpen, Since: at, Forced: true, Reason: "storm"},
		{Scope: events.AgentScope(gone), State: actors.BreakerOpen, Since: at, Forced: true},
	}
	until := at.Add(time.Minute)
	want := []Breaker{
		{Scope: "all", Kind: "all", State: "recovering", Since: &at, Admitted: 33.3, Forced: true},
		{Scope: events.AgentScope(id), Kind: "agent", Name: "a", Agent: &id, State: "open", Since: &at, Until: &until, Failures: 10, Of: 10, Storm: &Storm{events.MessageID{7}, "c"}},
		{Scope: "node-n-1", Kind: "node", Name: "n-1", State: "open", Since: &at, Forced: true, Reason: "storm", Warning: "there is no such node: it holds nothing back"},
		{Scope: events.AgentScope(gone), Kind: "agent", Name: gone.String(), Agent: &gone, State: "open", Since: &at, Forced: true},
	}
	for _, tc := range []struct {
		in   BreakerOrder
		want actors.BreakerRequest
	}{
		{BreakerOrder{Action: "activate", Scope: "all", Reason: "storm"}, actors.BreakerRequest{Activate: true, Scope: "all", Reason: "storm"}},
		{BreakerOrder{Action: "activate", Scope: "agent", Name: "a"}, actors.BreakerRequest{Activate: true, Scope: events.AgentScope(id)}},
		{BreakerOrder{Action: "activate", Scope: "capability", Name: "sums"}, actors.BreakerRequest{Activate: true, Scope: "capability-sums"}},
		{BreakerOrder{Action: "activate", Scope: "node", Name: "node-1"}, actors.BreakerRequest{Activate: true, Scope: "node-node-1"}},
		{BreakerOrder{Action: "reset"}, actors.BreakerRequest{}},
		{BreakerOrder{Action: "reset", Scope: "node", Name: "node-1"}, actors.BreakerRequest{Scope: "node-node-1"}},
		{BreakerOrder{Action: "reset", Scope: "agent", Name: gone.String()}, actors.BreakerRequest{Scope: events.AgentScope(gone)}},
		{BreakerOrder{Action: "reset", Gradual: true}, actors.BreakerRequest{Over: 10 * time.Minute}},
		{BreakerOrder{Action: "reset", Scope: "node", Name: "n-1", Gradual: true, Duration: "30s"}, actors.BreakerRequest{Scope: "node-n-1", Over: 30 * time.Second}},
	} {
		got, err := r.OrderBreaker(ctx, tc.in)
		tc.want.Principal = principal
		if diff := cmp.Diff(tc.want, f.order); err != nil || diff != "" {
			t.Errorf("%+v: %v %s", tc.in, err, diff)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: %s", tc.in, diff)
		}
	}
}

// TestBreakersThatCannotBe are not opened: who mistyped a name would believe that
// something is held back.
func TestBreakersThatCannotBe(t *testing.T) {
	f := new(fakeOperations)
	r := start(t, func(_ *Config, d *Deps) { d.Breakers = f })
	open := func(scope events.BreakerScope) actors.BreakerView {
		return actors.BreakerView{Scope: scope, State: actors.BreakerOpen, Forced: true}
	}
	f.breakers = []actors.BreakerView{open("capability-bad cap!"), open("capability-sums")} // as earlier versions took them
	for _, tc := range []struct {
		in   BreakerOrder
		want Code
	}{
		{BreakerOrder{Action: "activate", Scope: "agent", Name: "nobody"}, CodeAgentNotFound},
		{BreakerOrder{Action: "activate", Scope: "node", Name: "nonode"}, CodeNodeNotFound},
		{BreakerOrder{Action: "reset", Scope: "node", Name: "nonode"}, CodeNodeNotFound},
		{BreakerOrder{Action: "activate", Scope: "capability", Name: "bad cap!"}, CodeInvalidRequest},
		{BreakerOrder{Action: "reset", Scope: "capability", Name: "worse cap!"}, CodeInvalidRequest},
		{BreakerOrder{Action: "reset", Scope: "capability", Name: "nothing"}, CodeBreakerNotFound},
	} {
		_, err := r.OrderBreaker(t.Context(), tc.in)
		if p := problem(t, err); p.Code != tc.want || f.order != (actors.BreakerRequest{}) {
			t.Errorf("%+v: %+v, ordered %+v", tc.in, p, f.order)
		}
	}
	for _, name := range []string{"bad cap!", "sums"} {
		list, err := r.OrderBreaker(t.Context(), BreakerOrder{Action: "reset", Scope: "capability", Name: name})
		if err != nil {
			t.Errorf("reset what is open: %v", err)
		}
		for _, b := range list[1:] {
			if b.Warning != "no agent that runs or is suspended offers it: it holds nothing back" {
				t.Errorf("%+v", b)
			}
		}
	}
}

// TestBreakerOpenSaysWhen to come again.
func TestBreakerOpenSaysWhen(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	r.node.fail = fmt.Errorf("message: %w", &events.BreakerOpenError{Scope: "all", Retry: 1500 * time.Millisecond})
	got := post(t, r, base+"/agents/a/messages", "{}")
	wantProblem(t, got, 503, CodeBreakerOpen)
	if after := got.header.Get("Retry-After"); after != "2" {
		t.Errorf("Retry-After %s, want 2", after)
	}
}
