package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// run does the plan, lets everything come to its end, and returns what the log has.
// It is called within a bubble, and leaves nothing running.
func (w *world) run() *history {
	if !w.boot(vfs.NewCrashableMem()) {
		return nil
	}
	defer func() {
		w.end()
		if n := w.down(); n != nil {
			if err := n.stop(); err != nil {
				w.fault("the end: %v", err)
			}
		}
	}()
	var group sync.WaitGroup
	w.current().store.arm(w.plan.early, w.plan.earlyAt)
	group.Go(w.deploy)
	if !w.waitAll(&group) || !w.doAll() {
		return nil
	}
	n := w.settle()
	if n == nil {
		return nil
	}
	if w.plan.late {
		w.age(n)
	}
	h := w.read(n)
	w.fold(n)
	w.askAll(n, h)
	w.askTraders(n, h)
	w.rebuildAll(n, h)
	return h
}

// doAll has clients and the operator do the steps, each of them one after the other,
// and returns when the last has its answer. It reports whether the node is up.
func (w *world) doAll() (ok bool) {
	var group sync.WaitGroup
	queues := make([]chan func(), w.plan.clients+1) // the last is the operator's
	for i := range queues {
		queues[i] = make(chan func(), len(w.plan.steps))
		group.Go(func() {
			for do := range queues[i] {
				do()
			}
		})
	}
	operator := len(queues) - 1
	ok = true
	for i, s := range w.plan.steps {
		switch s.do {
		case doSend:
			queues[s.client] <- func() { w.send(s.client, i, ledgerID(s.agent), s, s.what.fat(s.fat)) }
		case doPay:
			content := map[string]any{"op": "transfer", "to": accountID(s.peer).String(), "n": 1 + i%7}
			queues[s.client] <- func() { w.send(s.client, i, accountID(s.agent), s, content) }
		case doCall:
			queues[s.client] <- func() { w.send(s.client, i, managerID(), s, callContent(s.hits, time.Second)) }
		case doMute:
			queues[s.client] <- func() { w.send(s.client, i, muteID(), s, &say{}) }
		case doBurst:
			queues[s.client] <- func() { w.burst(s.client, i, s) }
		case doStorm:
			queues[s.client] <- func() { w.storm(s.client, i) }
		case doCrowd:
			queues[s.client] <- func() { w.crowd(s.client, i) }
		case doWait:
			ok = w.passes(10 * s.then)
		case doCrash:
			w.crash(s)
		case doFault:
			w.current().store.arm(s.at, s.hits)
		case doReboot:
			ok = w.reboot()
		default:
			queues[operator] <- func() { w.operate(i, s) }
		}
		if ok = ok && w.passes(s.then); !ok {
			w.end() // nobody waits for a node that does not come
			break
		}
	}
	for i := range queues {
		close(queues[i])
	}
	return w.waitAll(&group) && ok
}

// waitAll returns when clients and operator have their answers.
func (w *world) waitAll(group *sync.WaitGroup) (ok bool) {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	for n := w.current(); n != nil; n = w.current() {
		select {
		case <-done:
			return true
		case <-n.cut:
			if !w.revive(n) {
				w.end()
			}
		}
	}
	<-done
	return false
}

// operate does what an operator does, and wants no answer but those that there are.
func (w *world) operate(number int, s step) {
	n := w.current()
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), simAnswer)
	defer cancel()
	id := ledgerID(s.agent)
	by := actors.Command{Caller: actors.Caller{Principal: simPrincipal}, Agent: id}
	var err error
	switch s.do {
	case doSuspend:
		_, err = n.Suspend(ctx, by)
	case doResume:
		_, err = n.Resume(ctx, by)
	case doStop:
		_, err = n.Stop(ctx, actors.StopRequest{Command: by, Drain: s.all, Grace: s.grace})
	case doFresh:
		_, err = n.Restart(ctx, by)
	case doUpdate:
		_, err = n.Update(ctx, actors.UpdateRequest{Command: by, Wasm: ledgerVersion(number % ledgerVersions)})
	case doRemove:
		w.forget(id)
		_, err = n.Remove(ctx, by)
	case doDrain:
		_, err = n.Drain(ctx, s.grace, s.all)
	case doRest:
		_, err = n.sys.Rest(ctx)
	case doHalt:
		err = w.halt(ctx, n)
	case doLift:
		_, err = n.LiftStop(ctx, by.Caller)
	case doRetry:
		err = w.retry(ctx, n)
	case doTrim:
		err = w.trim(ctx, n)
	case doBulk:
		err = w.bulk(ctx, n, number, s)
	case doTrip, doReset:
		err = w.order(ctx, n, s)
	}
	if w.plan.running && errors.Is(err, events.ErrMigrationFailed) {
		return // it may be what ended the node, twice
	}
	for _, known := range []error{
		nil, events.ErrUnknownOutcome, events.ErrClosed, events.ErrShuttingDown, events.ErrIllegalLifecycle,
		events.ErrAgentNotFound, events.ErrEmergencyStop, events.ErrConflict, context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, known) {
			return
		}
	}
	if !n.isCut() {
		w.fault("step %d, %s: %v", number, s, err)
	}
}

