package actors

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// errInterrupted is the error of a wake or a migration that was interrupted. Messages never
// see it, they wait again; a command that needed the guest may be given once more.
var errInterrupted = fmt.Errorf("%w: another command ended what the guest did for this one", events.ErrConflict)

// interrupt lets others stop the guest of an actor that is busy with it, in a run or in
// a wake: the actor itself sees nothing, not even a command, before the guest returns.
//
// An interruption is not an outcome. The run counts as if it had not been, and the
// message waits again; whoever interrupts has put a command into the mailbox that
// says what is to become of it.
type interrupt struct {
	cuts atomic.Int32 // runs and wakes in a row that were interrupted

	mu     sync.Mutex // guards below
	ctx    context.Context
	cancel context.CancelFunc
}

// maxCuts is how many runs and wakes in a row an update may find interrupted and
// interrupt the next all the same. Updates that come faster than a guest gets done
// would keep it from ever getting done, and nothing that they change says that it should.
const maxCuts = 2

// ended counts a run or a wake, which was interrupted or was not.
func (i *interrupt) ended(cut bool) {
	if cut {
		i.cuts.Add(1)
	} else {
		i.cuts.Store(0)
	}
}

// context returns what the next run goes by: a fresh one after an interruption.
func (i *interrupt) context(parent context.Context) context.Context {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ctx == nil || i.ctx.Err() != nil {
		i.end()
		i.ctx, i.cancel = context.WithCancel(parent)
	}
	return i.ctx
}

// now ends the run under way within one slice. Without one it does nothing: who begins
// the next looks whether a command is overdue.
func (i *interrupt) now() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.end()
}

// end gives up the context. Caller holds mu.
func (i *interrupt) end() {
	if i.cancel != nil {
		i.cancel()
	}
}

// Interrupt stops the guest that runs for this mailbox, if one does; its message
// waits again, behind all commands.
func (b *Mailbox) Interrupt() { b.runs.now() }

// interruptFor stops it for a command whose time is over.
func (b *Mailbox) interruptFor(e *envelope) {
	if b.mayInterrupt(e) {
		b.Interrupt()
	}
}

func (b *Mailbox) mayInterrupt(e *envelope) bool {
	_, update := e.command.(agent.Update)
	return !update || b.runs.cuts.Load() < maxCuts
}

// runContext is what a run or a wake that begins now goes by. It has ended already if a
// command waits whose time is over: it interrupted when there was nothing to be ended.
func (b *Mailbox) runContext(parent context.Context) context.Context {
	ctx := b.runs.context(parent)
	if b.overdue() {
		b.Interrupt()
	}
	return ctx
}

// overdue reports whether a command waits, in the turn under way too, that has
// interrupted what ran by now.
func (b *Mailbox) overdue() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	is := func(e *envelope) bool {
		return e.urgent && time.Since(e.arrived) >= e.grace && b.mayInterrupt(e)
	}
	return slices.ContainsFunc(b.turn, is) || slices.ContainsFunc(b.commands.items(), is)
}

// calm takes from a command that its turn has come to what made it urgent: nothing is in
// its way any more, and what it has the guest do is not to be ended for its own sake.
func (e *envelope) calm() {
	if e.hurry != nil {
		e.hurry.Stop()
	}
	e.urgent = false
}
