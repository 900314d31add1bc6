package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/wasmhost"
)

// Times of a simulation, all simulated.
const (
	simPatience = 2 * time.Hour    // for all to be done, in the end; beyond backoffs and conversations' ends
	simAnswer   = 30 * time.Second // for one answer, as clients have it
	simDown     = 250 * time.Millisecond
	simPoll     = 100 * time.Millisecond
	simQuiet    = 10 * time.Second
	simEnd      = 9 * time.Second // of a node: less than the first wait for its actors
	simTries    = 40              // of one request whose outcome is unknown
)

// world is one run of a plan: a node that dies and comes back, clients, and an operator.
type world struct {
	plan *plan
	host *wasmhost.Host
	dir  string // for what is in files, not in the log
	cuts int    // the driver's

	mu      sync.Mutex // guards below
	up      *sync.Cond // node has changed
	node    *node      // nil: down
	life    int
	cutAt   map[failpoint]int
	over    bool // no node will come any more
	sends   []*sending
	open    map[events.BreakerScope]int  // forced open for certain; a number for each time
	closing map[events.BreakerScope]bool // of agents that are, or may be, removed
	opened  int
	halts   []events.Position             // heads of the log as emergency stops returned
	orders  map[string]actors.BulkRequest // by their reasons
	bulks   []*bulk
	kept    map[events.Position]events.Recorded // read before the log gave anything up
	trims   actors.Trimmed                      // in all
	faults  []string
}

// sending is one message of a client and what it was told.
type sending struct {
	client  int
	to      events.AgentID
	message events.Message
	keyed   bool
	sent    actors.Sent
	err     error // nil: acknowledged
	unknown bool  // what was told does not count: the power was cut, or nothing was told
}

func newWorld(p *plan, host *wasmhost.Host, dir string) *world {
	w := &world{plan: p, host: host, dir: dir, open: make(map[events.BreakerScope]int), closing: make(map[events.BreakerScope]bool), cutAt: make(map[failpoint]int), orders: make(map[string]actors.BulkRequest), kept: make(map[events.Position]events.Recorded)}
	w.up = sync.NewCond(&w.mu)
	return w
}

func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// boot starts the node on a disk. It reports whether it could.
func (w *world) boot(disk *vfs.MemFS) bool {
	w.life++
	n, err := startNode(disk, w.host, w.plan, w.life, w.dir)
	if err != nil {
		w.fault("life %d: %v", w.life, err)
		return false
	}
	rng := rand.New(rand.NewPCG(w.plan.seed, uint64(w.life)))
	n.store.cut = func(at failpoint) { w.cutPower(n, at, rng) }
	select { // as a server does before it takes requests
	case <-n.runner.Ready():
	case <-n.cut:
	}
	w.mu.Lock()
	w.node = n
	w.up.Broadcast()
	w.mu.Unlock()
	return true
}

// cutPower cuts it, once. Whoever was told something before that holds w.mu before it.
func (w *world) cutPower(n *node, at failpoint, rng *rand.Rand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !n.isCut() {
		n.powerCut(rng)
		w.cutAt[at]++
	}
}

// current returns the node that is up, and waits for one. nil: none will come.
func (w *world) current() *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.node == nil && !w.over {
		w.up.Wait()
	}
	return w.node
}

func (w *world) down() *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.node
	w.node = nil
	return n
}

// end lets nobody wait for a node any more.
func (w *world) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.up.Broadcast()
}

// crash has the power cut, now or at a failpoint to come.
func (w *world) crash(s step) {
	n := w.current()
	n.survives.Store(int64(s.survives))
	if s.at == cutNow {
		n.store.cut(cutNow)
		return
	}
	n.store.arm(s.at, s.hits)
}

// passes lets time pass, and starts the node again when its power is cut meanwhile. It
// reports whether the node is up.
func (w *world) passes(d time.Duration) bool {
	n := w.current()
	if d > 0 {
		select {
		case <-time.After(d):
		case <-n.cut:
		}
	}
	return !n.isCut() || w.revive(n)
}

// stopIn ends a node, which may not take long, whatever its end is like.
func (w *world) stopIn(n *node) error {
	began := time.Now()
	err := n.stop()
	if took := time.Since(began); took > simEnd {
		w.fault("life %d: the end took %s: %v", w.life, took, err)
	}
	return err
}

// revive starts a node on what a cut left.
func (w *world) revive(n *node) bool {
	w.down()
	w.cuts++
	_ = w.stopIn(n) // it fails in every way that there is
	passes(simDown)
	return w.boot(n.left)
}

// reboot is an orderly end and a start.
func (w *world) reboot() bool {
	n := w.down()
	err := w.stopIn(n)
	if n.isCut() { // at the very end
		w.cuts++
		return w.boot(n.left)
	}
	if err != nil {
		w.fault("life %d: orderly end: %v", w.life, err)
	}
	return w.boot(n.disk)
}

