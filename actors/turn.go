package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// turn is what one batch of envelopes has come to so far. Its events are applied
// to the actor's state as they are decided, and everything is thrown away if
// their append fails; its answers are given when they are durable.
type turn struct {
	began    time.Time
	expected events.ExpectedRevision // of the stream before events
	events   []events.Event
	bytes    int
	settled  []settled
	held     []*envelope // to be put into the inbox once the events are durable
	gaveUp   bool        // it begins with the agent's failure
	failed   string      // why supervision gave the agent up in it; empty when it did not
	removed  bool        // the agent, in it
	halted   bool        // an emergency stop held one of its messages; those behind it do not run, though it is lifted
}

// settled is an envelope and the answer it gets when the turn is durable.
type settled struct {
	env    *envelope
	answer answer
	ended  *events.Revision // of the event that ends the message; nil when none does
	lookUp bool             // the answer was given before, and stands there
	change bool             // a command: its caller is told a position even when nothing changed
	status events.OutcomeStatus
	fuel   events.Fuel
	dead   events.DeadLetterReason // of a message that became a dead letter
}

// verdict says how a turn goes on after one envelope.
type verdict int

const (
	goOn     verdict = iota
	endTurn          // commit; take the rest in the next turn
	giveBack         // commit; this envelope comes again first
)

// work runs one turn.
func (a *agentActor) work(ctx context.Context) {
	batch := a.box.Take(a.sys.cfg.TurnMessages)
	if len(batch) == 0 {
		a.box.Settle(nil)
		return
	}
	if err := a.loadFor(ctx, batch); errors.Is(err, events.ErrEmergencyStop) || errors.Is(err, errInterrupted) {
		a.box.Settle(batch) // the next turn holds it, or does first what the command says that interrupted
		return
	} else if err != nil {
		a.refuse(batch, err)
		return
	}
	if _, deadly := a.isDeadly(); !deadly && holdsNew(batch) && a.preload(ctx) {
		a.box.Settle(batch) // what stands in the inbox came before it
		return
	}
	back, err := a.runTurn(ctx, batch)
	if err != nil {
		a.lost(batch, err)
		return
	}
	a.conflicts = 0
	a.box.Settle(back)
	a.unload()
	a.saveIfDue(ctx)
	a.preload(ctx) // nothing else may come to make it happen
	a.watchDrain()
	a.rest()
}

// rest ends the activation of an agent that has nothing to do any more.
func (a *agentActor) rest() {
	st := a.liveState()
	switch {
	case st == nil:
	case !st.Exists() || st.Status == agent.Removed:
		a.retired = a.sys.registry.retire(a.id, a.box)
	case st.Status == agent.Stopped:
		a.hibernate()
	}
}

// loadFor reads what a batch needs of the agent. Messages to one that does not run
// do not wake its guest; that it does not the state says, if it is there: the turn before
// may have changed it. Else it is a guess of the projection's, which is looked at again
// once the state is. What may interrupt the wake of one that drains goes by its state, too.
func (a *agentActor) loadFor(ctx context.Context, batch []*envelope) error {
	guest := needsGuest(batch) && !a.sys.halted() && !a.sys.discarding.Load() // what is discarded needs none
	view, ok := a.sys.deps.Agents.Get(a.id)
	runs := !ok || agent.Status(view.Status) == agent.Running
	if st := a.liveState(); st != nil {
		runs = st.Status.Runs()
	}
	if !guest || runs {
		return a.load(ctx, guest)
	}
	if err := a.load(ctx, false); err != nil || !a.state().Status.Runs() {
		return err
	}
	return a.load(ctx, true)
}

// needsGuest reports whether a batch holds a message: commands want only the
// state, and holding ten thousand agents still must not wake their guests.
func needsGuest(batch []*envelope) bool {
	return slices.ContainsFunc(batch, func(e *envelope) bool { return !e.isCommand() })
}

