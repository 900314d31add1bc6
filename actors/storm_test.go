package actors

import (
	"context"
	"errors"
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

// rages makes a storm: a guest that traps in each of as many agents as one takes, in one
// conversation.
func (r *rig) rages(conversation string) (list []events.AgentID) {
	r.t.Helper()
	for i := range projections.StormAgents {
		id := r.deployWasm(fmt.Sprint(conversation, " ", i), hostile(r.t, "trap"))
		q := request(id, `1`)
		q.Message.ConversationID = conversation
		if sent, err := r.Send(context.Background(), q); err != nil || sent.Status != Failed {
			r.t.Fatalf("%s, %v", sent.Status, err)
		}
		list = append(list, id)
	}
	return list
}

// TestAStormThatIsCutOff between what it records and what it opens has all of it after
// the next start, whichever comes first; one that had it all opens nothing again.
func TestAStormThatIsCutOff(t *testing.T) {
	for _, last := range []events.Category{events.StormStream().Category(), events.CategoryBreaker} {
		t.Run(string(last), func(t *testing.T) {
			heard := make(told, 8)
			r := newRigWith(t, func(r *rig) { r.heard = heard })
			cut := false // by the append to the storms, or right after it; one goroutine at a time appends these
			r.store.fail(func(s events.Stream) error {
				switch c := s.Category(); {
				case cut && (c == events.CategoryBreaker || s == events.StormStream()):
					return errors.New("power cut")
				case s == events.StormStream():
					if cut = true; last == c {
						return errors.New("power cut")
					}
				}
				return nil
			}, nil)
			list := r.rages("cut off")
			<-heard
			r.restart()
			wants := func(n int) {
				t.Helper()
				if got := r.sys.Breakers(); len(got) != n {
					t.Fatalf("%d breakers are not closed, want %d", len(got), n)
				}
			}
			if last != events.CategoryBreaker {
				<-heard
			}
			wants(len(list))
			if got := only[events.AgentStormDetected](r, events.StormStream()); len(got) != 1 {
				t.Errorf("recorded: %+v", got)
			}
			for _, id := range list {
				if got := only[events.BreakerOpened](r, events.BreakerStream(events.AgentScope(id))); len(got) != 1 {
					t.Errorf("opened %d times", len(got))
				}
			}
			if _, err := r.OrderBreaker(context.Background(), BreakerRequest{}); err != nil {
				t.Fatal(err)
			}
			r.restart()
			r.rages("another") // after it, which is all that the first could be
			<-heard
			wants(len(list))
		})
	}
}
