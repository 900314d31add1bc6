package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin is the wall clock of most tests, µs since the Unix epoch.
const begin = int64(1_700_000_000_000_000)

func agentID(n byte) events.AgentID     { return events.AgentID{0: 0xa9, 15: n} }
func messageID(n byte) events.MessageID { return events.MessageID{0: 0x3e, 15: n} }

func deployment(n byte) events.AgentDeployed {
	return events.AgentDeployed{
		AgentID: agentID(n), Name: "agent", Module: events.HashModule([]byte{n}), ModuleSize: 1,
		Limits: events.DefaultLimits(), Priority: events.Normal,
	}
}

// life is an agent that decides and applies, and the log it leaves.
type life struct {
	tb    rapid.TB
	st    *State
	wrote []events.Payload
}

// newLife returns agent 1, deployed.
func newLife(tb rapid.TB) *life {
	tb.Helper()
	l := &life{tb: tb, st: new(State)}
	l.do(Deploy{Event: deployment(1)})
	return l
}

// do decides and applies; a refused command ends the test.
func (l *life) do(c Command) []events.Payload {
	l.tb.Helper()
	out, err := Decide(l.st, c)
	if err != nil {
		l.tb.Fatalf("%T: %v", c, err)
	}
	l.apply(out...)
	return out
}

func (l *life) apply(list ...events.Payload) {
	l.tb.Helper()
	for _, p := range list {
		if err := l.st.Apply(next(l.st), p); err != nil {
			l.tb.Fatal(err)
		}
		l.wrote = append(l.wrote, p)
	}
}

// finish runs message n of an outsider to an end.
func (l *life) finish(n byte, status events.OutcomeStatus) []events.Payload {
	l.tb.Helper()
	return l.do(Finish{Run: l.run(outsider(n), status)})
}

func (l *life) run(m events.Message, status events.OutcomeStatus) Run {
	return Run{
		Message: m, Status: status, Detail: "because", Fuel: 7, MeterVersion: 1,
		Host: events.HostRecord{NowMicros: l.st.Now(begin)},
	}
}

// next is the revision of the event that may follow.
func next(s *State) events.Revision {
	if !s.Exists() {
		return 0
	}
	return s.Revision + 1
}

func outsider(n byte) events.Message {
	return events.Message{
		ID: messageID(n), Performative: events.Request, Sender: "user:anonymous", Receiver: agentID(1).String(),
		Content: []byte(`{"n":1}`), ConversationID: "talk", ReplyWith: "tag", Protocol: "query",
	}
}

// fromAgent is what another agent sends.
func fromAgent(n byte, sequence uint64) events.Message {
	m := outsider(n)
	m.Sender, m.Sequence = agentID(n).String(), sequence
	return m
}

func bytesOf(tb rapid.TB, s *State) string {
	tb.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// types names a decision's events in order.
func types(list []events.Payload) []events.Type {
	out := []events.Type{}
	for _, p := range list {
		out = append(out, p.EventType())
	}
	return out
}

// seen asks for a message of normal priority.
func seen(s *State, from events.AgentID, sequence uint64) bool {
	return s.Seen(&events.Message{Sender: from.String(), Sequence: sequence})
}

// same ends the test if two values differ; nil and empty are equal, as in an
// event's JSON.
func same(tb rapid.TB, what string, got, want any) {
	tb.Helper()
	opts := cmp.Options{cmpopts.EquateEmpty(), cmp.AllowUnexported(State{}, values{}, keyring{}, inbox{}, crashes{}, timers{})}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		tb.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}
