package projections

import (
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestLivesOfAgents: what readers see of each change, who must be woken to finish a
// stop, and whose inbox is worked off.
func TestLivesOfAgents(t *testing.T) {
	id := events.NewAgentID()
	agents, inboxes := NewAgents("here"), NewInboxes()
	rev := events.Revision(0)
	put := func(s events.Stream, p events.Payload) {
		rec := events.Recorded{Stream: s, Revision: rev, Position: events.Position(rev)}
		agents.Apply(rec, p)
		inboxes.Apply(rec, p)
		rev++
	}
	put(events.AgentStream(id), events.AgentDeployed{AgentID: id, Name: "a", Module: "one", ModuleSize: 1, Limits: events.DefaultLimits(), Labels: events.Labels{"k": "v"}})
	put(events.InboxStream(id), events.MessageReceived{})
	for _, step := range []struct {
		p        events.Payload
		status   string
		draining int
		runs     bool
	}{
		{events.AgentStopRequested{}, "draining", 1, true},
		{events.AgentResumed{}, "running", 0, true},
		{events.AgentStopRequested{}, "draining", 1, true},
		{events.AgentStopped{}, "stopped", 0, false},
		{events.AgentRestarted{}, "running", 0, true},
		{events.AgentSuspended{}, "suspended", 0, false},
		{events.AgentUpdated{Priority: events.High}, "suspended", 0, false},
		{events.AgentResumed{}, "running", 0, true},
		{events.AgentStopRequested{}, "draining", 1, true},
		{events.AgentFailed{}, "failed", 0, false},
	} {
		put(events.AgentStream(id), step.p)
		view, _ := agents.Get(id)
		if view.Status != step.status || len(agents.Draining()) != step.draining || (len(inboxes.Waiting()) == 1) != step.runs {
			t.Errorf("after %s: %s, %d draining, inbox worked off: %v", step.p.EventType(), view.Status, len(agents.Draining()), len(inboxes.Waiting()) == 1)
		}
	}
	limits := events.DefaultLimits()
	limits.MaxFuel = 7
	put(events.AgentStream(id), events.AgentUpdated{From: "one", Module: "two", ModuleSize: 2, Warnings: []string{"w"}, Limits: &limits, Labels: &events.Labels{}})
	view, _ := agents.Get(id)
	if view.Module != "two" || view.ModuleSize != 2 || len(view.Warnings) != 1 || view.Limits != limits || view.Priority != events.High || len(view.Labels) != 0 {
		t.Errorf("%+v", view)
	}
	put(events.AgentStream(id), events.AgentStopRequested{})
	put(events.AgentStream(id), events.AgentRemoved{})
	if n := len(agents.Draining()); n != 0 {
		t.Errorf("a removed agent is among %d draining", n)
	}
}
