package actors

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// model is a mailbox as plain lists.
type model struct {
	turn, commands, inbox, waiting []*envelope
	held, closed                   bool
	passed                         int
	panics                         int
}

func (m *model) all() []*envelope {
	return slices.Concat(m.turn, m.commands, m.inbox, m.waiting)
}

func (m *model) take(n int) []*envelope {
	var lists []*[]*envelope
	messages := !m.held && len(m.inbox)+len(m.waiting) > 0
	switch {
	case len(m.commands) > 0 && !(messages && m.passed == commandTurns):
		lists = append(lists, &m.commands)
		if messages {
			m.passed++
		}
	default:
		m.passed = 0
		if messages {
			lists = append(lists, &m.inbox, &m.waiting)
		}
	}
	for _, l := range lists {
		for len(m.turn) < n && len(*l) > 0 {
			m.turn = append(m.turn, (*l)[0])
			*l = (*l)[1:]
		}
	}
	return m.turn
}

// end ends the turn; back waits again, at the heads of its queues.
func (m *model) end(back []*envelope) {
	m.turn = nil
	for _, e := range slices.Backward(back) {
		list := &m.waiting
		switch {
		case e.isCommand():
			list = &m.commands
		case e.entry:
			list = &m.inbox
		}
		*list = slices.Concat([]*envelope{e}, *list)
	}
}

// twins are a mailbox and its model, driven with the same operations.
type twins struct {
	box   *Mailbox
	m     *model
	limit int
	last  events.Revision // of the inbox
}

func (w *twins) offer(t *rapid.T) {
	e := newEnvelope()
	e.message.ID = events.NewMessageID()
	if rapid.Bool().Draw(t, "command") {
		e.command = agent.Resume{}
	}
	err := w.box.Offer(e)
	switch {
	case w.m.closed:
		if !errors.Is(err, events.ErrClosed) {
			t.Fatalf("%v, want events.ErrClosed", err)
		}
	case e.isCommand():
		w.m.commands = append(w.m.commands, e)
	case len(w.m.waiting) >= w.limit:
		if !errors.Is(err, events.ErrMailboxFull) {
			t.Fatalf("%v, want events.ErrMailboxFull", err)
		}
	default:
		w.m.waiting = append(w.m.waiting, e)
	}
}

func (w *twins) turn(t *rapid.T) {
	n := rapid.IntRange(1, 6).Draw(t, "n")
	got := w.box.Take(n)
	if want := w.m.take(n); !slices.Equal(got, want) {
		t.Fatalf("took %v, want %v", got, want)
	}
	done := rapid.IntRange(0, len(got)).Draw(t, "done")
	if rapid.Bool().Draw(t, "panics") {
		w.breakOff(t, done)
		return
	}
	w.box.Settle(slices.Clone(got[done:]))
	w.m.end(w.m.turn[done:])
	w.m.panics = 0
}

// breakOff ends a turn with a panic when its first envelopes were durable, or
// answered.
func (w *twins) breakOff(t *rapid.T, done int) {
	for i, e := range w.m.turn[:done] {
		if i%2 == 0 {
			e.durable.Store(&answer{position: 7})
		} else {
			e.respond(answer{position: 7})
		}
	}
	w.box.panicked()
	if got := w.box.Recover(); got != w.m.panics+1 {
		t.Fatalf("%d panics, want %d", got, w.m.panics+1)
	}
	w.m.panics++
	for _, e := range w.m.turn[:done] {
		if ans := <-e.answer; ans.position != 7 {
			t.Fatalf("what was durable is answered %v", ans)
		}
	}
	w.m.end(w.m.turn[done:])
}

func (w *twins) preload(*rapid.T) {
	w.last++
	e := fromInbox(w.last, events.MessageReceived{Message: events.Message{ID: events.NewMessageID()}})
	w.box.Preload([]*envelope{e})
	w.m.inbox = append(w.m.inbox, e)
}

func (w *twins) closeIfIdle(t *rapid.T) {
	want := w.m.closed || len(w.m.all()) == 0
	if got := w.box.CloseIfIdle(); got != want {
		t.Fatalf("closed: %v, want %v", got, want)
	}
	w.m.closed = want
}

func (w *twins) check(t *rapid.T) {
	if n, _ := w.box.Depth(); n != len(w.m.all()) {
		t.Fatalf("depth %d, want %d", n, len(w.m.all()))
	}
	for _, e := range w.m.all() {
		if e.isCommand() {
			continue
		}
		for rev := range w.last + 2 {
			want := e.entry && *e.inbox == rev
			if got := w.box.Holds(e.message.ID, rev); got != want {
				t.Fatalf("holds the message of entry %d: %v, want %v", rev, got, want)
			}
		}
	}
}

