package actors

import (
	"context"
	"fmt"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// told is a listener that a test hears storms with.
type told chan events.AgentStormDetected

// Storm implements StormListener.
func (t told) Storm(_ context.Context, s events.AgentStormDetected) { t <- s }

// TestAStormIsRecordedOnce, and told to whoever is to act on it; a restart, whose
// projections find it again, tells nobody.
func TestAStormIsRecordedOnce(t *testing.T) {
	r := newRig(t, nil)
	heard := make(told, 8)
	r.heard = heard
	r.restart()
	for i := range projections.StormAgents {
		id := r.deployWasm(fmt.Sprint("trap ", i), hostile(t, "trap"))
		q := request(id, `1`)
		q.Message.ConversationID = "spreading"
		if sent, err := r.Send(context.Background(), q); err != nil || sent.Status != Failed {
			t.Fatalf("%s, %v", sent.Status, err)
		}
	}
	storm := <-heard
	if storm.ConversationID != "spreading" || storm.Count != projections.StormAgents {
		t.Errorf("%+v", storm)
	}
	wants := func() {
		t.Helper()
		if got := only[events.AgentStormDetected](r, events.StormStream()); len(got) != 1 || got[0].ConversationID != "spreading" {
			t.Errorf("recorded: %+v", got)
		}
	}
	wants()
	r.restart()
	r.ask(r.deploy("echo", "echo"), `1`)
	wants()
	select {
	case s := <-heard:
		t.Errorf("told again: %+v", s)
	default:
	}
}
