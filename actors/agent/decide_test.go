package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// standing returns an agent at each status, by name.
func standing(t *testing.T, s Status) *life {
	t.Helper()
	if s == None {
		return &life{tb: t, st: new(State)}
	}
	l := newLife(t)
	switch s {
	case Suspended:
		l.do(Suspend{})
	case Draining:
		l.do(Stop{Drain: true, Until: time.UnixMicro(begin)})
	case Stopped:
		l.do(Stop{})
	case Failed:
		l.apply(events.AgentFailed{Reason: "test"})
	case Removed:
		l.do(Remove{})
	}
	return l
}

func TestLifecycle(t *testing.T) {
	var (
		deploy  = Deploy{Event: deployment(1)}
		letter  = DeadLetter{Event: events.MessageDeadLettered{Reason: events.DeadTimeout}}
		skip    = SkipInbox{Event: events.InboxSkipped{Inbox: 3}}
		message = Finish{Run: Run{Message: outsider(1), Status: events.OutcomeOK}}
		drain   = Stop{Drain: true, Grace: time.Second, Until: time.UnixMicro(begin)}
		nothing = []events.Type{}
	)
	for _, c := range []struct {
		name   string
		from   Status
		do     Command
		events []events.Type
		err    error
		to     Status
	}{
		{"deploy", None, deploy, []events.Type{"AgentDeployed"}, nil, Running},
		{"deploy twice", Running, deploy, nil, events.ErrConflict, Running},
		{"deploy again after removal", Removed, deploy, nil, events.ErrConflict, Removed},

		{"suspend", Running, Suspend{Reason: "why"}, []events.Type{"AgentSuspended"}, nil, Suspended},
		{"suspend twice", Suspended, Suspend{}, nothing, nil, Suspended},
		{"suspend a failed one", Failed, Suspend{}, nil, events.ErrIllegalLifecycle, Failed},
		{"suspend a removed one", Removed, Suspend{}, nil, events.ErrAgentNotFound, Removed},
		{"suspend nobody", None, Suspend{}, nil, events.ErrAgentNotFound, None},

		{"resume", Suspended, Resume{}, []events.Type{"AgentResumed"}, nil, Running},
		{"resume a failed one", Failed, Resume{}, []events.Type{"AgentResumed"}, nil, Running},
		{"resume a running one", Running, Resume{}, nothing, nil, Running},
		{"resume a removed one", Removed, Resume{}, nil, events.ErrAgentNotFound, Removed},
		{"resume nobody", None, Resume{}, nil, events.ErrAgentNotFound, None},

		{"resume a stopped one", Stopped, Resume{}, []events.Type{"AgentResumed"}, nil, Running},
		{"resume a draining one", Draining, Resume{}, []events.Type{"AgentResumed"}, nil, Running},

		{"suspend a draining one", Draining, Suspend{}, nil, events.ErrIllegalLifecycle, Draining},
		{"suspend a stopped one", Stopped, Suspend{}, nil, events.ErrIllegalLifecycle, Stopped},

		{"stop at once", Running, Stop{}, []events.Type{"AgentStopped"}, nil, Stopped},
		{"stop after draining", Running, drain, []events.Type{"AgentStopRequested"}, nil, Draining},
		{"drain twice", Draining, drain, nothing, nil, Draining},
		{"stop a draining one at once", Draining, Stop{}, []events.Type{"AgentStopped"}, nil, Stopped},
		{"stop a suspended one: nothing is drained", Suspended, drain, []events.Type{"AgentStopped"}, nil, Stopped},
		{"stop a failed one: nothing is drained", Failed, drain, []events.Type{"AgentStopped"}, nil, Stopped},
		{"stop twice", Stopped, drain, nothing, nil, Stopped},
		{"stop a removed one", Removed, drain, nil, events.ErrAgentNotFound, Removed},
		{"stop nobody", None, drain, nil, events.ErrAgentNotFound, None},
		{"drained", Draining, EndStop{Cause: events.StopDrained, By: begin}, []events.Type{"AgentStopped"}, nil, Stopped},
		{"drained after a resume", Running, EndStop{}, nothing, nil, Running},
		{"drained of another stop", Draining, EndStop{Cause: events.StopDrained, By: begin + 1}, nothing, nil, Draining},

		{"restart", Running, Restart{}, []events.Type{"AgentRestarted"}, nil, Running},
		{"restart under a key", Running, Restart{Key: "k"}, []events.Type{"AgentRestarted"}, nil, Running},
		{"restart a suspended one", Suspended, Restart{}, []events.Type{"AgentRestarted"}, nil, Running},
		{"restart a draining one", Draining, Restart{}, []events.Type{"AgentRestarted"}, nil, Running},
		{"restart a stopped one", Stopped, Restart{}, []events.Type{"AgentRestarted"}, nil, Running},
		{"restart a failed one", Failed, Restart{}, []events.Type{"AgentRestarted"}, nil, Running},
		{"restart a removed one", Removed, Restart{}, nil, events.ErrAgentNotFound, Removed},
		{"restart nobody", None, Restart{}, nil, events.ErrAgentNotFound, None},

		{"remove a draining one", Draining, Remove{}, []events.Type{"AgentRemoved"}, nil, Removed},
		{"remove a stopped one", Stopped, Remove{}, []events.Type{"AgentRemoved"}, nil, Removed},
		{"finish while draining", Draining, message, []events.Type{"MessageHandled"}, nil, Draining},
		{"finish while stopped", Stopped, message, nil, events.ErrIllegalLifecycle, Stopped},

		{"remove", Running, Remove{}, []events.Type{"AgentRemoved"}, nil, Removed},
		{"remove a suspended one", Suspended, Remove{}, []events.Type{"AgentRemoved"}, nil, Removed},
		{"remove a failed one", Failed, Remove{}, []events.Type{"AgentRemoved"}, nil, Removed},
		{"remove twice", Removed, Remove{}, nil, events.ErrAgentNotFound, Removed},
		{"remove nobody", None, Remove{}, nil, events.ErrAgentNotFound, None},

		{"finish", Running, message, []events.Type{"MessageHandled"}, nil, Running},
		{"finish while suspended", Suspended, message, nil, events.ErrIllegalLifecycle, Suspended},
		{"finish while failed", Failed, message, nil, events.ErrIllegalLifecycle, Failed},
		{"finish after removal", Removed, message, nil, events.ErrAgentNotFound, Removed},
		{"finish nobody's", None, message, nil, events.ErrAgentNotFound, None},

		{"dead letter", Running, letter, []events.Type{"MessageDeadLettered"}, nil, Running},
		{"dead letter while suspended", Suspended, letter, []events.Type{"MessageDeadLettered"}, nil, Suspended},
		{"dead letter of a removed one", Removed, letter, []events.Type{"MessageDeadLettered"}, nil, Removed},
		{"dead letter of nobody", None, letter, nil, events.ErrAgentNotFound, None},

		{"skip", Running, skip, []events.Type{"InboxSkipped"}, nil, Running},
		{"skip while failed", Failed, skip, []events.Type{"InboxSkipped"}, nil, Failed},
		{"skip of a removed one", Removed, skip, []events.Type{"InboxSkipped"}, nil, Removed},
		{"skip of nobody", None, skip, nil, events.ErrAgentNotFound, None},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := standing(t, c.from)
			before := bytesOf(t, l.st)
			out, err := Decide(l.st, c.do)
			if !errors.Is(err, c.err) {
				t.Fatalf("error is %v, want %v", err, c.err)
			}
			if bytesOf(t, l.st) != before {
				t.Fatal("Decide changed the state")
			}
			same(t, "events", types(out), c.events)
			l.apply(out...)
			if l.st.Status != c.to {
				t.Fatalf("stands at %q, want %q", l.st.Status, c.to)
			}
		})
	}
}

