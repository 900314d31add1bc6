package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

func (r *rig) bulk(action Action, f Filter, change ...func(*BulkRequest)) BulkResult {
	r.t.Helper()
	q := BulkRequest{Caller: Caller{Principal: "user:test"}, Action: action, Filter: f}
	for _, c := range change {
		c(&q)
	}
	out, err := r.Bulk(context.Background(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	if out.Position > 0 {
		r.caughtUp(out.Position)
	}
	return out
}

func counts(b BulkResult) string {
	return fmt.Sprintf("%d matched, %d changed, %d unchanged, %d failed", b.Matched, b.Changed, b.Unchanged, b.Failed)
}

// TestBulk does one thing to the agents that a filter fits, and to no other.
func TestBulk(t *testing.T) {
	r := newRig(t, nil)
	var ids []events.AgentID
	for i := range 6 {
		ids = append(ids, r.deploy(fmt.Sprint("a", i), "echo", func(q *DeployRequest) {
			q.Labels = events.Labels{"team": []string{"red", "blue"}[i%2]}
			if i < 3 {
				q.Priority = events.Low
			}
		}))
	}
	wants := func(got BulkResult, want string) {
		t.Helper()
		if counts(got) != want {
			t.Errorf("%s: %s, want %s", got.Action, counts(got), want)
		}
	}
	dry := func(q *BulkRequest) { q.DryRun = true }
	wants(r.bulk(ActionSuspend, Filter{Priority: events.Low}, dry), "3 matched, 3 changed, 0 unchanged, 0 failed")
	if got := r.status(ids[0]); got != "running" {
		t.Errorf("a dry run left it %s", got)
	}
	wants(r.bulk(ActionSuspend, Filter{Priority: events.Low}), "3 matched, 3 changed, 0 unchanged, 0 failed")
	wants(r.bulk(ActionSuspend, Filter{Labels: events.Labels{"team": "red"}}), "3 matched, 1 changed, 2 unchanged, 0 failed")
	for i, want := range []string{"suspended", "suspended", "suspended", "running", "suspended", "running"} {
		if got := r.status(ids[i]); got != want {
			t.Errorf("agent %d is %s, want %s", i, got, want)
		}
	}
	wants(r.bulk(ActionStop, Filter{Priority: events.Normal, Labels: events.Labels{"team": "blue"}}), "2 matched, 2 changed, 0 unchanged, 0 failed")
	foretold := r.bulk(ActionSuspend, Filter{All: true}, dry)
	failed := r.bulk(ActionSuspend, Filter{All: true})
	byName := func(a, b BulkAgent) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(foretold.Agents, byName)
	slices.SortFunc(failed.Agents, byName) // they come as they end
	if !slices.Equal(foretold.Agents, failed.Agents) || counts(foretold) != counts(failed) {
		t.Errorf("a dry run says %+v, then it was %+v", foretold, failed)
	}
	wants(failed, "6 matched, 0 changed, 4 unchanged, 2 failed")
	if len(failed.Agents) != 2 || !strings.Contains(failed.Agents[0].Error, "which is stopped") || failed.Agents[0].From != "stopped" {
		t.Errorf("%+v", failed.Agents)
	}
	wants(r.bulk(ActionResume, Filter{All: true}), "6 matched, 6 changed, 0 unchanged, 0 failed")
	wants(r.bulk(ActionRestart, Filter{Status: "running"}), "6 matched, 6 changed, 0 unchanged, 0 failed")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	out, err := r.Bulk(ended, BulkRequest{Action: ActionRemove, Filter: Filter{All: true}})
	if err != nil || out.Failed != 6 {
		t.Errorf("after its caller went: %s, %v", counts(out), err)
	}
	wants(r.bulk(ActionRemove, Filter{Priority: events.Low}), "3 matched, 3 changed, 0 unchanged, 0 failed")
	if n := r.agents.Len(); n != 3 {
		t.Errorf("%d agents are left, want 3", n)
	}
}

func TestBulkChecksItsRequest(t *testing.T) {
	r := newRig(t, nil)
	r.deploy("a", "echo")
	var invalid *events.InvalidError
	for name, q := range map[string]BulkRequest{
		"no filter":    {Action: ActionRemove},
		"all and more": {Action: ActionRemove, Filter: Filter{All: true, Status: "running"}},
		"no action":    {Filter: Filter{All: true}},
		"grace":        {Action: ActionStop, Filter: Filter{All: true}, Grace: MaxGrace + time.Second},
	} {
		if _, err := r.Bulk(context.Background(), q); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an *events.InvalidError", name, err)
		}
	}
}

// BenchmarkBulk suspends and resumes all of 2,000 agents that hibernate.
func BenchmarkBulk(b *testing.B) {
	const agents = 2000
	r := newRig(b, nil)
	for i := range agents {
		r.deployWasm(fmt.Sprint(i), []byte("\x00asm\x01\x00\x00\x00"))
	}
	for b.Loop() {
		r.bulk(ActionSuspend, Filter{All: true})
		r.bulk(ActionResume, Filter{All: true})
	}
	b.ReportMetric(2*agents*float64(b.N)/b.Elapsed().Seconds(), "agents/s")
}
