package actors

import (
	"slices"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestCapabilitiesAreKnownFromTheStart: what a module registers while it is
// initialised, its agent has from its deployment on, until it is removed.
func TestCapabilitiesAreKnownFromTheStart(t *testing.T) {
	r := newRig(t, nil)
	first, second := r.deploy("a", "timer"), r.deploy("b", "timer")
	for _, id := range []events.AgentID{first, second} {
		if v, _ := r.agents.Get(id); !slices.Equal(v.Capabilities, []string{"timer"}) {
			t.Errorf("capabilities %v", v.Capabilities)
		}
		got := r.payloads(events.AgentStream(id))
		if len(got) != 2 || got[1].EventType() != "CapabilityRegistered" {
			t.Errorf("born with %d events", len(got))
		}
	}
	r.restart()
	chosen, err := r.agents.ResolveFor("capability:timer", "talk")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.command(r.Remove, chosen); err != nil {
		t.Fatal(err)
	}
	r.eventually("another is chosen", func() bool {
		other, err := r.agents.ResolveFor("capability:timer", "talk")
		return err == nil && other != chosen
	})
}

// TestAgentsFindCapabilities: a send names one, and the log has who was meant.
func TestAgentsFindCapabilities(t *testing.T) {
	r := newRig(t, nil)
	sender, receiver := r.deploy("timer", "timer"), r.deploy("other", "timer")
	r.setTimer(sender, `{"op":"after","us":0,"tell":"capability:timer"}`)
	r.eventually("it is sent and dealt with", func() bool { return len(r.fired(sender)) == 1 && r.flight.Len() == 0 })
	var sends []events.Message
	for _, h := range only[events.MessageHandled](r, events.AgentStream(sender)) {
		sends = append(sends, h.Sends...)
	}
	if len(sends) == 0 || sends[0].Receiver != sender.String() && sends[0].Receiver != receiver.String() {
		t.Errorf("sent %v", sends)
	}
	r.setTimer(sender, `{"op":"after","us":0,"tell":"capability:fly"}`)
	r.eventually("a dead letter", func() bool { return len(only[events.MessageDeadLettered](r, events.AgentStream(sender))) == 1 })
}
