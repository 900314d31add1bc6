package actors

import (
	"context"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/replay"
)

// agentActor is one agent awake. What it knows it has from the log, and it
// throws all of it away (forget) whenever the log or the guest went another way
// than it thought: the next turn reads the log again.
//
// All its methods run on the mailbox's loop, one at a time.
type agentActor struct {
	sys *System
	id  events.AgentID
	box *Mailbox

	live       *replay.Agent // nil: not loaded
	guest      bool          // live was loaded with its guest
	tainted    bool          // the guest's memory has an effect that the log has not
	activation events.ActivationID
	turns      uint64 // commits of this activation
	conflicts  int    // appends lost in a row
	shorts     int    // runs in a row that the node had no memory for
	long       bool   // the last run took longRun at least

	inboxNext  events.Revision // the next inbox entry to read
	inboxMore  bool            // there may be one
	inboxAgain bool            // those that were read ahead are to be read again

	debt          replayDebt
	snapshotTook  time.Duration // making the last snapshot, without storing it
	snapshotParts int           // events that it took; 0 before the first of this activation
	partsKept     uint64        // the $maxCount of the snapshots' stream, at least; 0 is not known
	backoff       *time.Timer   // ends a hold; nil when there is none
	idle          *time.Timer   // until it hibernates; nil before it has started
	retired       bool

	slot     int32           // of RunLog, held within a turn; 0 is none
	running  context.Context // of the last run; an interruption ends it
	stopSeen time.Time       // when the command arrived by which the agent is draining; zero after a start
	drain    *time.Timer     // ends the draining; nil when there is none
	drainBy  int64           // the StopBy that drain is for
	drained  bool            // its end is on its way
}

func newAgentActor(sys *System, id events.AgentID, box *Mailbox) *agentActor {
	return &agentActor{sys: sys, id: id, box: box, activation: events.NewActivationID()}
}

// idle tells an actor that it has had nothing to do for Config.IdleTimeout, or had
// when it was sent. proto.actor's own receive timeout changes the actor's context
// from the timer's goroutine without a lock.
type idle struct{}

// Receive implements actor.Actor.
func (a *agentActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.box.Hold(false)
		if panics := a.box.Recover(); panics > 0 {
			a.holdFor(restartBackoff(panics))
		}
		box := a.box
		a.idle = time.AfterFunc(a.sys.cfg.IdleTimeout, func() { box.PostUserMessage(idle{}) })
	case work:
		if a.work(a.sys.life); a.retired {
			ctx.Stop(ctx.Self())
			return
		}
		a.idle.Reset(a.sys.cfg.IdleTimeout)
	case idle:
		if a.drain == nil { // else it would sleep through the end of that
			a.hibernate()
		}
		if a.retired {
			ctx.Stop(ctx.Self())
			return
		}
		a.idle.Reset(a.sys.cfg.IdleTimeout)
	case rest:
		if a.hibernate(); a.retired {
			a.forget()
			ctx.Stop(ctx.Self())
		}
		close(m.looked)
	case *actor.Restarting:
		a.endTimers()
		a.forget()
	case *actor.Stopping:
		a.stop()
	}
}

// hibernate gives up memory if nothing waits. The agent's next message finds no
// mailbox and makes a new one.
func (a *agentActor) hibernate() {
	if !a.sys.registry.retire(a.id, a.box) {
		return
	}
	a.saveAtRest(a.sys.life)
	a.trimInbox(a.sys.life)
	a.retired = true
}

// stop is the end of this activation, however it came.
func (a *agentActor) stop() {
	a.endTimers()
	a.box.Interrupt() // nothing runs; its context ends
	a.forget()
	a.sys.registry.drop(a.id, a.box, events.ErrShuttingDown)
	a.box.leave()
}

// endTimers ends those of this activation; the next one, after a restart by the
// supervisor too, sets its own by what the log says then.
func (a *agentActor) endTimers() {
	if a.idle != nil {
		a.idle.Stop()
	}
	a.endHold()
	a.endDrain()
}

// forget drops everything that was read from the log.
func (a *agentActor) forget() {
	if a.live != nil {
		a.live.Release()
		a.live = nil
	}
	a.guest, a.tainted = false, false
	// A new activation id, so that a turn decided again after a failed append is
	// other events, not the same ones with other bytes.
	a.activation, a.turns = events.NewActivationID(), 0
}

func (a *agentActor) state() *agent.State { return a.live.State }

// load reads the agent from the log, its guest too if guest is true, but for one that
// is not to be woken: the turn gives that up.
func (a *agentActor) load(ctx context.Context, guest bool) error {
	if a.live != nil && (a.guest || !guest) {
		return nil
	}
	var status agent.Status
	if st := a.liveState(); st != nil {
		status = st.Status
	}
	a.forget()
	if _, deadly := a.isDeadly(); deadly {
		guest = false
	}
	start := time.Now()
	if err := a.sys.deps.Store.Sync(ctx); err != nil {
		return err
	}
	live, err := a.read(ctx, guest, status)
	if err != nil {
		return err
	}
	a.live, a.guest = live, guest
	a.box.know(live.State.Status)
	if !live.State.Exists() {
		a.sys.deps.Inboxes.Disown(a.id)
	}
	if guest && a.sys.unwoken.forget(a.id) { // that its state can be read says nothing of its guest
		a.sys.log.Info("agent can be woken again", slog.String("agent", a.id.String()))
	}
	a.inboxNext, a.inboxMore = live.State.InboxNext(), live.State.Exists()
	if guest && live.State.Exists() {
		a.debt = replayDebt{}
		a.debt.add(int(live.State.Revision-live.Snapshot), 0, 0)
		a.debt.work += live.Rerun
		a.sys.deps.Observer.Woke(time.Since(start))
	}
	return nil
}

// read reads the agent, whose status is known if its state was read before.
func (a *agentActor) read(ctx context.Context, guest bool, known agent.Status) (*replay.Agent, error) {
	if guest {
		return a.wake(ctx, guestWork{status: known})
	}
	st, err := a.sys.source.State(ctx, a.id)
	return &replay.Agent{State: st}, err
}

// holdFor keeps messages back for a while; commands still pass.
func (a *agentActor) holdFor(d time.Duration) {
	a.endHold()
	a.box.Hold(true)
	box := a.box
	a.backoff = time.AfterFunc(d, func() { box.Hold(false) })
}

// endHold sees to it that no hold of the past ends one of the future.
func (a *agentActor) endHold() {
	if a.backoff != nil {
		a.backoff.Stop()
	}
}

// trimInboxMin spares the log a change of metadata for few entries.
const trimInboxMin = 256

// trimInbox hides inbox entries that were handled, so that a scavenge can drop
// them: each stands in the agent's own history again. Failing is no harm, the
// next time hides more.
func (a *agentActor) trimInbox(ctx context.Context) {
	if a.live == nil || !a.live.State.Exists() || a.state().InboxNext() < trimInboxMin {
		return
	}
	next := a.state().InboxNext()
	err := a.sys.changeMetadata(ctx, events.InboxStream(a.id), func(md *events.StreamMetadata) bool {
		if next-min(md.TruncateBefore, next) < trimInboxMin {
			return false
		}
		md.TruncateBefore = next
		return true
	})
	if err != nil {
		a.sys.log.Warn("inbox not trimmed", slog.String("agent", a.id.String()), slog.Any("err", err))
	}
}
