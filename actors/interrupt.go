package actors

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// errInterrupted is the error of a wake that was interrupted. Messages never see it, they
// wait again; a command that had to wake the guest may be given once more.
var errInterrupted = fmt.Errorf("%w: another command ended the wake of the guest that this one needs", events.ErrConflict)

// interrupt lets others stop the guest of an actor that is busy with it, in a run or in
// a wake: the actor itself sees nothing, not even a command, before the guest returns.
//
// An interruption is not an outcome. The run counts as if it had not been, and the
// message waits again; whoever interrupts has put a command into the mailbox that
// says what is to become of it.
type interrupt struct {
	mu     sync.Mutex // guards below
	ctx    context.Context
	cancel context.CancelFunc
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

// runContext is what a run or a wake that begins now goes by. It has ended already if a
// command waits whose time is over: it interrupted when there was nothing to be ended.
func (b *Mailbox) runContext(parent context.Context) context.Context {
	ctx := b.runs.context(parent)
	if b.overdue() {
		b.Interrupt()
	}
	return ctx
}

// overdue reports whether a command waits that has interrupted what ran by now.
func (b *Mailbox) overdue() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.commands.items(), func(e *envelope) bool {
		return e.urgent && time.Since(e.arrived) >= e.grace
	})
}
