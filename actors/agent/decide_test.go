package agent

import (
	"errors"
	"testing"

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
