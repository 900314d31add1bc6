package actors

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// model is a mailbox as plain lists.
type model struct {
	turn, commands, front, inbox, waiting []*envelope
	held, closed                          bool
}

func (m *model) all() []*envelope {
	return slices.Concat(m.turn, m.commands, m.front, m.inbox, m.waiting)
}

func (m *model) take(n int) []*envelope {
	lists := []*[]*envelope{&m.commands}
	if !m.held {
		lists = append(lists, &m.front, &m.inbox, &m.waiting)
	}
	for _, l := range lists {
		for len(m.turn) < n && len(*l) > 0 {
			m.turn = append(m.turn, (*l)[0])
			*l = (*l)[1:]
		}
	}
	return m.turn
}

// TestMailboxKeepsOrder drives a mailbox and its model with the same operations:
// nothing is lost, nothing comes twice, commands go first and what a turn gave
// back goes before what came later.
func TestMailboxKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4
		box, m := NewMailbox(limit), new(model)
		fresh := func(command bool) *envelope {
			e := newEnvelope()
			e.message.ID = events.NewMessageID()
			if command {
				e.command = agent.Resume{}
			}
			return e
		}
		t.Repeat(map[string]func(*rapid.T){
			"offer": func(t *rapid.T) {
				e := fresh(rapid.Bool().Draw(t, "command"))
				err := box.Offer(e)
				switch {
				case m.closed:
					if !errors.Is(err, events.ErrClosed) {
						t.Fatalf("%v, want events.ErrClosed", err)
					}
				case e.isCommand():
					m.commands = append(m.commands, e)
				case len(m.waiting) >= limit:
					if !errors.Is(err, events.ErrMailboxFull) {
						t.Fatalf("%v, want events.ErrMailboxFull", err)
					}
				default:
					m.waiting = append(m.waiting, e)
				}
			},
			"turn": func(t *rapid.T) {
				n := rapid.IntRange(1, 6).Draw(t, "n")
				got := box.Take(n)
				if want := m.take(n); !slices.Equal(got, want) {
					t.Fatalf("took %v, want %v", got, want)
				}
				switch rapid.SampledFrom([]string{"settle", "unget", "requeue"}).Draw(t, "end") {
				case "settle":
					k := rapid.IntRange(0, len(got)).Draw(t, "done")
					box.Settle(slices.Clone(got[k:]))
					m.front, m.turn = slices.Concat(m.turn[k:], m.front), nil
				case "unget":
					box.Unget()
					var commands, messages []*envelope
					for _, e := range m.turn {
						if e.isCommand() {
							commands = append(commands, e)
						} else {
							messages = append(messages, e)
						}
					}
					m.commands, m.waiting, m.turn = slices.Concat(commands, m.commands), slices.Concat(messages, m.waiting), nil
				case "requeue":
					box.Requeue()
					m.front, m.turn = slices.Concat(m.turn, m.front), nil
				}
			},
			"preload": func(t *rapid.T) {
				e := fresh(false)
				box.Preload([]*envelope{e})
				m.inbox = append(m.inbox, e)
			},
			"hold": func(t *rapid.T) {
				m.held = rapid.Bool().Draw(t, "held")
				box.Hold(m.held)
			},
			"close if idle": func(t *rapid.T) {
				want := m.closed || len(m.all()) == 0
				if got := box.CloseIfIdle(); got != want {
					t.Fatalf("closed: %v, want %v", got, want)
				}
				m.closed = want
			},
			"": func(t *rapid.T) {
				n, _ := box.Depth()
				if n != len(m.all()) {
					t.Fatalf("depth %d, want %d", n, len(m.all()))
				}
				for _, e := range m.all() {
					if !e.isCommand() && !box.Holds(e.message.ID) {
						t.Fatal("a message that is here is not known to be")
					}
				}
			},
		})
		if left := box.Close(); !slices.Equal(left, m.all()) {
			t.Fatalf("left %v, want %v", left, m.all())
		}
		if err := box.Offer(fresh(true)); !errors.Is(err, events.ErrClosed) {
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
