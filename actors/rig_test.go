package actors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/wasmhost"
)

// patience bounds every wait of these tests; it is reached only by a failure.
const patience = MaxWait

// rig is a live system on a real log and a real host.
type rig struct {
	t        testing.TB
	dir      string
	cfg      Config
	log      *pebblestore.Store
	store    *faultyStore
	host     *wasmhost.Host
	agents   *projections.Agents
	flight   *projections.InFlight
	inboxes  *projections.Inboxes
	timers   *projections.Timers
	talks    *projections.Conversations
	patience time.Duration // of sends; 0 is a week
	quiet    time.Duration // until a conversation times out; 0 is half an hour
	letters  *projections.Letters
	running  *RunLog // nil: none
	storms   *projections.Storms
	heard    StormListener // nil: none
	index    *projections.Messages
	runner   *projections.Runner
	watch    *watcher
	room     Room // nil: there always is
	sys      *System
	guests   int64            // bytes of the guests' memories; 0 is the default
	now      func() time.Time // nil: time.Now
	observer Observer         // nil: Unobserved
	*Gateway
	before func() // called when all is made and nothing runs yet
	end    func()
}

// newRig starts a system with the defaults, as change makes them.
func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	return newRigWith(t, func(r *rig) {
		if change != nil {
			change(&r.cfg)
		}
	})
}