// send gives a message until what became of it is known, if it has a key.
func (w *world) send(client, number int, to events.AgentID, s step, content any) {
	text, err := json.Marshal(content)
	if err != nil {
		w.fault("content: %v", err)
		return
	}
	r := actors.SendRequest{
		Caller: actors.Caller{Principal: fmt.Sprintf("user:client-%d", client)}, To: to, Wait: s.wait,
		Message: events.Message{Content: text, ConversationID: s.talk, Priority: s.class, ID: simMessage(client, number)},
	}
	if s.by != "" {
		by, err := time.Parse(time.RFC3339Nano, s.by)
		if err != nil {
			w.fault("reply_by: %v", err)
			return
		}
		r.Message.ReplyBy = &by
	}
	if s.keyed {
		r.IdempotencyKey = fmt.Sprint("key-", number)
		r.Message.ID = events.MessageID(events.RequestUUID(r.Principal, r.IdempotencyKey, "message/"+to.String(), 0))
	}
	x := &sending{client: client, to: to, message: r.Message, keyed: s.keyed}
	doubt := false
	for range simTries {
		n := w.current()
		if n == nil {
			x.unknown = true
			break
		}
		if w.try(n, r, x); !x.unknown || !s.keyed {
			break
		}
		doubt = true
		passes(time.Second)
	}
	x.unknown = x.unknown || doubt && x.err != nil // that it is refused now says nothing of an earlier try
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sends = append(w.sends, x)
}

// simMessage is the id of a client's message.
func simMessage(client, number int) events.MessageID {
	return events.MessageID(uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "client-%d/%d", client, number)))
}

// try sends once. What is told after a power cut was never told.
func (w *world) try(n *node, r actors.SendRequest, x *sending) {
	ctx, cancel := context.WithTimeout(context.Background(), simAnswer)
	defer cancel()
	barred := w.barred(r.To)
	sent, err := n.Send(ctx, r)
	still := w.barred(r.To)
	w.mu.Lock()
	defer w.mu.Unlock()
	x.sent, x.err = sent, err
	x.unknown = n.isCut() || errors.Is(err, events.ErrUnknownOutcome) || errors.Is(err, events.ErrClosed) || errors.Is(err, events.ErrShuttingDown) || errors.Is(err, events.ErrConflict)
	// No breaker is asked for an agent that is no more, which says what it knows.
	gone := w.closing[events.AgentScope(r.To)] && (r.IdempotencyKey != "" || errors.Is(err, events.ErrAgentNotFound))
	if barred > 0 && still == barred && !x.unknown && !gone && !errors.Is(err, events.ErrBreakerOpen) && !errors.Is(err, events.ErrOverloaded) {
		w.faults = append(w.faults, fmt.Sprintf("message %s met a breaker that is forced open, and was told %q, %v", r.Message.ID, sent.Status, err))
	}
}

// barred is the number of the time for which a breaker before an agent is forced open;
// 0 when it is not, or may not be.
func (w *world) barred(id events.AgentID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(w.open[events.ScopeAll], w.open[events.AgentScope(id)])
}

// deploy makes the agents, whatever happens meanwhile.
func (w *world) deploy() {
	for i := range w.plan.ledgers {
		w.deployOne("ledger", i, ledgerID(i))
	}
	if w.plan.traders {
		w.deployOne("manager", 0, managerID())
		for i := range contractors {
			w.deployOne("contractor", i, contractorID(i))
		}
	}
	if w.plan.mute {
		w.deployOne("mute", 0, muteID())
	}
	for i := range w.plan.accounts {
		w.deployOne("account", i, accountID(i))
		s := step{keyed: true, wait: time.Second}
		w.send(w.plan.clients, i, accountID(i), s, map[string]any{"op": "open", "n": simMoney})
	}
}

// simMoney is what each account begins with.
const simMoney = 100

// simGuest is a fixture, or a module that exports nothing.
func simGuest(name string) []byte {
	if name == "mute" {
		return []byte("\x00asm\x01\x00\x00\x00")
	}
	return fixtures.Agent(name)
}

// deployOne deploys until the outcome is known: the same request is the same agent.
func (w *world) deployOne(guest string, i int, id events.AgentID) {
	name := fmt.Sprintf("%s-%d", guest, i)
	request := actors.DeployRequest{
		Caller: actors.Caller{Principal: simPrincipal, IdempotencyKey: name}, Name: name,
		Wasm: simGuest(guest), Limits: events.DefaultLimits(), Labels: simLabels(guest, i), Priority: simPriority(i),
	}
	for range simTries {
		n := w.current()
		if n == nil {
			return
		}
		err := deployTo(n, request, id)
		if err == nil && !n.isCut() {
			return
		}
		if !n.isCut() && !errors.Is(err, events.ErrUnknownOutcome) {
			w.fault("deploy %s: %v", name, err)
			return
		}
		passes(time.Second)
	}
}

func deployTo(n *node, request actors.DeployRequest, id events.AgentID) error {
	ctx, cancel := context.WithTimeout(context.Background(), simAnswer)
	defer cancel()
	d, err := n.Deploy(ctx, request)
	if err == nil && d.ID != id {
		err = fmt.Errorf("deployed as %s, want %s", d.ID, id)
	}
	if err == nil {
		err = n.runner.WaitFor(ctx, d.Position)
	}
	return err
}
