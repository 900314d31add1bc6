package projections

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

func at(p events.Recorded) time.Time { return p.RecordedAt }

func TestAgentView(t *testing.T) {
	a := NewAgents("node-1")
	log := newTape(a)
	d := deployed(1, "one")
	d.Labels, d.Warnings = events.Labels{"team": "a"}, []string{"handles no messages"}
	first := log.agent(1, d)
	want := AgentView{
		ID: d.AgentID, Name: "one", Status: "running", Module: d.Module, ModuleSize: 8, Limits: d.Limits,
		Priority: events.Normal, Labels: d.Labels, Node: "node-1", CreatedAt: at(first), UpdatedAt: at(first),
		Capabilities: []string{}, Warnings: d.Warnings, Snapshotable: true,
	}
	check := func(what string) {
		t.Helper()
		got, ok := a.Get(d.AgentID)
		if !ok {
			t.Fatalf("%s: gone", what)
		}
		same(t, what, got, want)
		if n := a.LenAt(want.Status); n != 1 || a.LenAt("removed") != 0 {
			t.Errorf("%s: %d agents are %s", what, n, want.Status)
		}
	}
	check("deployed")
	for _, c := range []struct {
		name string
		p    events.Payload
		mend func(rec events.Recorded)
	}{
		{"suspended", events.AgentSuspended{}, func(events.Recorded) { want.Status = "suspended" }},
		{"resumed", events.AgentResumed{}, func(events.Recorded) { want.Status = "running" }},
		{"handled", events.MessageHandled{Fuel: 5}, func(events.Recorded) { want.MessagesHandled, want.FuelUsed = 1, 5 }},
		{"failed message", events.MessageFailed{Fuel: 2, Outcome: events.OutcomeTrap, Detail: "boom"}, func(rec events.Recorded) {
			want.MessagesFailed, want.FuelUsed = 1, 7
			want.LastError = &LastError{Outcome: events.OutcomeTrap, Detail: "boom", At: at(rec)}
		}},
		{"crashed", events.AgentCrashed{Outcome: events.OutcomeTimeout, Detail: "slow"}, func(rec events.Recorded) {
			want.LastError = &LastError{Outcome: events.OutcomeTimeout, Detail: "slow", At: at(rec)}
		}},
		{"quarantined", events.AgentQuarantined{}, func(events.Recorded) { want.MessagesFailed = 2 }},
		{"failed", events.AgentFailed{}, func(events.Recorded) { want.Status = "failed" }},
		{"dead letter", events.MessageDeadLettered{}, func(events.Recorded) {}},
		{"skipped", events.InboxSkipped{}, func(events.Recorded) {}},
		{"resumed again", events.AgentResumed{}, func(events.Recorded) { want.Status = "running" }},
	} {
		rec := log.agent(1, c.p)
		c.mend(rec)
		want.Revision, want.UpdatedAt = rec.Revision, at(rec)
		check(c.name)
	}
	log.inbox(1)
	check("a message in the inbox is no event of the agent")
	log.agent(1, events.AgentRemoved{})
	if _, ok := a.Get(d.AgentID); ok || a.Len() != 0 {
		t.Fatal("still there after its removal")
	}
	log.agent(1, events.MessageDeadLettered{})
	if a.Len() != 0 {
		t.Fatal("a late event brought a removed agent back")
	}
}

func TestViewWithoutLabelsShowsNone(t *testing.T) {
	a := NewAgents("")
	newTape(a).agent(1, deployed(1, "one"))
	if v, _ := a.Get(agentID(1)); v.Labels == nil || v.Capabilities == nil {
		t.Fatal("a client would read null")
	}
}