// TestMailboxKeepsOrder drives a mailbox and its model with the same operations:
// nothing is lost, nothing comes twice, commands go first, entries of the inbox
// go before all that came since, and what a turn gives back goes where it was.
func TestMailboxKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4
		w := &twins{box: NewMailbox(limit), m: new(model), limit: limit}
		t.Repeat(map[string]func(*rapid.T){
			"offer":   w.offer,
			"turn":    w.turn,
			"preload": w.preload,
			"hold": func(t *rapid.T) {
				w.m.held = rapid.Bool().Draw(t, "held")
				w.box.Hold(w.m.held)
			},
			"close if idle": w.closeIfIdle,
			"":              w.check,
		})
		if left := w.box.Close(); !slices.Equal(left, w.m.all()) {
			t.Fatalf("left %v, want %v", left, w.m.all())
		}
		if err := w.box.Offer(newEnvelope()); !errors.Is(err, events.ErrClosed) {
			t.Fatalf("%v, want events.ErrClosed", err)
		}
	})
}

func TestEnvelopeIsSpilledOrSealed(t *testing.T) {
	e := newEnvelope()
	if !e.startSpill() || e.startSpill() {
		t.Fatal("a spill begins once")
	}
	at := events.Revision(7)
	sealed := make(chan *events.Revision)
	go func() { sealed <- e.seal() }()
	select {
	case <-sealed:
		t.Fatal("sealed while the spill is under way")
	default:
	}
	e.endSpill(&at)
	if got := <-sealed; got == nil || *got != at {
		t.Errorf("sealed at %v, want %d", got, at)
	}
	e = newEnvelope()
	if e.seal() != nil || e.startSpill() {
		t.Error("a sealed message is not spilled")
	}
}

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	err := Config{TurnMessages: events.MaxAppendEvents}.Validate()
	var invalid *events.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Fields) < 7 {
		t.Errorf("%v: want every fault at once", err)
	}
}

func TestRestartBackoffDoubles(t *testing.T) {
	last := restartBackoff(1)
	if last != agent.FirstBackoff {
		t.Errorf("first %s, want %s", last, agent.FirstBackoff)
	}
	for n := 2; n < 100; n++ {
		d := restartBackoff(n)
		if d != min(2*last, agent.MaxBackoff) {
			t.Fatalf("after %d failures %s, before that %s", n, d, last)
		}
		last = d
	}
}

// TestAnUrgentCommandLeavesNoTimer when it is answered, or its mailbox is gone.
func TestAnUrgentCommandLeavesNoTimer(t *testing.T) {
	urgent := func() *envelope {
		e := newEnvelope()
		e.command, e.urgent, e.grace = agent.Stop{}, true, time.Hour
		return e
	}
	r := newRig(t, nil)
	e := urgent()
	if _, err := r.sys.ask(t.Context(), r.deploy("counter", "counter-c"), e); err != nil {
		t.Fatal(err)
	}
	if e.hurry == nil || e.hurry.Stop() {
		t.Error("a timer is left of a command that was answered")
	}
	e = urgent()
	if _, err := r.sys.registry.offer(events.NewAgentID(), e); err != nil {
		t.Fatal(err)
	}
	r.end()
	if e.hurry == nil || e.hurry.Stop() {
		t.Error("a timer is left of a command at the end of the system")
	}
}

// TestARestartedActorLeavesNoTimer of the draining that it had begun.
func TestARestartedActorLeavesNoTimer(t *testing.T) {
	a := newAgentActor(nil, events.NewAgentID(), NewMailbox(1))
	timer := time.AfterFunc(time.Hour, func() {})
	a.drain = timer
	a.endTimers()
	if timer.Stop() {
		t.Error("the end of a draining is still to come")
	}
}

// witness is an actor that keeps what it was given, on a dispatcher that runs at once.
type witness struct{ got []any }

func (w *witness) InvokeSystemMessage(m any)     { w.got = append(w.got, m) }
func (w *witness) InvokeUserMessage(m any)       { w.got = append(w.got, m) }
func (w *witness) EscalateFailure(reason, _ any) { panic(reason) }
func (w *witness) Schedule(fn func())            { fn() }
func (w *witness) Throughput() int               { return 1 }

// TestNothingBeforeTheStart: what comes while proto.actor makes the actor is not given to
// one that has not been told that it has started.
func TestNothingBeforeTheStart(t *testing.T) {
	box, w := NewMailbox(1), new(witness)
	box.RegisterHandlers(w, w)
	box.PostUserMessage(idle{})
	box.PostSystemMessage(&actor.Started{})
	box.Start()
	if want := []any{&actor.Started{}, idle{}}; !reflect.DeepEqual(w.got, want) {
		t.Fatalf("it was given %#v, want %#v", w.got, want)
	}
}

// TestCommandsAndMessagesShareNoTurn: commands go first, and a flood of them does not
// stop messages.
func TestCommandsAndMessagesShareNoTurn(t *testing.T) {
	box := NewMailbox(1)
	m := newEnvelope()
	if err := box.Offer(m); err != nil {
		t.Fatal(err)
	}
	for turn := range commandTurns + 1 {
		c := newEnvelope()
		c.command = agent.Resume{}
		if err := box.Offer(c); err != nil {
			t.Fatal(err)
		}
		want := c
		if turn == commandTurns {
			want = m
		}
		if got := box.Take(10); !slices.Equal(got, []*envelope{want}) {
			t.Fatalf("turn %d took %v, want %v", turn, got, want)
		}
		box.Settle(nil)
	}
}
