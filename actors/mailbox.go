package actors

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// work tells the actor that its mailbox holds something for a turn.
type work struct{}

// Mailbox is an agent's own: bounded, and it refuses instead of blocking the
// sender. Unlike proto.actor's, it outlives the actor's restarts with what it
// holds: envelopes that a failed turn had taken go back to where they were.
//
// It keeps two kinds of things apart: envelopes, which wait for a turn, and
// proto.actor's own messages (start, stop, idle), which are passed on at once.
type Mailbox struct {
	limit   int
	invoker actor.MessageInvoker
	disp    actor.Dispatcher
	running atomic.Bool   // a run of loop is scheduled; it ends when nothing is ready
	latency *latency      // of the agent's messages
	gone    chan struct{} // closed when its actor has ended and holds nothing any more
	left    sync.Once     // closes gone

	mu        sync.Mutex  // guards all below
	commands  fifo        // arrived, not yet taken; they go before messages
	passed    int         // turns in a row that were commands' though messages waited
	waiting   queue       // messages, likewise
	inbox     fifo        // read back from the agent's inbox, older than what waits
	turn      []*envelope // taken by the turn under way
	runs      interrupt   // of the guest
	user      []any       // proto.actor's user messages
	system    []any
	started   bool // by proto.actor, once the actor's first message is in system
	suspended bool // by proto.actor, while it restarts the actor
	held      bool // by the agent, while it backs off
	closed    bool
	panics    int          // turns in a row that a panic broke off
	status    agent.Status // of the agent, as it was durable last; empty when that is not known
}

// NewMailbox returns one that holds up to limit waiting messages.
func NewMailbox(limit int) *Mailbox {
	return &Mailbox{limit: limit, latency: new(latency), gone: make(chan struct{})}
}

// leave says that the actor has ended.
func (b *Mailbox) leave() { b.left.Do(func() { close(b.gone) }) }

// Offer adds an envelope at the end. Errors: events.ErrMailboxFull;
// events.ErrClosed when the agent has hibernated: a new mailbox is to be had;
// events.ErrAgentStopped, for messages from outside while the agent is stopped or about to
// be: a stop that still waits counts. One with a key is taken, as late: it may be known.
// Commands are taken beyond the limit, so that a flooded agent can be held; timers
// too: they have a limit of their own, and nobody to refuse them to.
func (b *Mailbox) Offer(e *envelope) error {
	b.mu.Lock()
	e.late = e.fromOutside() && stops(b.ahead(b.status, nil))
	switch {
	case b.closed:
		b.mu.Unlock()
		return events.ErrClosed
	case e.isCommand():
		b.commands.push(e)
		if e.urgent { // under mu: whoever answers has taken it from here
			e.hurry = time.AfterFunc(e.grace, func() { b.interruptFor(e) })
		}
	case e.late && e.key == "":
		b.mu.Unlock()
		return events.ErrAgentStopped
	case b.waiting.len() >= b.limit && e.timer == nil:
		n := b.waiting.len()
		b.mu.Unlock()
		return mailboxFull(n)
	default:
		b.waiting.push(e)
	}
	b.mu.Unlock()
	b.schedule()
	return nil
}

func mailboxFull(n int) error {
	return fmt.Errorf("%w: %d messages wait in it (messaging.mailbox_size)", events.ErrMailboxFull, n)
}

// room is how a message from outside would be refused: events.ErrMailboxFull,
// events.ErrAgentStopped.
func (b *Mailbox) room() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.waiting.len()
	switch {
	case stops(b.ahead(b.status, nil)):
		return events.ErrAgentStopped
	case n >= b.limit:
		return mailboxFull(n)
	}
	return nil
}

// commandTurns is how many turns in a row commands have to themselves while messages
// wait: a flood of them slows messages down and does not stop them. What the messages run
// then ends early if one of the commands has waited beyond its grace.
const commandTurns = 8

// Take moves up to n envelopes into the turn and returns them: commands, or, when none
// is to go first, messages. Never both, because messages want the guest: a command is
// neither kept waiting by its wake nor refused for what that fails by. Settle must
// follow.
func (b *Mailbox) Take(n int) []*envelope {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.commandsFirst() {
		b.fill(n, &b.commands)
	} else if !b.held {
		b.fill(n, &b.inbox)
		b.fill(n, &b.waiting)
	}
	return b.turn
}

