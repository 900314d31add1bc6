package wasmhost

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

func testHost(t testing.TB) *Host {
	t.Helper()
	h, err := New(context.Background(), DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func compileFixture(t testing.TB, h *Host, name string) *Module {
	t.Helper()
	m, err := h.Compile(context.Background(), fixtures.Agent(name))
	if err != nil {
		t.Fatalf("compile %s: %v", name, err)
	}
	t.Cleanup(m.Release)
	return m
}

func request(content string) *events.Message {
	return &events.Message{
		ID: events.NewMessageID(), Performative: events.Request, Sender: "user:test", Receiver: "a",
		Content: json.RawMessage(content), ConversationID: "c1",
	}
}

// mapState is an agent's durable state.
type mapState map[string][]byte

func (m mapState) Get(key string) ([]byte, bool) { v, ok := m[key]; return v, ok }

// TestGuestsRun runs every guest on what its language's runtime needs, and
// rebuilds it from its snapshot.
func TestGuestsRun(t *testing.T) {
	h := testHost(t)
	says := map[string]string{ // to those who do not take {"op":"get"}
		"account": `{"op":"open","n":5}`, "contractor": `{"op":"jobs"}`, "manager": `{"op":"result","task":"t"}`,
		"ping": `{"op":"score"}`, "pong": `{"ball":1}`, "timer": `{"op":"fired"}`,
	}
	for _, name := range fixtures.Names() {
		t.Run(name, func(t *testing.T) {
			m := compileFixture(t, h, name)
			in, err := h.Instantiate(context.Background(), m, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			content, ok := says[name]
			if !ok {
				content = `{"op":"get","key":"k"}`
			}
			c := Call{Message: request(content), Fuel: 100_000_000, Timeout: 10 * time.Second}
			out := in.Handle(context.Background(), c)
			if out.Status != events.OutcomeOK {
				t.Fatalf("outcome %s: %s", out.Status, out.Detail)
			}
			snap, err := in.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			again, err := h.Restore(context.Background(), m, 64<<20, snap)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if in.StateHash() != again.StateHash() {
				t.Error("the restored guest differs")
			}
		})
	}
}

// TestHostileGuests runs what was written to harm the host; each ends as it is
// meant to, and the host runs the next.
func TestHostileGuests(t *testing.T) {
	h := testHost(t)
	for _, c := range fixtures.Hostile() {
		t.Run(c.Name, func(t *testing.T) {
			m, err := h.Compile(context.Background(), c.Wasm)
			if c.Refusal != "" {
				var refused *events.RefusedError
				if !errors.As(err, &refused) || refused.Rule != c.Refusal {
					t.Fatalf("got %v, want a refusal by rule %s", err, c.Refusal)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer m.Release()
			limits := events.DefaultLimits()
			in, err := h.Instantiate(context.Background(), m, limits.MaxMemoryBytes)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			out := in.Handle(context.Background(), Call{
				Message: request(`{"op":"get","key":"k"}`), Fuel: limits.MaxFuel,
				Timeout: time.Duration(limits.MaxExecutionTimeMS) * time.Millisecond,
			})
			t.Logf("%s: %s (%d fuel)", out.Status, out.Detail, out.Fuel)
			if out.Status != c.Outcome {
				t.Fatalf("outcome %s (%s), want %s", out.Status, out.Detail, c.Outcome)
			}
		})
	}
}

// TestGuestsAnswer: a counter in each language counts, keeps its count in its
// durable state, and goes on from there without its memory.
func TestGuestsAnswer(t *testing.T) {
	h := testHost(t)
	for _, name := range []string{"counter-c", "counter-as", "counter-rust", "counter-go"} {
		t.Run(name, func(t *testing.T) {
			m := compileFixture(t, h, name)
			state := mapState{}
			tell := func(in *Instance, content, want string) {
				t.Helper()
				out := in.Handle(context.Background(), Call{Message: request(content), Fuel: 100_000_000, State: state})
				if out.Status != events.OutcomeOK || string(out.Reply) != want {
					t.Fatalf("%s: %s %s, reply %s, want %s", content, out.Status, out.Detail, out.Reply, want)
				}
				for _, c := range out.State {
					state[c.Key] = c.Value
				}
			}
			in := start(t, h, m)
			tell(in, `{"op":"add","n":5}`, `{"count":5}`)
			tell(in, `{"op":"add","n":-12}`, `{"count":-7}`)
			tell(in, `{"op":"get"}`, `{"count":-7}`)
			tell(start(t, h, m), `{"op":"get"}`, `{"count":-7}`)
		})
	}
}

// TestClockNeverGoesBack: a Go guest lives through thousands of messages, its
// collector's runs among them, although the records' clock stands before the
// time at which the guest was initialised.
func TestClockNeverGoesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of messages")
	}
	h := testHost(t)
	in := start(t, h, compileFixture(t, h, "counter-go"))
	for n := range 8000 {
		out := in.Handle(context.Background(), Call{Message: request(`{"op":"add","n":1}`), Fuel: 100_000_000})
		if out.Status != events.OutcomeOK {
			t.Fatalf("message %d: %s: %s", n, out.Status, out.Detail)
		}
	}
}
