package actors

import (
	"context"
	"errors"
	"testing"

	"github.com/caxton-run/caxton/events"
)

func (r *rig) letter(n int) events.MessageID {
	r.t.Helper()
	r.eventually("letters", func() bool { return r.letters.Len() == n })
	page, err := r.letters.List("", 10)
	if err != nil {
		r.t.Fatal(err)
	}
	return page.Letters[0].MessageID
}

func (r *rig) retry(id events.MessageID) Retried {
	r.t.Helper()
	out, err := r.RetryLetter(context.Background(), Caller{Principal: "user:test"}, id)
	if err != nil {
		r.t.Fatal(err)
	}
	r.caughtUp(out.Position)
	return out
}

// TestADeadLetterIsRetried once its receiver is there; the game it belongs to goes on.
func TestADeadLetterIsRetried(t *testing.T) {
	r := newRig(t, nil)
	ping := r.deploy("ping", "ping")
	r.play(ping, "pong", 3)
	id := r.letter(1)
	if _, err := r.RetryLetter(context.Background(), Caller{}, id); !errors.Is(err, events.ErrAgentNotFound) {
		t.Fatalf("without a receiver: %v, want events.ErrAgentNotFound", err)
	}
	if n := r.letters.Len(); n != 1 {
		t.Fatalf("%d letters after a retry that failed, want 1", n)
	}
	pong := r.deploy("pong", "pong")
	if out := r.retry(id); out.Receiver != pong || out.RetryOf != id || out.Status != Queued {
		t.Errorf("%+v", out)
	}
	r.eventually("the game ends", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) == 3 })
	if n := r.letters.Len(); n != 0 {
		t.Errorf("%d letters are left", n)
	}
	if _, err := r.RetryLetter(context.Background(), Caller{}, id); !errors.Is(err, events.ErrLetterNotFound) {
		t.Errorf("again: %v, want events.ErrLetterNotFound", err)
	}
	r.restart()
	if n := r.letters.Len(); n != 0 {
		t.Errorf("%d letters after a restart", n)
	}
}

// TestAQuarantinedMessageIsRetried after its cause is gone, by the agent that it had
// crashed; until then it is kept, over restarts too.
func TestAQuarantinedMessageIsRetried(t *testing.T) {
	r := newRig(t, nil)
	id := r.deployWasm("spin", hostile(t, "spin"), hurried)
	sent := r.ask(id, `7`)
	if sent.Status != Quarantined {
		t.Fatalf("%s, want %s", sent.Status, Quarantined)
	}
	r.restart()
	if got := r.letter(1); got != sent.MessageID {
		t.Fatalf("letter %s, want %s", got, sent.MessageID)
	}
	again := r.retry(sent.MessageID)
	if second := r.letter(1); second != again.MessageID { // it crashes as before
		t.Fatalf("letter %s, want %s", second, again.MessageID)
	}
	r.update(id, toModule("echo"))
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	third := r.retry(again.MessageID)
	if third.Status != Held {
		t.Errorf("%s, want %s of an agent that does not run", third.Status, Held)
	}
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is handled", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(id))) == 1 })
	h := only[events.MessageHandled](r, events.AgentStream(id))[0]
	if h.Message.ID != third.MessageID || string(h.Message.Content) != "7" || h.Reply == nil || string(h.Reply.Content) != "7" {
		t.Errorf("%+v", h)
	}
}

// TestARetryThatIsRepeatedCountsOnce: what crashes between the two appends is done
// again, and the message is handled once.
func TestARetryThatIsRepeatedCountsOnce(t *testing.T) {
	r := newRig(t, nil)
	ping := r.deploy("ping", "ping")
	r.play(ping, "pong", 1)
	id := r.letter(1)
	pong := r.deploy("pong", "pong")
	r.store.fail(times(1, events.AgentStream(ping), events.ErrReadOnly), nil)
	if _, err := r.RetryLetter(context.Background(), Caller{}, id); !errors.Is(err, events.ErrReadOnly) {
		t.Fatalf("%v, want events.ErrReadOnly", err)
	}
	r.retry(id)
	r.eventually("it is handled", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) > 0 })
	r.ask(pong, `{"ball":9}`)
	if n := len(only[events.MessageHandled](r, events.AgentStream(pong))); n != 2 {
		t.Errorf("%d messages were handled, want the retried one and another", n)
	}
}

// TestARemovalGivesUpNothingThatWasHandled: an entry of the inbox that repeats what had
// been handled is closed, and the repetition is answered, when the agent is no more.
func TestARemovalGivesUpNothingThatWasHandled(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	add := request(id, `{"op":"add","n":1}`)
	add.IdempotencyKey = "once"
	first, err := r.Send(context.Background(), add)
	if err != nil {
		t.Fatal(err)
	}
	again, err := newMessage(add, r.cfg.MaxContent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.sys.receive(context.Background(), id, again); err != nil {
		t.Fatal(err)
	}
	if err := r.command(r.Remove, id); err != nil {
		t.Fatal(err)
	}
	r.workedOff()
	if got := only[events.MessageDeadLettered](r, events.AgentStream(id)); len(got) > 0 {
		t.Errorf("it was handled, and is a dead letter: %+v", got)
	}
	if sent, err := r.Send(context.Background(), add); err != nil || sent.Status != Handled || sent.Position != first.Position {
		t.Errorf("told %s at %d, %v; want as the first time, at %d", sent.Status, sent.Position, err, first.Position)
	}
}