// commandsFirst reports whether the next turn is the commands'. Caller holds mu.
func (b *Mailbox) commandsFirst() bool {
	messages := !b.held && b.inbox.len()+b.waiting.len() > 0
	switch {
	case b.commands.len() == 0, messages && b.passed >= commandTurns:
		b.passed = 0
		return false
	case messages:
		b.passed++
	}
	return true
}

// fill adds to the turn, up to n, what a list has. Caller holds mu.
func (b *Mailbox) fill(n int, list interface {
	len() int
	pop() *envelope
}) {
	for len(b.turn) < n && list.len() > 0 {
		b.turn = append(b.turn, list.pop())
	}
}

// Settle ends the turn: what it took is dealt with, but for back, which waits
// again in this order, each at the head of the queue that it was taken from.
func (b *Mailbox) Settle(back []*envelope) {
	b.mu.Lock()
	b.turn, b.panics = nil, 0
	b.putBack(back)
	b.mu.Unlock()
	b.schedule()
}

// putBack undoes Take. Caller holds mu.
func (b *Mailbox) putBack(list []*envelope) {
	var commands, inbox, waiting []*envelope
	for _, e := range list {
		switch {
		case e.isCommand():
			b.hasten(e)
			commands = append(commands, e)
		case e.entry:
			inbox = append(inbox, e)
		default:
			waiting = append(waiting, e)
		}
	}
	b.commands.unpop(commands)
	b.inbox.unpop(inbox)
	b.waiting.unpop(waiting)
}

// Preload adds entries of the inbox: they go before all that waits.
func (b *Mailbox) Preload(list []*envelope) {
	b.mu.Lock()
	for _, e := range list {
		b.inbox.push(e)
	}
	b.mu.Unlock()
	b.schedule()
}

// Unload forgets the inbox entries not yet taken: nobody waits for their answers, and
// they are read again, in their order.
func (b *Mailbox) Unload() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inbox = fifo{}
}

// Preloaded is the number of inbox entries not yet taken.
func (b *Mailbox) Preloaded() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inbox.len()
}

// Recover ends a turn that a panic broke off: what it had made durable is
// answered, the rest waits again. It returns how many turns in a row have ended
// like this; 0 means that there was none.
func (b *Mailbox) Recover() (panics int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	turn := b.turn
	b.turn = nil
	b.putBack(slices.DeleteFunc(slices.Clone(turn), (*envelope).ended))
	return b.panics
}

// Holds reports whether the message of an inbox entry is here, in an envelope
// whose end will name that entry. Another request under the same id does not
// count: the entry would stay open.
func (b *Mailbox) Holds(id events.MessageID, entry events.Revision) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, list := range b.lists() {
		for _, e := range list {
			if !e.isCommand() && e.message.ID == id && e.standsAt(entry) {
				return true
			}
		}
	}
	return false
}

// Hold keeps messages back (true) or lets them go on; commands still pass. It
// survives the actor's restarts.
func (b *Mailbox) Hold(v bool) {
	b.mu.Lock()
	b.held = v
	b.mu.Unlock()
	b.schedule()
}

// CloseIfIdle closes the mailbox if nothing waits in it and reports whether it
// did. From then on Offer fails with events.ErrClosed.
func (b *Mailbox) CloseIfIdle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.commands.len()+b.waiting.len()+b.inbox.len()+len(b.turn) == 0 {
		b.closed = true
	}
	return b.closed
}

// Close closes the mailbox and returns whatever still waits, in order.
func (b *Mailbox) Close() []*envelope {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	var left []*envelope
	for _, list := range b.lists() {
		left = append(left, list...)
	}
	b.turn, b.commands, b.inbox, b.waiting = nil, fifo{}, fifo{}, queue{}
	return left
}

// Depth is the number of envelopes waiting or in a turn, and the age of the
// oldest; 0 when there is none.
func (b *Mailbox) Depth() (n int, oldest time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, list := range b.lists() {
		if len(list) > 0 {
			oldest = max(oldest, time.Since(list[0].arrived))
		}
		n += len(list)
	}
	return n, oldest
}

