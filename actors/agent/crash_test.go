package agent

import (
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// crash has message n crash the agent at a time.
func (l *life) crash(n byte, now int64) []events.Payload {
	l.tb.Helper()
	r := l.run(outsider(n), events.OutcomeTimeout)
	r.Host.NowMicros = now
	return l.do(Finish{Run: r})
}

func TestBackoffDoubles(t *testing.T) {
	for attempt, want := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 3: 400 * time.Millisecond,
		9: 25600 * time.Millisecond, 10: MaxBackoff, 1000: MaxBackoff,
	} {
		if got := backoff(attempt); got != want {
			t.Errorf("after attempt %d: %s, want %s", attempt, got, want)
		}
	}
}

func TestCrashThenQuarantine(t *testing.T) {
	for _, status := range []events.OutcomeStatus{events.OutcomeTimeout, events.OutcomeKilled, events.OutcomeHostFault} {
		l := newLife(t)
		waited := events.Revision(0)
		r := l.run(outsider(1), status)
		r.Inbox, r.Key, r.BodyHash = &waited, ScopedKey("p", "k"), "hash"
		for attempt := 1; attempt <= 2; attempt++ {
			same(t, "crash", l.do(Finish{Run: r}), []events.Payload{events.AgentCrashed{
				MessageID: r.Message.ID, Outcome: status, Detail: "because", Attempt: attempt,
				BackoffMS: int64(100 * attempt), At: time.UnixMicro(begin).UTC(),
			}})
			if got := l.st.CrashAttempts(r.Message.ID); got != attempt {
				t.Fatalf("attempts are %d, want %d", got, attempt)
			}
			if _, known := l.st.Key(r.Key); known || l.st.InboxDone(0) || l.st.Handled != 0 {
				t.Fatal("a message that is tried again counts as done")
			}
		}
		out := l.do(Finish{Run: r})
		same(t, "events", types(out), []events.Type{"AgentCrashed", "AgentQuarantined"})
		q := out[1].(events.AgentQuarantined)
		same(t, "quarantine", q, events.AgentQuarantined{
			Message: r.Message, Outcome: status, Detail: "because", Attempts: 3, Reply: q.Reply,
			Inbox: &waited, IdempotencyKey: r.Key, BodyHash: "hash",
		})
		wantNotice(t, q.Reply, events.Failure, string(status), "because")
		if _, known := l.st.Key(r.Key); !known || !l.st.InboxDone(0) || l.st.Handled != 1 {
			t.Fatal("a quarantined message is not done with")
		}
		if l.st.CrashAttempts(r.Message.ID) != 0 || l.st.Status != Running {
			t.Fatal("the agent does not go on after a quarantine")
		}
	}
}

func TestQuarantineTellsTheSendingAgent(t *testing.T) {
	l := newLife(t)
	r := l.run(fromAgent(2, 8), events.OutcomeTimeout)
	l.do(Finish{Run: r})
	l.do(Finish{Run: r})
	out := l.do(Finish{Run: r})
	q := out[1].(events.AgentQuarantined)
	if q.Reply != nil || len(q.Sends) != 1 || q.Sends[0].Sequence != 1 || !seen(l.st, agentID(2), 8) {
		t.Fatalf("quarantine is %+v", q)
	}
	r = l.run(outsider(3), events.OutcomeOK)
	r.Sends = []Outgoing{send(2)}
	if m := one[events.MessageHandled](t, l.do(Finish{Run: r})).Sends[0]; m.Sequence != 2 {
		t.Fatalf("the quarantine's send and the next share sequence %d", m.Sequence)
	}
}

func TestSuccessForgetsAttempts(t *testing.T) {
	l := newLife(t)
	l.crash(1, begin)
	l.crash(1, begin)
	l.finish(1, events.OutcomeOK)
	if got := l.st.CrashAttempts(messageID(1)); got != 0 {
		t.Fatalf("attempts are %d after a success", got)
	}
	same(t, "the next crash", types(l.crash(1, begin)), []events.Type{"AgentCrashed"})
}

// The end of another message says nothing about the one that crashes.
func TestOtherMessagesKeepAttempts(t *testing.T) {
	l := newLife(t)
	l.crash(1, begin)
	l.finish(2, events.OutcomeOK)
	if got := l.st.CrashAttempts(messageID(1)); got != 1 {
		t.Fatalf("attempts are %d, want 1", got)
	}
	if got := l.st.CrashAttempts(messageID(2)); got != 0 {
		t.Fatalf("attempts of the other are %d, want 0", got)
	}
}

func TestTenCrashesInTheWindowFail(t *testing.T) {
	const step = int64(6 * time.Second / time.Microsecond) // the tenth comes 54 s after the first
	l := newLife(t)
	for n := range 9 {
		l.crash(byte(n+1), begin+int64(n)*step)
		if l.st.Status != Running {
			t.Fatalf("failed at crash %d", n+1)
		}
	}
	out := l.crash(10, begin+9*step)
	same(t, "events", types(out), []events.Type{"AgentCrashed", "AgentFailed"})
	same(t, "failure", out[1], events.AgentFailed{
		Reason: "10 crashes within 1m0s, the last: Timeout", Crashes: 10, WindowMS: 60_000, Outcome: events.OutcomeTimeout,
	})
	if l.st.Status != Failed {
		t.Fatalf("stands at %s", l.st.Status)
	}
	l.do(Resume{})
	if got := l.st.CrashAttempts(messageID(10)); got != 0 {
		t.Fatalf("a resumed agent remembers %d attempts", got)
	}
	same(t, "the first crash after it", types(l.crash(11, begin+9*step+1)), []events.Type{"AgentCrashed"})
}

func TestSlowCrashesDoNotFail(t *testing.T) {
	const step = int64(CrashWindow / time.Microsecond / 9) // the tenth just leaves the first behind
	l := newLife(t)
	for n := range 40 {
		l.crash(byte(n+1), begin+int64(n)*(step+1))
	}
	if l.st.Status != Running {
		t.Fatalf("stands at %s", l.st.Status)
	}
	if got := len(l.st.crash.recent); got >= MaxCrashes {
		t.Fatalf("remembers %d crashes", got)
	}
}

// The tenth crash may be the third of its message: it is quarantined as well, so
// that it does not meet the agent again when that is resumed.
func TestQuarantineAndFailureAtOnce(t *testing.T) {
	l := newLife(t)
	for n := range 7 {
		l.crash(byte(n+1), begin)
	}
	l.crash(50, begin)
	l.crash(50, begin)
	out := l.crash(50, begin)
	same(t, "events", types(out), []events.Type{"AgentCrashed", "AgentQuarantined", "AgentFailed"})
	if l.st.Status != Failed || l.st.Handled != 1 {
		t.Fatalf("stands at %s with %d handled", l.st.Status, l.st.Handled)
	}
}
