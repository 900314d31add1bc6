package actors

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// wakes counts how often a guest was made from the log.
type wakes struct {
	Unobserved
	woken atomic.Int64
}

func (w *wakes) Woke(time.Duration) { w.woken.Add(1) }

// TestExpiredMessagesAreNotRun: who wants an answer by a time that has passed gets a
// failure that says so, from an agent that waited in its inbox too.
func TestExpiredMessagesAreNotRun(t *testing.T) {
	seen := new(wakes)
	r := newRigWith(t, func(r *rig) { r.observer = seen })
	id := r.deploy("counter", "counter-c")
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	req := request(id, `{"op":"add","n":1}`)
	req.Message.ReplyBy = &past
	sent, err := r.Send(t.Context(), req)
	if err != nil || sent.Status != Failed || !strings.Contains(contentOf(sent.Reply), `"code":"Expired"`) {
		t.Errorf("%s, %s, %v", sent.Status, contentOf(sent.Reply), err)
	}
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	for _, by := range []*time.Time{&past, &future} {
		req.Message.ReplyBy, req.Wait = by, 0
		if sent, err := r.Send(t.Context(), req); err != nil || sent.Status != Held {
			t.Fatalf("%+v, %v", sent, err)
		}
	}
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.workedOff()
	woken := seen.woken.Load()
	req.Message.ReplyBy, req.Wait = &past, MaxWait
	if sent, err := r.Send(t.Context(), req); err != nil || sent.Status != Failed {
		t.Errorf("%+v, %v", sent, err)
	}
	r.wants(id, `{"op":"get"}`, `{"count":1}`)
	if n := seen.woken.Load() - woken; n != 0 {
		t.Errorf("the guest was made anew %d times, for messages that it never saw", n)
	}
	failed := only[events.MessageFailed](r, events.AgentStream(id))
	if len(failed) != 3 || failed[0].Outcome != events.OutcomeExpired || failed[0].Fuel != 0 {
		t.Errorf("failed: %+v", failed)
	}
	r.restart() // and a replay passes them over
	r.wants(id, `{"op":"get"}`, `{"count":1}`)
}

// TestSendsTimeOut: what is not delivered in time becomes a dead letter, whatever
// stands before it, and the receiver never sees it.
func TestSendsTimeOut(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	if err := r.command(r.Suspend, pong); err != nil {
		t.Fatal(err)
	}
	r.end()
	r.patience = 300 * time.Millisecond // of sends, from this start on
	r.start()
	r.play(ping, pong.String(), 1)
	letters := func() []events.MessageDeadLettered {
		return only[events.MessageDeadLettered](r, events.AgentStream(ping))
	}
	r.eventually("a dead letter", func() bool { return len(letters()) == 1 })
	if got := letters()[0]; got.Reason != events.DeadTimeout || !strings.Contains(got.Detail, "timed out") {
		t.Errorf("%+v", got)
	}
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	r.end()
	r.patience = 0 // the default: what comes now has the time that it takes
	r.start()
	if err := r.command(r.Resume, pong); err != nil {
		t.Fatal(err)
	}
	r.play(ping, pong.String(), 1) // a new one arrives, and nothing that was given up
	r.eventually("the game ends", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) == 1 })
	if n := len(letters()); n != 1 {
		t.Errorf("%d dead letters", n)
	}
	if got := r.transcriptOfLetters(letters()); got != "Timeout" {
		t.Errorf("conversation of the letter: %s", got)
	}
}

// transcriptOfLetters looks dead letters up in their conversations.
func (r *rig) transcriptOfLetters(list []events.MessageDeadLettered) string {
	r.t.Helper()
	var out []string
	for _, l := range list {
		for _, m := range r.transcript(l.Message.ConversationID).Messages {
			if m.ID == l.Message.ID {
				out = append(out, fmt.Sprint(m.Reason))
			}
		}
	}
	return strings.Join(out, " ")
}

// TestADeadlineFarBehind passes however many sends stand before it that have more time.
func TestADeadlineFarBehind(t *testing.T) {
	r := newRig(t, nil)
	from, to := r.deploy("from", "ledger"), r.deploy("to", "ledger")
	if err := r.command(r.Suspend, to); err != nil {
		t.Fatal(err)
	}
	const before = 2 * sendBatch
	for range before {
		r.ask(from, fmt.Sprintf(`{"to":%q,"then":{}}`, to))
	}
	r.ask(from, fmt.Sprintf(`{"to":%q,"by":%q,"then":{}}`, to, time.Now().Add(100*time.Millisecond).UTC().Format(time.RFC3339Nano)))
	r.eventually("it is a dead letter", func() bool { return len(only[events.MessageDeadLettered](r, events.AgentStream(from))) == 1 })
	if got := only[events.MessageDeadLettered](r, events.AgentStream(from))[0]; got.Reason != events.DeadTimeout || r.flight.Len() != before {
		t.Errorf("%s, and %d are in flight", got.Reason, r.flight.Len())
	}
}