func TestAgentsIgnoreWhatIsNotTheirs(t *testing.T) {
	a := NewAgents("")
	log := newTape(a)
	log.agent(1, deployed(2, "in another's stream"))
	log.put("agent-x", deployed(1, "in nobody's stream"))
	log.agent(3, events.AgentSuspended{})
	if a.Len() != 0 {
		t.Fatalf("lists %d agents", a.Len())
	}
	log.agent(1, deployed(1, "one"), deployed(1, "again"))
	if v, _ := a.Get(agentID(1)); a.Len() != 1 || v.Name != "one" {
		t.Fatalf("lists %d agents, the first is %q", a.Len(), v.Name)
	}
}

func TestPages(t *testing.T) {
	a := NewAgents("")
	log := newTape(a)
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		log.agent(byte(i), deployed(byte(i), name))
	}
	list := func(cursor string, limit int) Page {
		t.Helper()
		page, err := a.List(cursor, limit)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	for _, c := range []struct {
		limit int
		names string
		next  bool
	}{
		{0, "a b c d e", false}, {-1, "a b c d e", false}, {2, "a b", true}, {4, "a b c d", true},
		{5, "a b c d e", false}, {6, "a b c d e", false}, {math.MaxInt, "a b c d e", false},
	} {
		page := list("", c.limit)
		if names(page.Agents) != c.names || (page.Next != "") != c.next || page.Total != 5 {
			t.Errorf("limit %d: %q, next %q, total %d", c.limit, names(page.Agents), page.Next, page.Total)
		}
	}
	first := list("", 2)
	log.agent(1, events.AgentRemoved{}) // b, where the page ends
	log.agent(2, events.AgentRemoved{}) // c, where the next begins
	log.agent(5, deployed(5, "f"))
	second := list(first.Next, 2)
	if names(second.Agents) != "d e" || second.Total != 4 {
		t.Fatalf("second page is %q of %d", names(second.Agents), second.Total)
	}
	if last := list(second.Next, math.MaxInt); names(last.Agents) != "f" || last.Next != "" {
		t.Fatalf("last page is %q, next %q", names(last.Agents), last.Next)
	}
	if over := list("zzzzzzz", 2); len(over.Agents) != 0 || over.Next != "" {
		t.Fatalf("after the end: %q, next %q", names(over.Agents), over.Next)
	}
}

func FuzzCursor(f *testing.F) {
	a := NewAgents("")
	log := newTape(a)
	for i := range byte(4) {
		log.agent(i, deployed(i, "x"))
	}
	f.Add("", 0)
	f.Add("0", 1)
	f.Add("-1", 2)
	f.Add("+1", 2)
	f.Add("1_0", 2)
	f.Add("zzzzzzzzzzzzz", math.MaxInt)
	f.Add("1y2p0ij32e8e7", math.MinInt)
	f.Fuzz(func(t *testing.T, cursor string, limit int) {
		page, err := a.List(cursor, limit)
		var invalid *events.InvalidError
		switch {
		case err != nil && (!errors.As(err, &invalid) || invalid.Fields[0].Field != "cursor"):
			t.Fatalf("got %v, want an InvalidError for cursor", err)
		case err == nil && limit > 0 && len(page.Agents) > limit:
			t.Fatalf("%d agents, limit %d", len(page.Agents), limit)
		case err == nil && page.Next != "":
			if next, err := a.List(page.Next, 0); err != nil || len(next.Agents) == 0 {
				t.Fatalf("the cursor %q given leads to %d agents, %v", page.Next, len(next.Agents), err)
			}
		}
	})
}

// TestSnapshotableIsTold: an agent whose module was warned of wakes by replay only.
func TestSnapshotableIsTold(t *testing.T) {
	a := NewAgents("node-1")
	log := newTape(a)
	d := deployed(1, "one")
	d.Warnings = []string{"handles no messages", events.WarnReplayOnly + ": it changes tables"}
	log.agent(1, d)
	if v, ok := a.Get(d.AgentID); !ok || v.Snapshotable {
		t.Errorf("%+v", v)
	}
	if page, err := a.List("", 0); err != nil || page.Agents[0].Snapshotable {
		t.Errorf("%+v, %v", page, err)
	}
}
