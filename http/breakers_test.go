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
		{Scope: "node-n-1", Kind: "node", Name: "n-1", State: "open", Since: &at, Forced: true, Reason: "storm"},
		{Scope: events.AgentScope(gone), Kind: "agent", Name: gone.String(), Agent: &gone, State: "open", Since: &at, Forced: true},
	}
	for _, tc := range []struct {
		in   BreakerOrder
		want actors.BreakerRequest
	}{
		{BreakerOrder{Action: "activate", Scope: "all", Reason: "storm"}, actors.BreakerRequest{Activate: true, Scope: "all", Reason: "storm"}},
		{BreakerOrder{Action: "activate", Scope: "agent", Name: "a"}, actors.BreakerRequest{Activate: true, Scope: events.AgentScope(id)}},
		{BreakerOrder{Action: "activate", Scope: "capability", Name: "sums"}, actors.BreakerRequest{Activate: true, Scope: "capability-sums"}},
		{BreakerOrder{Action: "reset"}, actors.BreakerRequest{}},
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
	_, err = r.OrderBreaker(ctx, BreakerOrder{Action: "activate", Scope: "agent", Name: "nobody"})
	if p := problem(t, err); p.Code != CodeAgentNotFound {
		t.Errorf("%+v", p)
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
