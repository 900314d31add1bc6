package actors

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// errInterrupted is the error of a wake or a migration that was interrupted. Messages never
// see it, they wait again; a command that needed the guest may be given once more.
var errInterrupted = fmt.Errorf("%w: another command ended what the guest did for this one, which changed nothing; repeat it", events.ErrConflict)

// interrupt lets others stop the guest of an actor that is busy with it, in a run or in
// a wake: the actor itself sees nothing, not even a command, before the guest returns.
//
// An interruption is not an outcome. The run counts as if it had not been, and the
// message waits again; whoever interrupts has put a command into the mailbox that
// says what is to become of it.
type interrupt struct {
	ctx    context.Context
	cancel context.CancelFunc
	work   guestWork
	cuts   int // interruptions in a row, of runs and wakes for messages; the end of a run ends the row
}

// guestWork is what an actor has its guest do, as far as whoever would interrupt it asks.
type guestWork struct {
	status    agent.Status // of the agent, or what it comes to by this; empty when it is not known
	ofCommand bool         // it is a command's: an update, or a restart
}

// maxCuts is how many interruptions in a row there may be for commands that do not hold
// the agent: updates and restarts. If they come faster than a guest gets done, it would
// never get done, and nothing of that says that it should not.
const maxCuts = 2

// context returns what the next run goes by: a fresh one after an interruption.
func (i *interrupt) context(parent context.Context) context.Context {
	if i.ctx == nil || i.ctx.Err() != nil {
		i.now()
		i.ctx, i.cancel = context.WithCancel(parent)
	}
	return i.ctx
}

// now ends the run under way within one slice. Without one it does nothing: who begins
// the next looks whether a command is overdue.
func (i *interrupt) now() {
	if i.cancel != nil {
		i.cancel()
	}
}

// admits reports whether a command whose time is over ends what the guest does, where the
// agent is in this status when its turn comes. One that needs the guest ends no other's
// work, and gives way in the end; one that comes to nothing then ends nobody's.
func (i *interrupt) admits(status agent.Status, cmd agent.Command) bool {
	switch c := cmd.(type) {
	case agent.Update, agent.Restart:
		return !i.work.ofCommand && i.cuts < maxCuts
	case agent.Suspend:
		return !stops(status) // else it is refused
	case agent.Stop:
		return status != agent.Stopped && (status != agent.Draining || !c.Drain) // else it is no change
	case agent.EndStop: // another stop that waits does not put it off, only what lets the agent run
		return (i.work.status == agent.Draining || i.work.status == "") && status != agent.Running
	}
	return true
}

// Interrupt stops the guest that runs for this mailbox, if one does; its message
// waits again, behind all commands.
func (b *Mailbox) Interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs.now()
}

// interruptFor stops it for a command whose time is over, if that still waits.
func (b *Mailbox) interruptFor(e *envelope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.urgent && b.runs.admits(b.ahead(b.runs.work.status, e), e.command) {
		b.runs.now()
	}
}

// runContext is what a run or a wake that begins now goes by. Those who wait and whose
// time is over interrupted when there was nothing to be ended: what a message wants is
// ended at once, and what a command wants once their time has passed again.
func (b *Mailbox) runContext(parent context.Context, work guestWork) context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs.work = work
	ctx := b.runs.context(parent)
	waiting := b.commands.items()
	if work.ofCommand { // a turn of messages holds no other
		waiting = slices.Concat(b.turn, waiting)
	}
	for _, e := range waiting {
		switch {
		case !e.urgent || time.Since(e.arrived) < e.grace || !b.runs.admits(b.ahead(work.status, e), e.command):
		case work.ofCommand:
			e.hurry.Reset(e.grace)
		default:
			b.runs.now()
		}
	}
	return ctx
}

// cut counts an interruption.
func (b *Mailbox) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs.cuts++
}

// uncut begins to count anew: a message's run came to its end.
func (b *Mailbox) uncut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs.cuts = 0
}

// calm takes from a command that its turn has come to what made it urgent: nothing is in
// its way any more, and what it has the guest do is not to be ended for its own sake.
func (b *Mailbox) calm(e *envelope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.hurry != nil {
		e.hurry.Stop()
	}
	e.urgent = false
}

// hasten undoes calm, for a command that is to wait again. Caller holds mu.
func (b *Mailbox) hasten(e *envelope) {
	if e.hurry != nil {
		e.urgent = true
		e.hurry.Reset(e.grace - time.Since(e.arrived))
	}
}
