package agent

import (
	"errors"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestAnUpdateSaysWhatChanges and nothing else; what is so already is no event.
func TestAnUpdateSaysWhatChanges(t *testing.T) {
	now := deployment(1)
	next := events.HashModule([]byte("next"))
	fuel := now.Limits
	fuel.MaxFuel = 5
	labels := events.Labels{}
	for name, c := range map[string]struct {
		do   Update
		want []events.Payload
	}{
		"nothing":       {Update{}, nil},
		"what is so":    {Update{Module: now.Module, Limits: now.Limits, Priority: now.Priority, Reason: "why"}, nil},
		"one limit":     {Update{Limits: events.ResourceLimits{MaxFuel: 5}}, []events.Payload{events.AgentUpdated{Limits: &fuel}}},
		"priority":      {Update{Priority: events.High}, []events.Payload{events.AgentUpdated{Priority: events.High}}},
		"no labels":     {Update{Labels: &labels}, []events.Payload{events.AgentUpdated{Labels: &labels}}},
		"a new module":  {Update{Module: next, ModuleSize: 3}, []events.Payload{events.AgentUpdated{From: now.Module, Module: next, ModuleSize: 3}}},
		"not migrating": {Update{Module: now.Module, Migration: &events.Migration{}, Priority: events.Low}, []events.Payload{events.AgentUpdated{Priority: events.Low}}},
	} {
		t.Run(name, func(t *testing.T) { same(t, "events", newLife(t).do(c.do), c.want) })
	}
}

// TestAnUpdateKeepsWhatIsTheAgents: its state as the migration leaves it, its
// sequences, its status.
func TestAnUpdateKeepsWhatIsTheAgents(t *testing.T) {
	l := newLife(t)
	r := l.run(fromAgent(2, 1), events.OutcomeOK)
	r.State = []events.StateChange{{Key: "old", Value: []byte("1")}, {Key: "k", Value: []byte("v")}}
	r.Sends = []Outgoing{{Message: events.Message{Receiver: "x"}, To: agentID(3)}}
	l.do(Finish{Run: r})
	l.finish(4, events.OutcomeTimeout)
	l.do(Suspend{})
	next := events.HashModule([]byte("next"))
	l.do(Update{Module: next, Limits: events.ResourceLimits{MaxFuel: 5}, Capabilities: []string{"sum"}, Migration: &events.Migration{
		Host:  events.HostRecord{NowMicros: l.st.Now(begin)},
		State: []events.StateChange{{Key: "old", Delete: true}, {Key: "new", Value: []byte("1")}},
	}})
	if !l.st.HasCapability("sum") {
		t.Error("a suspended agent does not learn what its new module can do")
	}
	_, old := l.st.Get("old")
	k, _ := l.st.Get("k")
	made, _ := l.st.Get("new")
	if old || string(k) != "v" || string(made) != "1" {
		t.Errorf("state: old %v, k %q, new %q", old, k, made)
	}
	if l.st.Status != Suspended || l.st.Module != next || l.st.Limits.MaxFuel != 5 || l.st.Limits.MaxMemoryBytes != events.DefaultLimits().MaxMemoryBytes {
		t.Errorf("%s %s %+v", l.st.Status, l.st.Module, l.st.Limits)
	}
	if !seen(l.st, agentID(2), 1) || l.st.sent[channel{agentID(3), events.Normal}] != 1 || l.st.CrashAttempts(messageID(4)) != 0 {
		t.Errorf("seen %v, sent %v, %d attempts", seen(l.st, agentID(2), 1), l.st.sent, l.st.CrashAttempts(messageID(4)))
	}
}

// TestAMigrationThatKeepsTooMuch is refused.
func TestAMigrationThatKeepsTooMuch(t *testing.T) {
	l := newLife(t)
	_, err := Decide(l.st, Update{Module: "m", Migration: &events.Migration{State: []events.StateChange{{Key: "k", Value: make([]byte, MaxStateBytes)}}}})
	var failed *events.MigrationError
	if !errors.As(err, &failed) || failed.Outcome != events.OutcomeEffectsTooLarge {
		t.Errorf("%v, want a *events.MigrationError", err)
	}
}
