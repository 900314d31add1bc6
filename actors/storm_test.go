package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// told is a listener that a test hears storms with.
type told chan events.AgentStormDetected

// Storm implements StormListener.
func (t told) Storm(_ context.Context, s events.AgentStormDetected) { t <- s }

// spreads is what a ledger is told that fails and has all of a list do the same: each
// passes it on in a conversation of its own, and tells itself to fail in another; the
// last one sets a timer that does.
func spreads(list []events.AgentID) map[string]any {
	trap := map[string]any{"op": "trap"}
	if len(list) == 1 {
		return map[string]any{"us": 10_000, "later": trap}
	}
	return map[string]any{
		"to": list[1].String(), "then": spreads(list[1:]), "also": list[0].String(), "other": trap, "talk": "with " + list[1].String(),
	}
}

// rages makes a storm for one message, of so many agents.
func (r *rig) rages(name string, agents int) (list []events.AgentID, ancestor events.MessageID) {
	r.t.Helper()
	for i := range agents {
		list = append(list, r.deploy(fmt.Sprint(name, " ", i), "ledger"))
	}
	content, err := json.Marshal(spreads(list))
	if err != nil {
		r.t.Fatal(err)
	}
	q := request(list[0], string(content))
	q.Message.ConversationID = name
	sent, err := r.Send(context.Background(), q)
	if err != nil || sent.Status != Handled {
		r.t.Fatalf("%s, %v", sent.Status, err)
	}
	return list, sent.MessageID
}

// TestAStormIsRecordedOnce, though its agents fail in as many conversations, and told to
// whoever is to act on it; a restart, whose projections find it again, tells nobody.
func TestAStormIsRecordedOnce(t *testing.T) {
	heard := make(told, 8)
	r := newRigWith(t, func(r *rig) { r.heard = heard })
	_, ancestor := r.rages("spreading", projections.StormAgents)
	storm := <-heard
	if storm.Ancestor != ancestor || storm.Count != projections.StormAgents || len(storm.Conversations) != projections.StormAgents-1 {
		t.Errorf("%+v, want it for %s", storm, ancestor)
	}
	wants := func() {
		t.Helper()
		if got := only[events.AgentStormDetected](r, events.StormStream()); len(got) != 1 || got[0].Ancestor != ancestor {
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

// TestOneConversationIsNoStorm: agents that fail for messages of their own have nothing
// in common but what somebody outside calls the conversation.
func TestOneConversationIsNoStorm(t *testing.T) {
	heard := make(told, 8)
	r := newRigWith(t, func(r *rig) { r.heard = heard })
	for i := range 2 * projections.StormAgents {
		q := request(r.deployWasm(fmt.Sprint("trap ", i), hostile(t, "trap")), `1`)
		q.Message.ConversationID = "crowd"
		if sent, err := r.Send(context.Background(), q); err != nil || sent.Status != Failed {
			t.Fatalf("%s, %v", sent.Status, err)
		}
	}
	_, ancestor := r.rages("spreading", projections.StormAgents) // behind them, so they have been looked at
	if storm := <-heard; storm.Ancestor != ancestor {
		t.Errorf("%+v, want one for %s alone", storm, ancestor)
	}
}

// TestAStormThatIsCutOff between what it records and what it opens has all of it after
// the next start, whichever comes first; one that had it all opens nothing again.
func TestAStormThatIsCutOff(t *testing.T) {
	for _, last := range []events.Category{events.StormStream().Category(), events.CategoryBreaker} {
		t.Run(string(last), func(t *testing.T) {
			heard := make(told, 8)
			r := newRigWith(t, func(r *rig) { r.heard = heard })
			var cut atomic.Bool // by the append to the storms, or right after it
			r.store.fail(func(s events.Stream) error {
				switch c := s.Category(); {
				case cut.Load() && (c == events.CategoryBreaker || s == events.StormStream()):
					return errors.New("power cut")
				case s == events.StormStream():
					cut.Store(true)
					if last == c {
						return errors.New("power cut")
					}
				}
				return nil
			}, nil)
			list, _ := r.rages("cut off", projections.StormAgents)
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
			r.rages("another", projections.StormAgents) // after it, which is all that the first could be
			<-heard
			wants(len(list))
		})
	}
}

// TestAStormOpensBreakersWhateverTheLogSays: what keeps it from being recorded keeps
// nobody from being protected.
func TestAStormOpensBreakersWhateverTheLogSays(t *testing.T) {
	heard := make(told, 8)
	r := newRigWith(t, func(r *rig) {
		r.heard = heard
		r.before = func() {
			r.sys.deps.Store = &unreadable{faultyStore: r.store, of: events.StormStream().Category(), times: math.MaxInt}
		}
	})
	list, _ := r.rages("unreadable", projections.StormAgents)
	<-heard
	if got := r.sys.Breakers(); len(got) != len(list) {
		t.Errorf("%d breakers are not closed, want %d", len(got), len(list))
	}
}
