package actors

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// What these tests are about: entries of an inbox are handled in their order, though some
// of those that were read ahead were taken and came to nothing.

// entriesOf puts so many messages into the inbox of an agent, which is then suspended,
// and returns it with its mailbox, which holds everything back but commands.
func (r *rig) entriesOf(n int) (events.AgentID, *Mailbox, []*envelope) {
	r.t.Helper()
	id := r.deploy("counter", "counter-c")
	for i := range n {
		r.hold(id, request(id, fmt.Sprint(i)))
	}
	r.eventually("they stand in the inbox", func() bool { return r.inboxes.LenOf(id) == n })
	box, _, err := r.sys.registry.get(id)
	if err != nil {
		r.t.Fatal(err)
	}
	box.Hold(true)
	var list []*envelope
	for i, m := range only[events.MessageReceived](r, events.InboxStream(id)) {
		list = append(list, fromInbox(events.Revision(i), m))
	}
	return id, box, list
}

func (r *rig) wantsOrder(id events.AgentID, want ...string) {
	r.t.Helper()
	r.eventually("all are handled", func() bool { return len(r.ends(id)) == len(want) })
	if got := r.ends(id); !slices.Equal(got, want) {
		r.t.Errorf("handled %q, want %q", got, want)
	}
}

// TestResumedEntriesKeepTheirOrder: of what was read ahead, the first was taken and held
// when the agent's time was over.
func TestResumedEntriesKeepTheirOrder(t *testing.T) {
	r := newRig(t, func(c *Config) { c.TurnMessages = 1 })
	id, box, list := r.entriesOf(3)
	box.Preload(list[1:])
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	box.Hold(false)
	r.wantsOrder(id, "failed 0", "failed 1", "failed 2")
}

// TestLostEntriesKeepTheirOrder: the turn of the first is lost to other writers, twice.
func TestLostEntriesKeepTheirOrder(t *testing.T) {
	r := newRigWith(t, func(r *rig) {
		r.cfg.TurnMessages = 1
		r.before = func() { r.sys.waker.every = time.Millisecond }
	})
	id, box, _ := r.entriesOf(3)
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.until("they are read ahead", func() bool { return box.Preloaded() == 3 })
	r.store.fail(times(2, events.AgentStream(id), &events.WrongRevisionError{Stream: events.AgentStream(id)}), nil)
	box.Hold(false)
	r.wantsOrder(id, "failed 0", "failed 1", "failed 2")
}

// TestNothingPassesAMessageThatAStopHeld: an emergency stop that is lifted between two
// messages of a turn does not let the second one go first.
func TestNothingPassesAMessageThatAStopHeld(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	a := newAgentActor(r.sys, id, NewMailbox(10))
	if err := a.load(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	defer a.forget()
	if _, err := r.StopAll(context.Background(), StopAllRequest{}); err != nil {
		t.Fatal(err)
	}
	from := events.NewAgentID()
	t1 := a.newTurn()
	send := func(seq uint64) *envelope {
		e := newEnvelope()
		e.fromAgent = seq > 0
		e.message = events.Message{ID: events.NewMessageID(), Performative: events.Inform, Content: []byte(`1`)}
		if e.fromAgent {
			e.message.Sender, e.message.Sequence = from.String(), seq
		}
		return e
	}
	held := func(e *envelope) {
		t.Helper()
		if next, err := a.message(context.Background(), t1, e); next != goOn || err != nil || len(t1.events) > 0 {
			t.Errorf("verdict %d, %v, %d events; it is to be held, in one append with others", next, err, len(t1.events))
		}
	}
	first, second := send(1), send(2)
	second.follows = first
	a.box.Preload([]*envelope{newEnvelope()})
	held(first)
	held(send(0))
	if _, err := r.LiftStop(context.Background(), Caller{}); err != nil {
		t.Fatal(err)
	}
	held(second) // or the log would count the first one as handled with it
	held(send(0))
	if a.unload(); a.box.Preloaded() != 0 || !a.inboxMore {
		t.Errorf("%d entries wait, and the inbox is to be read: %v", a.box.Preloaded(), a.inboxMore)
	}
}
