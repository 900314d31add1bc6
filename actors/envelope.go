package actors

import (
	"sync/atomic"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// envelope carries one message or one command to an agent's actor, and the
// answer back.
//
// A message from outside may be acknowledged before it is handled, by standing
// in the agent's inbox. Two goroutines want to decide that: the gateway, tired
// of waiting, and the turn, about to write the event that ends the message. One
// atomic word lets exactly one of them win:
//
//	waiting ──spill──▶ spilling ──▶ spilled   (the turn waits for the inbox, then names the entry)
//	   └────seal────▶ sealed                  (the gateway waits for the turn)
type envelope struct {
	message   events.Message
	fromAgent bool
	key       string // agent.ScopedKey, or empty
	bodyHash  string
	principal string
	trace     string
	cause     events.Cause          // of what an agent sent or a timer says; zero from outside
	command   agent.Command         // nil for a message
	urgent    bool                  // of a command: the guest that runs is stopped grace after it came, unless it is answered
	grace     time.Duration         // of an urgent one; 0 is at once
	hurry     *time.Timer           // of an urgent one in a mailbox; it ends with the answer
	nudge     bool                  // neither: the inbox has grown behind the actor's back
	foreign   string                // why this entry of the inbox is no message; empty for one that is
	entry     bool                  // a message read back from the inbox; nobody waits for its answer
	timer     *projections.DueTimer // of a timer's message, which the turn reads from the log
	done      func(answer)          // called with the answer; nil calls nobody
	arrived   time.Time
	late      bool    // a message that came when the agent was to be stopped; set by Offer
	claims    []claim // of half-open breakers whose trial it is

	phase   atomic.Int32
	spilled chan struct{}    // closed when a spill has ended
	inbox   *events.Revision // set before spilled is closed, if the spill worked

	// follows is the send before this one in the same courier's batch. A send
	// that is handled counts all before it as handled, so it must not be while
	// one before it came to nothing. nil for the first, and for outsiders.
	follows *envelope
	undone  atomic.Pointer[answer] // set when the answer left the message to be sent again

	durable  atomic.Pointer[answer] // set when its end is in the log, before the answer is given
	answered atomic.Bool
	answer   chan answer // capacity 1, gets one answer
	takes    int         // how often a turn took it and came to nothing; the actor's own
}

const (
	phaseWaiting int32 = iota
	phaseSpilling
	phaseSealed
)

// answer is what became of an envelope.
type answer struct {
	delivery Delivery
	reply    *events.Message
	repeats  *events.Message // the message that it was, of a request that was made before; or nil
	position events.Position
	err      error
	final    bool // err is how the message ended, not what is wrong here and now
}

func newEnvelope() *envelope {
	return &envelope{spilled: make(chan struct{}), answer: make(chan answer, 1), arrived: time.Now()}
}

// isCommand reports whether the envelope is for the actor rather than the guest.
func (e *envelope) isCommand() bool { return e.command != nil || e.nudge }

// fromOutside reports whether it is a message that nobody has written down yet: not an
// agent's, a timer's, or an entry of the inbox.
func (e *envelope) fromOutside() bool {
	return !e.isCommand() && !e.fromAgent && !e.entry && e.timer == nil
}

// endsStop reports whether it tells an agent that its draining is at an end.
func (e *envelope) endsStop() bool {
	_, ok := e.command.(agent.EndStop)
	return ok
}

// startSpill claims the right to put the message into the inbox. The caller who
// gets true must call endSpill.
func (e *envelope) startSpill() bool {
	return e.phase.CompareAndSwap(phaseWaiting, phaseSpilling)
}

func (e *envelope) endSpill(rev *events.Revision) {
	e.inbox = rev
	close(e.spilled)
}

// seal ends the time in which the message may be spilled and returns where it
// stands in the inbox, or nil. It waits for a spill under way: one append.
func (e *envelope) seal() *events.Revision {
	if e.phase.CompareAndSwap(phaseWaiting, phaseSealed) || e.phase.Load() == phaseSealed {
		return nil
	}
	<-e.spilled
	return e.inbox
}

// awaitSpill waits for a spill under way, if there is one: one append.
func (e *envelope) awaitSpill() {
	if e.phase.Load() == phaseSpilling {
		<-e.spilled
	}
}

// spillRevision returns where the message stands in the inbox if it has been put
// there, without waiting for a spill under way.
func (e *envelope) spillRevision() *events.Revision {
	select {
	case <-e.spilled:
		return e.inbox
	default:
		return nil
	}
}

// standsAt reports whether the message was put into the inbox at rev, or is on
// its way there: it has one place there, so that is this one.
func (e *envelope) standsAt(rev events.Revision) bool {
	if e.phase.Load() != phaseSpilling {
		return false
	}
	select {
	case <-e.spilled:
		return e.inbox != nil && *e.inbox == rev
	default:
		return true
	}
}

// ended reports whether nothing is left to do for the envelope. One whose end is
// in the log but whose actor broke off before it could say so is answered here.
func (e *envelope) ended() bool {
	if ans := e.durable.Load(); ans != nil {
		e.respond(*ans)
	}
	return e.answered.Load()
}

// respond gives the answer. Only the first one counts: a message may be both
// answered by a failing system and finished by its turn.
func (e *envelope) respond(a answer) {
	if !e.pending(a) {
		for _, c := range e.claims {
			c.giveBack() // the message comes to no outcome
		}
	}
	e.note(a)
	if e.answered.CompareAndSwap(false, true) {
		if e.hurry != nil {
			e.hurry.Stop()
		}
		e.answer <- a
		if e.done != nil {
			e.done(a)
		}
	}
}

// pending reports whether a message from outside comes to its outcome after this answer
// all the same, because it stands in the inbox. Its trial is under way until then, or as
// long as any trial is waited for: else a half-open breaker would let everything through
// to an agent that is held.
func (e *envelope) pending(a answer) bool {
	if e.fromAgent || a.final {
		return false
	}
	return a.delivery == Held && a.err == nil || a.err != nil && e.kept()
}

// note keeps what those sends that follow this one must know before it is told.
func (e *envelope) note(a answer) {
	if a.err != nil || a.delivery == Held {
		e.undone.CompareAndSwap(nil, &a)
	}
}

// fromInbox makes the envelope of an entry read back from the inbox. Nobody
// waits for its answer.
func fromInbox(rev events.Revision, m events.MessageReceived) *envelope {
	e := newEnvelope()
	e.message, e.key, e.bodyHash, e.entry = m.Message, m.IdempotencyKey, m.BodyHash, true
	e.phase.Store(phaseSpilling)
	e.endSpill(&rev)
	return e
}

// kept reports whether a message stands in the inbox, and whoever sent it has its receipt.
func (e *envelope) kept() bool {
	if e.entry {
		return true
	}
	if e.phase.Load() != phaseSpilling {
		return false
	}
	select {
	case <-e.spilled:
		return e.inbox != nil
	default:
		return false
	}
}