// holdsNew reports whether a batch holds a message that is no entry of the inbox.
func holdsNew(batch []*envelope) bool {
	return slices.ContainsFunc(batch, func(e *envelope) bool { return !e.isCommand() && !e.entry })
}

// refuse answers a batch that met an agent which cannot be loaded. Nobody hears
// the answers to entries of the inbox; the waker comes back to those.
func (a *agentActor) refuse(batch []*envelope, err error) {
	if !errors.Is(err, events.ErrClosed) && !errors.Is(err, context.Canceled) && a.sys.unwoken.isNew(a.id, err) {
		a.sys.log.Error("agent cannot be woken", slog.String("agent", a.id.String()), slog.Any("err", err))
	}
	for _, e := range batch {
		e.respond(answer{err: err})
	}
	if slices.ContainsFunc(batch, (*envelope).endsStop) {
		a.rewatchDrain() // another message may keep the actor, and nobody else ends its draining
	}
	a.box.Settle(nil)
	a.box.Unload() // or they would go before those of the batch
	a.retired = a.sys.registry.retire(a.id, a.box)
}

// lost deals with a turn whose append failed: nobody has seen anything of it.
// Another writer's event means reading the log again and deciding anew, once;
// after that this node is not the agent's owner and steps down.
func (a *agentActor) lost(batch []*envelope, err error) {
	a.forget()
	a.box.know("")
	var conflict *events.WrongRevisionError
	if errors.As(err, &conflict) {
		a.conflicts++
		a.sys.deps.Observer.Fenced()
		a.sys.log.Warn("append lost against another writer", slog.String("agent", a.id.String()), slog.Any("err", err))
		if a.conflicts < 2 {
			again := unanswered(batch)
			for _, e := range again {
				e.undone.Store(nil) // what was noted rested on a log that is not so
			}
			a.box.Settle(again)
			return
		}
		err = errors.Join(events.ErrConflict, err)
	}
	if conflict == nil && a.sys.life.Err() == nil {
		a.sys.breakers.reportNode()
	}
	for _, e := range unanswered(batch) {
		e.respond(answer{err: err})
	}
	if slices.ContainsFunc(batch, (*envelope).endsStop) {
		a.rewatchDrain() // the waker comes back to it
	}
	a.box.Settle(nil)
	a.box.Unload() // or they would go before those of the batch
	a.conflicts = 0
}

func unanswered(batch []*envelope) []*envelope {
	var out []*envelope
	for _, e := range batch {
		if !e.answered.Load() {
			out = append(out, e)
		}
	}
	return out
}

// runTurn handles a batch, or as much of it as one turn has room for, and
// commits. It returns what comes again first in the next turn.
func (a *agentActor) runTurn(ctx context.Context, batch []*envelope) ([]*envelope, error) {
	t := a.newTurn()
	if needsGuest(batch) {
		if err := a.giveUp(ctx, t); err != nil {
			return nil, err
		}
	}
	gaveUp := t.gaveUp // a turn that is flushed on its way is another then
	back, err := a.runAll(ctx, t, batch)
	if err != nil {
		return nil, err
	}
	if err := a.commit(ctx, t); err != nil {
		return nil, err
	}
	if gaveUp {
		a.gaveUp()
	}
	return back, nil
}

// runAll handles what a turn has room for, and returns the rest.
func (a *agentActor) runAll(ctx context.Context, t *turn, batch []*envelope) (back []*envelope, err error) {
	defer a.noneRuns()
	for i, e := range batch {
		if i > 0 && (time.Since(t.began) > a.sys.cfg.TurnBudget || a.wantsGuest(e) && len(t.events)+len(t.settled) > 0) {
			return batch[i:], nil
		}
		next, err := a.one(ctx, t, e)
		if err != nil {
			return nil, err
		}
		if next == giveBack {
			return batch[i:], nil
		}
		if next == endTurn {
			return batch[i+1:], nil
		}
	}
	return nil, nil
}

