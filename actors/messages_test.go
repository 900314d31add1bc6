package actors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

func TestMessagesAreHandledAndRemembered(t *testing.T) {
	for _, guest := range []string{"counter-c", "counter-rust", "counter-as", "counter-go"} {
		t.Run(guest, func(t *testing.T) {
			r := newRig(t, nil)
			id := r.deploy("counter", guest)
			r.wants(id, `{"op":"add","n":3}`, `{"count":3}`)
			r.wants(id, `{"op":"add","n":4}`, `{"count":7}`)
			r.restart()
			r.wants(id, `{"op":"get"}`, `{"count":7}`)
		})
	}
}

func TestAModuleWithoutHandlerDoesNotUnderstand(t *testing.T) {
	r := newRig(t, nil)
	id := r.deployWasm("mute", []byte("\x00asm\x01\x00\x00\x00"))
	sent := r.ask(id, `1`)
	if sent.Reply == nil || sent.Reply.Performative != events.NotUnderstood {
		t.Fatalf("%s %s", sent.Status, contentOf(sent.Reply))
	}
}

func TestSendChecksItsRequest(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("echo", "echo")
	var invalid *events.InvalidError
	for name, change := range map[string]func(*SendRequest){
		"key":          func(q *SendRequest) { q.IdempotencyKey = strings.Repeat("k", events.MaxKeyLength+1) },
		"wait":         func(q *SendRequest) { q.Wait = MaxWait + 1 },
		"negative":     func(q *SendRequest) { q.Wait = -1 },
		"performative": func(q *SendRequest) { q.Message.Performative = "shout" },
		"content":      func(q *SendRequest) { q.Message.Content = json.RawMessage("{") },
		"field":        func(q *SendRequest) { q.Message.Protocol = strings.Repeat("p", events.MaxFieldLength+1) },
	} {
		q := request(id, `1`)
		change(&q)
		if _, err := r.Send(context.Background(), q); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an *events.InvalidError", name, err)
		}
	}
	q := request(id, `"`+strings.Repeat("x", events.MaxMessageContent)+`"`)
	if _, err := r.Send(context.Background(), q); !errors.Is(err, events.ErrContentTooLarge) {
		t.Errorf("%v, want events.ErrContentTooLarge", err)
	}
	if _, err := r.Send(context.Background(), request(events.NewAgentID(), `1`)); !errors.Is(err, events.ErrAgentNotFound) {
		t.Errorf("%v, want events.ErrAgentNotFound", err)
	}
	if got := len(r.payloads(events.AgentStream(id))); got != 1 {
		t.Errorf("the agent has %d events, want only its deployment", got)
	}
}

func TestSameKeyIsTheSameRequest(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	q := request(id, `{"op":"add","n":1}`)
	q.IdempotencyKey = "once"
	first, err := r.Send(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if i == 2 {
			r.restart()
		}
		again, err := r.Send(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		if again.MessageID != first.MessageID || contentOf(again.Reply) != contentOf(first.Reply) || again.Position != first.Position {
			t.Errorf("the repetition was answered %+v, the first %+v", again, first)
		}
	}
	q.Message.Content = json.RawMessage(`{"op":"add","n":2}`)
	if _, err := r.Send(context.Background(), q); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("%v, want events.ErrKeyReused", err)
	}
	other := q
	other.Principal = "user:other"
	if _, err := r.Send(context.Background(), other); err != nil {
		t.Errorf("another principal's key: %v", err)
	}
	r.wants(id, `{"op":"get"}`, `{"count":3}`)
}

