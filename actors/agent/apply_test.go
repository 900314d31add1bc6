package agent

import (
	"errors"
	"testing"

	"github.com/caxton-run/caxton/events"
)

func TestApplyRefuses(t *testing.T) {
	handled := events.MessageHandled{Message: outsider(1), Outcome: events.OutcomeOK}
	for _, c := range []struct {
		name string
		from Status
		rev  events.Revision
		p    events.Payload
	}{
		{"a second deployment", Running, 1, deployment(1)},
		{"a deployment that is not the first event", None, 1, deployment(1)},
		{"a deployment of nobody", None, 0, events.AgentDeployed{}},
		{"anything before the deployment", None, 0, handled},
		{"a revision left out", Running, 2, handled},
		{"a revision again", Running, 0, handled},
		{"an event of an inbox", Running, 1, events.MessageReceived{Message: outsider(1)}},
		{"an event of a module", Running, 1, events.ModuleUploaded{}},

		{"a message while suspended", Suspended, 2, handled},
		{"a failure while suspended", Suspended, 2, events.MessageFailed{Message: outsider(1)}},
		{"a crash while failed", Failed, 2, events.AgentCrashed{}},
		{"a quarantine after removal", Removed, 2, events.AgentQuarantined{}},
		{"failing twice", Failed, 2, events.AgentFailed{}},
		{"a suspension while suspended", Suspended, 2, events.AgentSuspended{}},
		{"a suspension that would bring back the removed", Removed, 2, events.AgentSuspended{}},
		{"a resumption while running", Running, 1, events.AgentResumed{}},
		{"a resumption that would bring back the removed", Removed, 2, events.AgentResumed{}},
		{"a second removal", Removed, 2, events.AgentRemoved{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := standing(t, c.from)
			before := bytesOf(t, l.st)
			err := l.st.Apply(c.rev, c.p)
			var fault *StateError
			if !errors.As(err, &fault) {
				t.Fatalf("got %v, want a StateError", err)
			}
			same(t, "error", *fault, StateError{Agent: l.st.ID, Revision: c.rev, Type: c.p.EventType(), Reason: fault.Reason})
			if fault.Reason == "" || err.Error() == "" {
				t.Fatal("the error does not say why")
			}
			if bytesOf(t, l.st) != before {
				t.Fatal("a refused event changed the state")
			}
		})
	}
}

// A reader of a stream knows whose it is; a deployment of another agent in it is
// damage.
func TestApplyRefusesAnotherAgentsDeployment(t *testing.T) {
	st := &State{ID: agentID(2)}
	var fault *StateError
	if err := st.Apply(0, deployment(1)); !errors.As(err, &fault) {
		t.Fatalf("got %v, want a StateError", err)
	}
	if err := st.Apply(0, deployment(2)); err != nil {
		t.Fatal(err)
	}
}

func TestClock(t *testing.T) {
	l := newLife(t)
	at := func(now int64, status events.OutcomeStatus) {
		t.Helper()
		r := l.run(outsider(1), status)
		r.Host.NowMicros = now
		l.do(Finish{Run: r})
	}
	for _, c := range []struct {
		name   string
		status events.OutcomeStatus
		now    int64
		clock  int64
	}{
		{"handled", events.OutcomeOK, begin, begin},
		{"failed", events.OutcomeTrap, begin + 5, begin + 5},
		{"a crash told a time too", events.OutcomeTimeout, begin + 9, begin + 9},
		{"never backwards", events.OutcomeOK, begin - 100, begin + 9},
		{"a crash neither", events.OutcomeTimeout, begin - 100, begin + 9},
	} {
		if at(c.now, c.status); l.st.Clock != c.clock {
			t.Fatalf("%s: clock is %d, want %d", c.name, l.st.Clock, c.clock)
		}
	}
	if got := l.st.Now(begin); got != l.st.Clock+1 {
		t.Fatalf("a wall clock that went back gives %d, want %d", got, l.st.Clock+1)
	}
	if got := l.st.Now(begin + 100); got != begin+100 {
		t.Fatalf("a wall clock ahead gives %d, want itself", got)
	}
}

func TestSeen(t *testing.T) {
	l := newLife(t)
	from := agentID(2)
	if seen(l.st, from, 1) {
		t.Fatal("seen before it came")
	}
	l.do(Finish{Run: l.run(fromAgent(2, 3), events.OutcomeOK)})
	for seq, want := range map[uint64]bool{0: false, 1: true, 3: true, 4: false} {
		if seen(l.st, from, seq) != want {
			t.Errorf("sequence %d: seen is %v", seq, !want)
		}
	}
	l.do(Finish{Run: l.run(fromAgent(2, 2), events.OutcomeOK)})
	if !seen(l.st, from, 3) {
		t.Fatal("an older sequence took the newer one back")
	}
	if seen(l.st, agentID(3), 1) {
		t.Fatal("one sender's sequence counted for another")
	}
	l.do(Finish{Run: l.run(fromAgent(2, 4), events.OutcomeTrap)})
	if !seen(l.st, from, 4) {
		t.Fatal("a failed message is not seen")
	}
}

func TestValues(t *testing.T) {
	l := newLife(t)
	write := func(changes ...events.StateChange) {
		r := l.run(outsider(1), events.OutcomeOK)
		r.State = changes
		l.do(Finish{Run: r})
	}
	write(events.StateChange{Key: "a", Value: []byte("1")}, events.StateChange{Key: "b", Value: []byte("2")})
	write(events.StateChange{Key: "a", Value: nil}, events.StateChange{Key: "b", Delete: true}, events.StateChange{Key: "never", Delete: true})
	if v, ok := l.st.Get("a"); !ok || v == nil || len(v) > 0 {
		t.Fatalf("an empty value reads as %v, %v", v, ok)
	}
	if v, ok := l.st.Get("b"); ok {
		t.Fatalf("a deleted key reads as %q", v)
	}
	r := l.run(outsider(1), events.OutcomeTrap)
	r.State = []events.StateChange{{Key: "a", Value: []byte("dropped")}}
	l.do(Finish{Run: r})
	if v, _ := l.st.Get("a"); len(v) > 0 {
		t.Fatalf("a failed run wrote %q", v)
	}
}