// wantsGuest reports whether a command takes a guest, for as long as that takes: what was
// decided before it is not to wait for that.
func (a *agentActor) wantsGuest(e *envelope) bool {
	switch c := e.command.(type) {
	case agent.Update:
		return a.takesGuest(&c)
	case agent.Restart:
		return true
	}
	return false
}

func (a *agentActor) newTurn() *turn {
	return &turn{began: time.Now(), expected: a.state().Expected()}
}

func (a *agentActor) liveState() *agent.State {
	if a.live == nil {
		return nil
	}
	return a.live.State
}

func (a *agentActor) one(ctx context.Context, t *turn, e *envelope) (verdict, error) {
	switch {
	case e.nudge:
		a.rereadInbox()
		t.settle(settled{env: e})
		return endTurn, nil
	case e.command != nil:
		return a.command(ctx, t, e)
	}
	return a.message(ctx, t, e)
}

// command decides a lifecycle change. One that is refused changes nothing and is
// answered at once.
func (a *agentActor) command(ctx context.Context, t *turn, e *envelope) (verdict, error) {
	a.box.calm(e)
	if e.takes++; e.takes > maxTakes {
		e.respond(answer{err: fmt.Errorf("%T: the host failed on it %d times", e.command, maxTakes)})
		return goOn, nil
	}
	switch c := e.command.(type) {
	case agent.Update:
		return a.update(ctx, t, e, c)
	case agent.Trim:
		return a.trim(ctx, t, e, c)
	case agent.Restart:
		return a.restart(ctx, t, e, c)
	}
	payloads, err := agent.Decide(a.state(), e.command)
	if err != nil {
		t.tell(e, answer{err: err})
		return goOn, nil
	}
	md := byCaller(e)
	switch c := e.command.(type) { // what is not about the agent itself belongs to a conversation
	case agent.DeadLetter:
		md.CorrelationID = c.Event.Message.ConversationID
		md = e.cause.Of(c.Event.Message.ID, md)
	case agent.TimeOut:
		md.CorrelationID = c.Event.ConversationID
	}
	if err := a.emitCommand(ctx, t, e, md, payloads); err != nil {
		return goOn, err
	}
	for _, p := range payloads {
		switch p.(type) {
		case events.AgentStopRequested:
			a.endDrain()
			a.stopSeen = e.arrived
		case events.AgentResumed, events.AgentRemoved:
			a.rereadInbox()
			return endTurn, nil // what was held goes before what follows
		}
	}
	return goOn, nil
}

// rereadInbox makes the next turn look at all entries that are not closed, in their
// order: of those that were read before, some may have been held.
func (a *agentActor) rereadInbox() {
	a.inboxNext, a.inboxMore, a.inboxAgain = a.state().InboxNext(), true, true
}

// unload forgets the entries that were read ahead, if all are to be read again.
func (a *agentActor) unload() {
	if a.inboxAgain {
		a.box.Unload()
		a.inboxAgain = false
	}
}

// byCaller is the metadata of what somebody asked for.
func byCaller(e *envelope) events.Metadata {
	return events.Metadata{Actor: e.principal, TraceParent: e.trace}
}

// emitCommand adds the events of a command, which is answered when they are durable.
func (a *agentActor) emitCommand(ctx context.Context, t *turn, e *envelope, md events.Metadata, payloads []events.Payload) error {
	if _, err := a.emit(ctx, t, payloads, md); err != nil {
		return err
	}
	t.settle(settled{env: e, change: true})
	return nil
}

func (t *turn) settle(s settled) { t.settled = append(t.settled, s) }

// tell answers an envelope that changes nothing. What the answer says may rest
// on events of this turn; then it waits for them.
func (t *turn) tell(e *envelope, ans answer) {
	if len(t.events) == 0 {
		e.respond(ans)
		return
	}
	e.note(ans)
	t.settle(settled{env: e, answer: ans})
}