// Elsewhere is how many of them are counted elsewhere too: messages that stand in the
// inbox, and sends, which are in flight until an event has ended them.
func (b *Mailbox) Elsewhere() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, list := range b.lists() {
		for _, e := range list {
			if e.fromAgent || e.kept() {
				n++
			}
		}
	}
	return n
}

// lists returns all that is held, in the order of its turn. Caller holds mu.
func (b *Mailbox) lists() [][]*envelope {
	lists := [][]*envelope{b.turn, b.commands.items(), b.inbox.items()}
	return append(lists, b.waiting.lists()...)
}

// PostUserMessage implements actor.Mailbox for proto.actor's own messages.
func (b *Mailbox) PostUserMessage(m any) {
	b.mu.Lock()
	b.user = append(b.user, m)
	b.mu.Unlock()
	b.schedule()
}

// PostSystemMessage implements actor.Mailbox.
func (b *Mailbox) PostSystemMessage(m any) {
	b.mu.Lock()
	b.system = append(b.system, m)
	b.mu.Unlock()
	b.schedule()
}

// RegisterHandlers implements actor.Mailbox.
func (b *Mailbox) RegisterHandlers(i actor.MessageInvoker, d actor.Dispatcher) {
	b.mu.Lock()
	b.invoker, b.disp = i, d
	b.mu.Unlock()
}

// Start implements actor.Mailbox: envelopes may have come before the actor, and whoever
// offers one between RegisterHandlers and this may not have it given a turn before the
// actor is told that it has started.
func (b *Mailbox) Start() {
	b.mu.Lock()
	b.started = true
	b.mu.Unlock()
	b.schedule()
}

// UserMessageCount implements actor.Mailbox.
func (b *Mailbox) UserMessageCount() int {
	n, _ := b.Depth()
	return n
}

func (b *Mailbox) schedule() {
	b.mu.Lock()
	ready := b.started && b.ready()
	b.mu.Unlock()
	if ready && b.running.CompareAndSwap(false, true) {
		b.disp.Schedule(b.loop)
	}
}

// ready reports whether next has something to give. Caller holds mu.
func (b *Mailbox) ready() bool {
	return len(b.system) > 0 || !b.suspended && (len(b.user) > 0 || b.turnReady())
}

func (b *Mailbox) turnReady() bool {
	return len(b.turn) == 0 && (b.commands.len() > 0 || !b.held && b.inbox.len()+b.waiting.len() > 0)
}

// next returns what the actor is to be given now.
func (b *Mailbox) next() (m any, system, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.system) > 0:
		m, b.system = b.system[0], b.system[1:]
		return m, true, true
	case b.suspended:
		return nil, false, false
	case len(b.user) > 0:
		m, b.user = b.user[0], b.user[1:]
		return m, false, true
	case b.turnReady():
		return work{}, false, true
	}
	return nil, false, false
}

// loop gives the actor what is ready, one thing at a time, and ends. Exactly one
// runs at a time: that is what makes an actor an actor.
func (b *Mailbox) loop() {
	b.drain()
	b.running.Store(false)
	b.schedule() // something may have come between the last look and the Store
}

func (b *Mailbox) drain() {
	var current any
	defer func() {
		if r := recover(); r != nil {
			b.panicked()
			b.invoker.EscalateFailure(r, current)
		}
	}()
	for i := 0; ; i++ {
		if i == b.disp.Throughput() {
			i = 0
			runtime.Gosched()
		}
		m, system, ok := b.next()
		if !ok {
			return
		}
		current = m
		switch {
		case !system:
			b.invoker.InvokeUserMessage(m)
		case b.control(m):
		default:
			b.invoker.InvokeSystemMessage(m)
		}
	}
}

func (b *Mailbox) panicked() {
	b.mu.Lock()
	b.panics++
	b.mu.Unlock()
}

// control takes the two system messages that are meant for the mailbox.
func (b *Mailbox) control(m any) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch m.(type) {
	case *actor.SuspendMailbox:
		b.suspended = true
	case *actor.ResumeMailbox:
		b.suspended = false
	default:
		return false
	}
	return true
}