// halt is an emergency stop. If it left nothing in mailboxes, nothing is handled from
// here until it is lifted.
func (w *world) halt(ctx context.Context, n *node) error {
	out, err := n.StopAll(ctx, actors.StopAllRequest{Caller: actors.Caller{Principal: simPrincipal}})
	head, _, headErr := n.log.Head(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && headErr == nil && out.Left == 0 && out.Unrecorded == nil && !n.isCut() {
		w.halts = append(w.halts, head)
	}
	return err
}

// burst sends as many messages that fail as open a breaker.
func (w *world) burst(client, number int, s step) {
	for i := range 11 {
		w.send(client, 1000*(number+1)+i, ledgerID(s.agent), step{wait: time.Second}, &say{Op: "trap"})
	}
}

// storm has all ledgers fail for one message.
func (w *world) storm(client, number int) {
	var list []int
	for i := range w.plan.ledgers {
		list = append(list, i)
	}
	w.send(client, number, ledgerID(0), step{}, stormSay(list))
}

// crowd has all ledgers fail in one conversation, each for a message of its own.
func (w *world) crowd(client, number int) {
	for i := range w.plan.ledgers {
		w.send(client, 1000*(number+1)+i, ledgerID(i), step{talk: fmt.Sprint("crowd-", number)}, &say{Op: "trap"})
	}
}

// retry gives a dead letter to its ledger again, if there is one.
func (w *world) retry(ctx context.Context, n *node) error {
	page, err := n.letters.List("", 100)
	if err != nil {
		return err
	}
	for _, l := range page.Letters {
		to, err := events.ParseAgentID(l.Receiver)
		if err != nil || !w.isLedger(to) {
			continue // an account would be paid without its payer
		}
		if _, err = n.RetryLetter(ctx, actors.Caller{Principal: simPrincipal}, l.MessageID); errors.Is(err, events.ErrMailboxFull) {
			return nil
		}
		return err
	}
	return nil
}

// order forces a breaker open, or resets it.
func (w *world) order(ctx context.Context, n *node, s step) error {
	r := actors.BreakerRequest{Caller: actors.Caller{Principal: simPrincipal}, Scope: events.AgentScope(ledgerID(s.agent)), Activate: s.do == doTrip}
	if s.all {
		r.Scope = events.ScopeAll
	}
	if !r.Activate {
		r.Over = s.grace
		w.mu.Lock()
		delete(w.open, r.Scope)
		w.mu.Unlock()
	}
	_, err := n.OrderBreaker(ctx, r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Activate && err == nil && !n.isCut() && !w.closing[r.Scope] {
		w.opened++
		w.open[r.Scope] = w.opened
	}
	return err
}

// forget is about to remove an agent: its breaker closes then, or with it.
func (w *world) forget(id events.AgentID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, events.AgentScope(id))
	w.closing[events.AgentScope(id)] = true
}

// ledgerVersions is how many modules of the ledger there are.
const ledgerVersions = 3

// ledgerVersion is the ledger as another module: with a section that means nothing.
func ledgerVersion(i int) []byte {
	wasm := fixtures.Agent("ledger")
	for range i {
		wasm = append(wasm, 0, 2, 1, 'v')
	}
	return wasm
}

// settle lets agents go on, and waits until nothing is left to do; what is armed still
// may cut the power once more. It returns the node that has come to its end, or nil.
func (w *world) settle() *node {
	for {
		n := w.current()
		w.release(n)
		left := w.wait(n)
		n.after(simQuiet) // breakers move after what moves them
		n.store.disarm()
		passes(simPoll) // a cut that had begun is over
		if n.isCut() {
			if !w.revive(n) {
				return nil
			}
			continue
		}
		if left != "" {
			w.fault("at the end, after %s: %s", simPatience, left)
		}
		return n
	}
}

// release lets go on whatever an operator held.
func (w *world) release(n *node) {
	ctx, cancel := context.WithTimeout(context.Background(), simPatience)
	defer cancel()
	by := actors.Caller{Principal: simPrincipal}
	_, liftErr := n.LiftStop(ctx, by)
	_, resetErr := n.OrderBreaker(ctx, actors.BreakerRequest{Caller: by})
	page, listErr := n.agents.List("", 100)
	errs := []error{liftErr, resetErr, listErr}
	for _, v := range page.Agents {
		_, err := n.Resume(ctx, actors.Command{Caller: by, Agent: v.ID})
		if !errors.Is(err, events.ErrAgentNotFound) { // its removal may not have come to the projections
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil && !n.isCut() {
		w.fault("at the end: %v", err)
	}
}

// wait waits until nothing is left to do, or the power is cut; it returns what is left.
func (w *world) wait(n *node) (left string) {
	ctx, cancel := context.WithTimeout(context.Background(), simPatience)
	defer cancel()
	for !n.isCut() {
		left, err := n.idle(ctx)
		if err != nil {
			return err.Error()
		}
		if left == "" || ctx.Err() != nil {
			return left
		}
		w.revoke(ctx, n)
		passes(simPoll)
	}
	return ""
}

// revoke lets agents go on that have failed, for their wakes may have been what ended
// the node.
func (w *world) revoke(ctx context.Context, n *node) {
	if !w.plan.running {
		return
	}
	page, err := n.agents.List("", 100)
	for _, v := range page.Agents {
		if v.Status == "failed" {
			_, failed := n.Resume(ctx, actors.Command{Caller: actors.Caller{Principal: simPrincipal}, Agent: v.ID})
			err = errors.Join(err, failed)
		}
	}
	if err != nil && !n.isCut() {
		w.fault("at the end: %v", err)
	}
}

// askAll asks each ledger for its chain, which must be that of the log, and the accounts
// for their money.
func (w *world) askAll(n *node, h *history) {
	w.closeBreakers(n)
	for i := range w.plan.ledgers {
		id := ledgerID(i)
		if h.agents[id].removed {
			continue
		}
		var got struct{ Count, Chain int64 }
		if w.ask(n, id, `{"op":"get"}`, &got); got.Count != h.agents[id].count || got.Chain != h.agents[id].chain {
			w.fault("ledger %d has %+v, its log says %d, %d", i, got, h.agents[id].count, h.agents[id].chain)
		}
	}
	total := int64(0)
	for i := range w.plan.accounts {
		var got struct{ Balance int64 }
		w.ask(n, accountID(i), `{"op":"balance"}`, &got)
		total += got.Balance
	}
	// What was given up on its way is in the dead letters, and nowhere else.
	if lost, want := h.lostMoney(), int64(w.plan.accounts)*simMoney; total+lost != want {
		w.fault("accounts have %d, and dead letters %d, want %d", total, lost, want)
	}
}

// closeBreakers closes those that what came at the end may have opened.
func (w *world) closeBreakers(n *node) {
	if _, err := n.OrderBreaker(context.Background(), actors.BreakerRequest{Caller: actors.Caller{Principal: simPrincipal}}); err != nil {
		w.fault("reset breakers: %v", err)
	}
}

func (w *world) ask(n *node, id events.AgentID, content string, reply any) {
	ctx, cancel := context.WithTimeout(context.Background(), simAnswer)
	defer cancel()
	q := actors.SendRequest{
		Caller: actors.Caller{Principal: simPrincipal}, To: id, Wait: simAnswer,
		Message: events.Message{Content: json.RawMessage(content)},
	}
	sent, err := n.Send(ctx, q)
	if w.plan.running && errors.Is(err, events.ErrAgentFailed) {
		if _, err = n.Resume(ctx, actors.Command{Caller: q.Caller, Agent: id}); err == nil {
			sent, err = n.Send(ctx, q)
		}
	}
	switch {
	case err != nil:
		w.fault("ask %s: %v", id, err)
	case sent.Status != actors.Handled || sent.Reply == nil:
		w.fault("ask %s: %s, reply %v", id, sent.Status, sent.Reply)
	default:
		if err := json.Unmarshal(sent.Reply.Content, reply); err != nil {
			w.fault("ask %s: %v", id, err)
		}
	}
}

// sortedSends returns what clients sent, in the order in which each sent it.
func (w *world) sortedSends() []*sending {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := slices.Clone(w.sends)
	slices.SortStableFunc(list, func(a, b *sending) int { return a.client - b.client })
	return list
}

// String names a message of a client.
func (x *sending) String() string {
	return fmt.Sprintf("message %s of client %d to %s (told %q, %v)", x.message.ID, x.client, x.to, x.sent.Status, x.err)
}