// TestConcurrentSenders share agents, and half of the requests are repeated while
// the first is under way.
func TestConcurrentSenders(t *testing.T) {
	r := newRig(t, nil)
	ids := []events.AgentID{r.deploy("a", "counter-c"), r.deploy("b", "counter-rust")}
	const senders, each = 8, 25
	var group sync.WaitGroup
	for s := range senders {
		group.Go(func() {
			for i := range each {
				q := request(ids[(s/2+i)%2], `{"op":"add","n":1}`)
				q.IdempotencyKey = fmt.Sprintf("%d-%d", s/2, i) // senders 2n and 2n+1 send the same
				if _, err := r.Send(context.Background(), q); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	total := 0
	for _, id := range ids {
		var body struct{ Count int }
		if err := json.Unmarshal(r.ask(id, `{"op":"get"}`).Reply.Content, &body); err != nil {
			t.Fatal(err)
		}
		total += body.Count
	}
	if total != senders/2*each {
		t.Errorf("%d messages counted, want %d", total, senders/2*each)
	}
}

// TestHostileGuests: each is refused or ends as it is meant to, again and again,
// and another agent is not disturbed.
func TestHostileGuests(t *testing.T) {
	r := newRig(t, nil)
	bystander := r.deploy("bystander", "counter-c")
	count := 0
	for _, c := range fixtures.Hostile() {
		if c.Refusal != "" {
			_, err := r.Deploy(context.Background(), DeployRequest{Name: c.Name, Wasm: c.Wasm, Limits: events.DefaultLimits()})
			var refused *events.RefusedError
			if !errors.As(err, &refused) || refused.Rule != c.Refusal {
				t.Errorf("%s: %v, want a refusal by %s", c.Name, err, c.Refusal)
			}
			continue
		}
		id := r.deployWasm(c.Name, c.Wasm)
		for range 2 {
			sent := r.ask(id, `{"op":"get"}`)
			if sent.Status != Failed || sent.Reply == nil || sent.Reply.Performative != events.Failure {
				t.Errorf("%s: %s %s, want a failure", c.Name, sent.Status, contentOf(sent.Reply))
			}
		}
		for _, f := range only[events.MessageFailed](r, events.AgentStream(id)) {
			if f.Outcome != c.Outcome {
				t.Errorf("%s: outcome %s (%s), want %s", c.Name, f.Outcome, f.Detail, c.Outcome)
			}
		}
		count++
		r.wants(bystander, `{"op":"add","n":1}`, fmt.Sprintf(`{"count":%d}`, count))
	}
	if count == 0 {
		t.Error("no hostile guest ran")
	}
}

// TestAFailedMessageLeavesNoTrace: what a refused message did to memory is undone.
func TestAFailedMessageLeavesNoTrace(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	r.wants(id, `{"op":"add","n":5}`, `{"count":5}`)
	if sent := r.ask(id, `{"op":"add","n":999999999999999}`); sent.Status != Failed {
		t.Fatalf("%s, want %s", sent.Status, Failed)
	}
	r.wants(id, `{"op":"get"}`, `{"count":5}`)
	failed := only[events.MessageFailed](r, events.AgentStream(id))
	if len(failed) != 1 || failed[0].Outcome != events.OutcomeRefused || failed[0].Status != 1 {
		t.Errorf("%+v", failed)
	}
}

// hurried gives a guest so little time, and so much fuel, that only the clock
// can end it.
func hurried(q *DeployRequest) {
	q.Limits.MaxExecutionTimeMS = 5
	q.Limits.MaxFuel = events.LimitCeilings().MaxFuel
}

func hostile(t testing.TB, name string) []byte {
	t.Helper()
	for _, c := range fixtures.Hostile() {
		if c.Name == name {
			return c.Wasm
		}
	}
	t.Fatalf("no hostile guest %s", name)
	return nil
}

// TestCrashesAreRetriedThenSetAside: a timeout may pass, so the message is tried
// three times, and the agent then goes on with the next.
func TestCrashesAreRetriedThenSetAside(t *testing.T) {
	r := newRig(t, nil)
	id := r.deployWasm("spin", hostile(t, "spin"), hurried)
	sent := r.ask(id, `1`)
	if sent.Status != Quarantined {
		t.Fatalf("%s, want %s", sent.Status, Quarantined)
	}
	crashed := only[events.AgentCrashed](r, events.AgentStream(id))
	if len(crashed) == 0 || crashed[0].Outcome != events.OutcomeTimeout || crashed[0].BackoffMS == 0 {
		t.Errorf("crashes %+v", crashed)
	}
	if got := only[events.AgentQuarantined](r, events.AgentStream(id)); len(got) != 1 {
		t.Errorf("set aside %+v", got)
	}
}

// alarm counts agents that failed, and keeps what was logged of it.
type alarm struct {
	Unobserved
	failures atomic.Int64
	log      bytes.Buffer // written by the system; read after its end
}

// Failed implements Observer.
func (a *alarm) Failed() { a.failures.Add(1) }

// TestAFailedAgentIsToldOf: somebody must act, so it is an Error by id, name and reason,
// and counted.
func TestAFailedAgentIsToldOf(t *testing.T) {
	seen := new(alarm)
	r := newRigWith(t, func(r *rig) {
		r.observer = seen
		r.before = func() {
			r.sys.log = slog.New(slog.NewTextHandler(&seen.log, &slog.HandlerOptions{Level: slog.LevelError}))
		}
	})
	id := r.deployWasm("spin", hostile(t, "spin"), hurried)
	for range agent.MaxCrashes - 1 {
		r.write(id, events.AgentCrashed{MessageID: events.NewMessageID(), Outcome: events.OutcomeTimeout, Attempt: 1, At: time.Now().UTC()})
	}
	q := request(id, `1`)
	q.Wait = 0
	if _, err := r.Send(context.Background(), q); err != nil {
		t.Fatal(err)
	}
	r.eventually("it has failed", func() bool { return r.agents.LenAt("failed") == 1 })
	r.until("it is counted", func() bool { return seen.failures.Load() == 1 })
	r.end()
	for _, want := range []string{"level=ERROR", "agent failed", id.String(), "name=spin", "10 crashes within"} {
		if got := seen.log.String(); !strings.Contains(got, want) || strings.Count(got, "agent failed") != 1 {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

// TestAQueuedMessageIsHandled: what cannot be handled soon is acknowledged from
// the inbox, and handled all the same, here behind an agent's backoff.
func TestAQueuedMessageIsHandled(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = 5 * time.Millisecond })
	id := r.deployWasm("spin", hostile(t, "spin"), hurried)
	q := request(id, `1`)
	q.Wait = 0
	sent, err := r.Send(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if sent.Status != Queued && sent.Status != Quarantined {
		t.Fatalf("%s, want %s", sent.Status, Queued)
	}
	r.eventually("the queued message ends", func() bool {
		return len(only[events.AgentQuarantined](r, events.AgentStream(id))) == 1
	})
	r.workedOff()
}

// TestWhoStopsWaitingIsToldWhatIsKnown: of a message in the inbox its receipt,
// of anything else that it may yet happen.
func TestWhoStopsWaitingIsToldWhatIsKnown(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = 5 * time.Millisecond })
	id := r.deployWasm("spin", hostile(t, "spin"), func(q *DeployRequest) {
		hurried(q)
		q.Limits.MaxExecutionTimeMS = 2000
	})
	busy, stop := context.WithCancel(context.Background())
	first := make(chan error, 1)
	go func() {
		_, err := r.Send(busy, request(id, `1`))
		first <- err
	}()
	r.eventually("the message is queued", func() bool { return r.inboxes.Len() == 1 })
	changed := make(chan error, 1)
	go func() {
		_, err := r.Suspend(busy, Command{Agent: id})
		changed <- err
	}()
	queued := make(chan Sent, 1)
	go func() {
		sent, err := r.Send(busy, request(id, `2`))
		if err != nil {
			t.Errorf("a message that is in the inbox: %v", err)
		}
		queued <- sent
	}()
	r.eventually("the second message is queued", func() bool { return r.inboxes.Len() == 2 })
	stop()
	if err := <-changed; !errors.Is(err, events.ErrUnknownOutcome) || errors.Is(err, context.Canceled) {
		t.Errorf("a change that waits for the agent: %v", err)
	}
	if sent := <-queued; sent.Status != Queued {
		t.Errorf("a message that waits in the inbox is %q", sent.Status)
	}
	if err := <-first; err != nil {
		t.Errorf("a message whose turn runs, and which is in the inbox: %v", err)
	}
}

// TestAFullMailboxRefuses: beyond the bound a sender is told at once.
func TestAFullMailboxRefuses(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MailboxSize = 1 })
	id := r.deployWasm("spin", hostile(t, "spin"), func(q *DeployRequest) {
		hurried(q)
		q.Limits.MaxExecutionTimeMS = 300
	})
	var group sync.WaitGroup
	var mu sync.Mutex
	full := 0
	for range 8 {
		group.Go(func() {
			q := request(id, `1`)
			q.Wait = 0
			if _, err := r.Send(context.Background(), q); errors.Is(err, events.ErrMailboxFull) {
				mu.Lock()
				full++
				mu.Unlock()
				if want := "mailbox is full: 1 messages wait in it (messaging.mailbox_size)"; !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if full == 0 {
		t.Error("eight senders to a mailbox of one, and none was refused")
	}
}