// newRigWith starts a system as change makes it.
func newRigWith(t testing.TB, change func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), cfg: DefaultConfig()}
	r.cfg.DrainTimeout = 2 * time.Second
	change(r)
	r.start()
	t.Cleanup(func() { r.end() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	opts := pebblestore.DefaultOptions()
	opts.CacheBytes, opts.MemTableBytes = 4<<20, 1<<20
	var err error
	if r.log, err = pebblestore.Open(r.dir, opts); err != nil {
		r.t.Fatal(err)
	}
	r.store = &faultyStore{Store: r.log, count: make(map[events.Stream]int)}
	guests := wasmhost.DefaultConfig()
	guests.GuestMemory = cmp.Or(r.guests, guests.GuestMemory)
	if r.host, err = wasmhost.New(context.Background(), guests); err != nil {
		r.t.Fatal(err)
	}
	discard := slog.New(slog.DiscardHandler)
	r.agents, r.flight, r.inboxes = projections.NewAgents("here"), projections.NewInFlight(), projections.NewInboxes()
	r.flight.SendTimeout = cmp.Or(r.patience, r.flight.SendTimeout)
	r.timers, r.talks = projections.NewTimers(), projections.NewConversations(cmp.Or(r.quiet, 30*time.Minute))
	r.watch = newWatcher()
	r.letters, r.storms = projections.NewLetters(), projections.NewStorms()
	requests := projections.NewRequests()
	r.index = projections.NewMessages()
	r.runner = projections.NewRunner(r.log, discard, r.index, r.agents, r.flight, r.inboxes, r.timers, r.talks, r.letters, r.storms, requests, r.watch)
	r.sys, err = New(r.cfg, Deps{
		Store: r.store, Host: r.host, Agents: r.agents, InFlight: r.flight, Inboxes: r.inboxes, Timers: r.timers, Talks: r.talks, Letters: r.letters, Storms: r.storms, Requests: requests, StormListener: r.heard, Running: r.running,
		Messages: r.index, Runner: r.runner, Room: r.room, Log: discard, Member: "here", Now: r.now, Observer: r.observer,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Gateway = r.sys.Gateway()
	if r.before != nil {
		r.before()
	}
	r.run()
	select {
	case <-r.runner.Ready():
	case <-time.After(patience):
		r.t.Fatal("projections are not ready")
	}
}

// run starts what runs, and makes end the way to stop it, in order.
func (r *rig) run() {
	folds, stopFolds := context.WithCancel(context.Background())
	agents, stopAgents := context.WithCancel(context.Background())
	var group, first sync.WaitGroup
	group.Go(func() {
		if err := r.runner.Run(folds); err != nil {
			r.t.Errorf("projections: %v", err)
		}
	})
	first.Go(func() {
		if err := r.sys.Run(agents); err != nil {
			r.t.Errorf("agents: %v", err)
		}
	})
	r.end = sync.OnceFunc(func() {
		stopAgents()
		first.Wait()
		stopFolds()
		group.Wait()
		if err := errors.Join(r.host.Close(context.Background()), r.log.Close()); err != nil {
			r.t.Error(err)
		}
	})
}

// restart is an orderly end and a new beginning on the same log.
func (r *rig) restart() {
	r.t.Helper()
	r.end()
	r.start()
}

func (r *rig) deploy(name, guest string, change ...func(*DeployRequest)) events.AgentID {
	r.t.Helper()
	return r.deployWasm(name, fixtures.Agent(guest), change...)
}

func (r *rig) deployWasm(name string, wasm []byte, change ...func(*DeployRequest)) events.AgentID {
	r.t.Helper()
	req := DeployRequest{Caller: Caller{Principal: "user:test"}, Name: name, Wasm: wasm, Limits: events.DefaultLimits()}
	for _, f := range change {
		f(&req)
	}
	d, err := r.Deploy(context.Background(), req)
	if err != nil {
		r.t.Fatalf("deploy %s: %v", name, err)
	}
	r.caughtUp(d.Position)
	return d.ID
}

// caughtUp waits until the projections have seen a position.
func (r *rig) caughtUp(p events.Position) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.runner.WaitFor(ctx, p); err != nil {
		r.t.Fatal(err)
	}
}

func request(to events.AgentID, content string) SendRequest {
	return SendRequest{
		Caller: Caller{Principal: "user:test"}, To: to, Wait: patience,
		Message: events.Message{Content: json.RawMessage(content)},
	}
}

// ask sends a request and wants it handled or failed; it returns the reply.
func (r *rig) ask(to events.AgentID, content string) Sent {
	r.t.Helper()
	sent, err := r.Send(context.Background(), request(to, content))
	if err != nil {
		r.t.Fatalf("%s: %v", content, err)
	}
	return sent
}

// wants asks and compares the reply's content.
func (r *rig) wants(to events.AgentID, content, reply string) {
	r.t.Helper()
	sent := r.ask(to, content)
	if sent.Status != Handled || sent.Reply == nil || string(sent.Reply.Content) != reply {
		r.t.Fatalf("%s: %s %s, want %s", content, sent.Status, contentOf(sent.Reply), reply)
	}
}

func contentOf(m *events.Message) string {
	if m == nil {
		return "no reply"
	}
	return string(m.Performative) + " " + string(m.Content)
}

// eventually waits until the log has an event that is wanted; it is asked again
// after each event that the projections see.
func (r *rig) eventually(what string, is func() bool) {
	r.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		moved := r.watch.next()
		if is() {
			return
		}
		select {
		case <-moved:
		case <-late.C:
			r.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// workedOff waits until no inbox holds anything of what the log holds now. To
// ask only for empty inboxes would be too early: they are empty as well before
// the projections have followed what was put into them.
func (r *rig) workedOff() {
	r.t.Helper()
	last, ok, err := projections.LastFollowed(context.Background(), r.log)
	if err != nil {
		r.t.Fatal(err)
	}
	if ok {
		r.caughtUp(last)
	}
	r.eventually("no message waits", func() bool { return r.inboxes.Len() == 0 })
}

// payloads returns all events of a stream.
func (r *rig) payloads(s events.Stream) []events.Payload {
	r.t.Helper()
	var out []events.Payload
	for rec, err := range r.log.ReadStream(context.Background(), s, events.ReadStreamOptions{}) {
		if errors.Is(err, events.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			r.t.Fatal(err)
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// only returns the events of one type in a stream.
func only[T events.Payload](r *rig, s events.Stream) []T {
	r.t.Helper()
	var out []T
	for _, p := range r.payloads(s) {
		if x, ok := p.(T); ok {
			out = append(out, x)
		}
	}
	return out
}

// watcher wakes those who wait for the log to grow. It is the last fold, so the
// others have seen what it tells.
type watcher struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; closed at the next event
}

func newWatcher() *watcher { return &watcher{ch: make(chan struct{})} }

func (w *watcher) Apply(events.Recorded, events.Payload) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.ch)
	w.ch = make(chan struct{})
}

func (w *watcher) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ch
}

// faultyStore fails appends as a test says.
type faultyStore struct {
	events.Store
	mu     sync.Mutex
	before func(events.Stream) error // guarded by mu; an error fails the append, unwritten
	after  func(events.Stream) error // guarded by mu; an error is returned though it was written
	count  map[events.Stream]int     // guarded by mu; appends that were begun
	sync   func()                    // guarded by mu; called before each Sync, with which a wake begins; nil: nothing
}

// Sync implements events.Store.
func (f *faultyStore) Sync(ctx context.Context) error {
	f.mu.Lock()
	sync := f.sync
	f.mu.Unlock()
	if sync != nil {
		sync()
	}
	return f.Store.Sync(ctx)
}

// offered is the number of appends to a stream that were begun.
func (f *faultyStore) offered(s events.Stream) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[s]
}

func (f *faultyStore) fail(before, after func(events.Stream) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// turnstile holds those who write, and counts them.
type turnstile struct {
	open          chan struct{} // closed to let all go on
	writing, most atomic.Int64  // now, and at any time
}

func newTurnstile() *turnstile { return &turnstile{open: make(chan struct{})} }

func (g *turnstile) enter() {
	n := g.writing.Add(1)
	for m := g.most.Load(); n > m && !g.most.CompareAndSwap(m, n); m = g.most.Load() {
	}
	<-g.open
}

func (g *turnstile) leave() { g.writing.Add(-1) }

// hold has who writes to one of the streams wait at a turnstile first.
func (f *faultyStore) hold(streams map[events.Stream]bool) *turnstile {
	g := newTurnstile()
	f.fail(func(s events.Stream) error {
		if streams[s] {
			g.enter()
			g.leave()
		}
		return nil
	}, nil)
	return g
}

// Append implements events.Store.
func (f *faultyStore) Append(ctx context.Context, s events.Stream, x events.ExpectedRevision, evs ...events.Event) (events.Result, error) {
	f.mu.Lock()
	before, after := f.before, f.after
	f.count[s]++
	f.mu.Unlock()
	if before != nil {
		if err := before(s); err != nil {
			return events.Result{}, err
		}
	}
	res, err := f.Store.Append(ctx, s, x, evs...)
	if err == nil && after != nil {
		if e := after(s); e != nil {
			return events.Result{}, e
		}
	}
	return res, err
}

// SetStreamMetadata implements events.Store; a fault is asked for the MetadataStream.
func (f *faultyStore) SetStreamMetadata(ctx context.Context, s events.Stream, x events.ExpectedRevision, md events.StreamMetadata) (events.Result, error) {
	f.mu.Lock()
	before, after := f.before, f.after
	f.mu.Unlock()
	if before != nil {
		if err := before(events.MetadataStream(s)); err != nil {
			return events.Result{}, err
		}
	}
	res, err := f.Store.SetStreamMetadata(ctx, s, x, md)
	if err == nil && after != nil {
		err = after(events.MetadataStream(s))
	}
	return res, err
}

// times returns a fault for the first n appends to a stream.
func times(n int, to events.Stream, err error) func(events.Stream) error {
	var mu sync.Mutex
	return func(s events.Stream) error {
		mu.Lock()
		defer mu.Unlock()
		if s != to || n == 0 {
			return nil
		}
		n--
		return err
	}
}