func TestDeployMakesTheAgent(t *testing.T) {
	l := newLife(t)
	d := deployment(1)
	same(t, "state", *l.st, State{
		ID: d.AgentID, Status: Running, Name: d.Name, Module: d.Module, Limits: d.Limits, Priority: d.Priority,
	})
	if got, want := l.st.Expected(), events.Exact(0); got != want {
		t.Fatalf("the next append expects %s, want %s", got, want)
	}
	if got, want := new(State).Expected(), events.NoStream(); got != want {
		t.Fatalf("the first append expects %s, want %s", got, want)
	}
}

func TestDeployWithoutID(t *testing.T) {
	var invalid *events.InvalidError
	if _, err := Decide(new(State), Deploy{}); !errors.As(err, &invalid) || invalid.Fields[0].Field != "id" {
		t.Fatalf("got %v, want an InvalidError for id", err)
	}
}

func TestUnknownCommand(t *testing.T) {
	if out, err := Decide(newLife(t).st, nil); err == nil || out != nil {
		t.Fatalf("no command gave %v, %v", out, err)
	}
}

func TestSuspensionKeepsItsReason(t *testing.T) {
	out := newLife(t).do(Suspend{Reason: "low priority"})
	same(t, "event", out, []events.Payload{events.AgentSuspended{Reason: "low priority"}})
}

// TestAStopKeepsItsReason until it is carried out, and no longer.
func TestAStopKeepsItsReason(t *testing.T) {
	l := newLife(t)
	until := time.UnixMicro(begin).UTC()
	out := l.do(Stop{Reason: "night\xff", Drain: true, Grace: 3 * time.Second, Until: until.Add(999)})
	same(t, "event", out, []events.Payload{events.AgentStopRequested{Reason: "night\uFFFD", GraceMS: 3000, Until: until}})
	if l.st.StopBy != begin {
		t.Errorf("to be stopped by %d, want %d", l.st.StopBy, begin)
	}
	out = l.do(EndStop{Cause: events.StopExpired, By: begin})
	same(t, "event", out, []events.Payload{events.AgentStopped{Reason: "night\uFFFD", Cause: events.StopExpired}})
	if l.st.StopBy != 0 || l.st.stopReason != "" {
		t.Errorf("left over: %d %q", l.st.StopBy, l.st.stopReason)
	}
}

// TestARestartForgetsCrashes, and nothing else that is the agent's.
func TestARestartForgetsCrashes(t *testing.T) {
	l := newLife(t)
	l.do(Finish{Run: func() Run {
		r := l.run(fromAgent(2, 1), events.OutcomeOK)
		r.State = []events.StateChange{{Key: "k", Value: []byte("v")}}
		return r
	}()})
	l.finish(3, events.OutcomeTimeout)
	l.do(Restart{Reason: "why"})
	if n := l.st.CrashAttempts(messageID(3)); n != 0 || len(l.st.crash.recent) != 0 {
		t.Errorf("%d attempts, recent crashes %v", n, l.st.crash.recent)
	}
	if v, ok := l.st.Get("k"); !ok || string(v) != "v" || !seen(l.st, agentID(2), 1) {
		t.Errorf("state %q %v, seen %v", v, ok, seen(l.st, agentID(2), 1))
	}
}
