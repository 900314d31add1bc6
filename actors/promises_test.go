package actors

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// What these tests are about: a message that was acknowledged is handled once or
// ended by name, whatever happens to its agent meanwhile.

// gate blocks the first append to a stream until it is opened.
func gate(to events.Stream) (hook func(events.Stream) error, reached, open chan struct{}) {
	reached, open = make(chan struct{}), make(chan struct{})
	var once sync.Once
	return func(s events.Stream) error {
		if s == to {
			once.Do(func() { close(reached); <-open })
		}
		return nil
	}, reached, open
}

// waitDepth waits until so many envelopes are in mailboxes and turns.
func (r *rig) waitDepth(n int) {
	r.t.Helper()
	for late := time.Now().Add(patience); r.sys.QueueDepth() < n; runtime.Gosched() {
		if time.Now().After(late) {
			r.t.Fatalf("%d envelopes wait, want %d", r.sys.QueueDepth(), n)
		}
	}
}

// ends returns how an agent's messages ended, in order.
func (r *rig) ends(id events.AgentID) []string {
	r.t.Helper()
	var out []string
	for _, p := range r.payloads(events.AgentStream(id)) {
		switch p := p.(type) {
		case events.MessageHandled:
			out = append(out, string(p.Message.Content))
		case events.MessageFailed:
			out = append(out, "failed "+string(p.Message.Content))
		case events.MessageDeadLettered:
			out = append(out, fmt.Sprintf("dead %s %s", p.Reason, p.Message.Content))
		}
	}
	return out
}

func keyed(to events.AgentID, content, key string) SendRequest {
	q := request(to, content)
	q.IdempotencyKey = key
	return q
}

// clock is a time that a test moves.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.pass(time.Duration(time.Now().UnixNano()))
	return c
}

func (c *clock) now() time.Time       { return time.UnixMicro(c.micros.Load()) }
func (c *clock) pass(d time.Duration) { c.micros.Add(d.Microseconds()) }

// hold suspends an agent and sends it a message, which is acknowledged as held.
func (r *rig) hold(id events.AgentID, q SendRequest) {
	r.t.Helper()
	if err := r.command(r.Suspend, id); err != nil {
		r.t.Fatal(err)
	}
	if s, err := r.Send(context.Background(), q); err != nil || s.Status != Held {
		r.t.Fatalf("%s, %v; want held", s.Status, err)
	}
}

// behindAnAppend runs what follows while the actor of a suspended agent is busy
// putting a message into its inbox, and then lets it go on.
func (r *rig) behindAnAppend(id events.AgentID, content string, then ...func()) {
	r.t.Helper()
	hook, reached, open := gate(events.InboxStream(id))
	r.store.fail(hook, nil)
	var g sync.WaitGroup
	g.Go(func() { r.ask(id, content) })
	<-reached
	for i, f := range then {
		g.Go(f)
		r.waitDepth(i + 2)
	}
	close(open)
	g.Wait()
	r.store.fail(nil, nil)
}

// TestWhatWasHeldGoesFirst: what arrives beside a resume does not overtake what
// was acknowledged before it.
func TestWhatWasHeldGoesFirst(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Minute })
	id := r.deploy("kv", "kv")
	put := func(n int) string { return fmt.Sprintf(`{"op":"put","key":"k","value":%d}`, n) }
	r.hold(id, request(id, put(1)))
	r.behindAnAppend(id, put(2),
		func() { _ = r.command(r.Resume, id) },
		func() { r.ask(id, put(3)) })
	r.wants(id, `{"op":"get","key":"k"}`, `{"found":true,"value":3}`)
	if got := r.ends(id); fmt.Sprint(got[:3]) != fmt.Sprint([]string{put(1), put(2), put(3)}) {
		t.Errorf("handled %v", got)
	}
}

// TestWhatATurnHoldsIsOneAppend: messages that wait while their agent is held cost one
// fsync together. Requests under one key are told apart all the same.
func TestWhatATurnHoldsIsOneAppend(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Minute })
	id := r.deploy("counter", "counter-c")
	r.hold(id, request(id, `0`))
	before := r.store.offered(events.InboxStream(id))
	sends := func(q SendRequest, want error) func() {
		return func() {
			if s, err := r.Send(context.Background(), q); !errors.Is(err, want) || err == nil && s.Status != Held {
				t.Errorf("%s: %s, %v; want held, %v", q.Message.Content, s.Status, err, want)
			}
		}
	}
	const n = 10
	var waiting []func()
	for i := range n {
		waiting = append(waiting, sends(request(id, fmt.Sprint(i+2)), nil))
	}
	r.behindAnAppend(id, `1`, waiting...)
	if got := r.store.offered(events.InboxStream(id)) - before; got != 2 {
		t.Errorf("%d appends, want 2: the one that was under way, and one for the %d behind it", got, n)
	}
	r.behindAnAppend(id, `12`,
		sends(keyed(id, `13`, "a"), nil), sends(request(id, `14`), nil), // a repetition among them is one entry
		sends(keyed(id, `13`, "a"), nil), sends(keyed(id, `"other"`, "a"), events.ErrKeyReused), sends(request(id, `15`), nil))
	for i, p := range r.payloads(events.InboxStream(id)) {
		if got := string(p.(events.MessageReceived).Message.Content); got != fmt.Sprint(i) {
			t.Errorf("entry %d is %s", i, got)
		}
	}
	r.eventually("all stand there", func() bool { return r.inboxes.Len() == 16 })
	r.behindAnAppend(id, `16`, sends(request(id, `17`), nil), sends(keyed(id, `13`, "a"), nil)) // known already, and new
	r.eventually("all stand there", func() bool { return r.inboxes.Len() == 18 })
}

// TestABatchLeavesTheInboxItsBound, and its append the log's.
func TestABatchLeavesTheInboxItsBound(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter, c.InboxSize = time.Minute, 8 })
	id := r.deploy("counter", "counter-c")
	content := fmt.Sprintf("%q", strings.Repeat("x", 200_000))
	r.hold(id, request(id, content))
	r.eventually("it stands there", func() bool { return r.inboxes.Len() == 1 })
	var full atomic.Int64
	send := func() {
		s, err := r.Send(context.Background(), request(id, content))
		if errors.Is(err, events.ErrMailboxFull) {
			full.Add(1)
		} else if err != nil || s.Status != Held {
			t.Errorf("%s, %v; want held, or events.ErrMailboxFull", s.Status, err)
		}
	}
	r.behindAnAppend(id, `1`, slices.Repeat([]func(){send}, 10)...)
	if got := len(r.payloads(events.InboxStream(id))); got > 9 || got+int(full.Load()) != 12 { // the one under way may not have been seen yet
		t.Errorf("%d stand in an inbox for 8, %d were refused", got, full.Load())
	}
}

// TestAKeptRequestIsHandledOnce: it waits in the inbox, its sender asks again
// while it is resumed, and the key expires afterwards.
func TestAKeptRequestIsHandledOnce(t *testing.T) {
	c := newClock()
	r := newRigWith(t, func(r *rig) {
		r.now, r.cfg.SpillAfter, r.cfg.IdleTimeout = c.now, time.Minute, 50*time.Millisecond
	})
	id := r.deploy("counter", "counter-c")
	add := keyed(id, `{"op":"add","n":1}`, "k")
	r.hold(id, add)
	r.behindAnAppend(id, `{"op":"get"}`,
		func() { _ = r.command(r.Resume, id) },
		func() { _, _ = r.Send(context.Background(), add) })
	c.pass(25 * time.Hour)
	if _, err := r.Send(context.Background(), keyed(id, `{"op":"get"}`, "other")); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(patience); r.sys.Awake() > 0; runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatal("it stays awake")
		}
	}
	r.wants(id, `{"op":"get"}`, `{"count":1}`)
}

// TestTheInboxKeepsItsOrder although its first entry fails and it is longer than
// one page.
func TestTheInboxKeepsItsOrder(t *testing.T) {
	r := newRig(t, nil)
	id := r.deployWasm("trap", hostile(t, "trap"))
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	const n = inboxPage + 6
	for i := range n {
		r.ask(id, fmt.Sprint(i))
	}
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.eventually("all failed", func() bool { return len(r.ends(id)) == n })
	for i, got := range r.ends(id) {
		if got != fmt.Sprintf("failed %d", i) {
			t.Fatalf("order: %v", r.ends(id))
		}
	}
}

// unreadable fails reads of modules a number of times.
type unreadable struct {
	*faultyStore
	mu    sync.Mutex
	times int // guarded by mu
}

func (u *unreadable) ReadStream(ctx context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.Category() != events.CategoryModule || u.times == 0 {
		return u.Store.ReadStream(ctx, s, o)
	}
	u.times--
	return func(yield func(events.Recorded, error) bool) {
		yield(events.Recorded{}, errors.New("a fault that passes"))
	}
}

// TestAFailureToWakePasses: what stands in the inbox is handled when the agent
// can be woken again, though nobody asks.
func TestAFailureToWakePasses(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	r.hold(id, request(id, `{"op":"add","n":1}`))
	r.end()
	r.before = func() {
		u := &unreadable{faultyStore: r.store, times: 3}
		r.sys.deps.Store, r.sys.source.Store, r.sys.source.Modules = u, u, modules{u, r.host}
		r.sys.waker.every = time.Millisecond
	}
	r.start()
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is handled", func() bool { return len(r.ends(id)) == 1 })
}

// TestRemovalEndsWhatWaits: each message that was acknowledged becomes a dead
// letter, also when the process ends in between.
func TestRemovalEndsWhatWaits(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	const n = 2*inboxPage + 3
	r.hold(id, request(id, `0`))
	for i := range n - 1 {
		r.ask(id, fmt.Sprint(i+1))
	}
	if err := r.command(r.Remove, id); err != nil {
		t.Fatal(err)
	}
	r.restart() // an orderly end leaves the rest to the next start, as any other
	r.eventually("all ended", func() bool { return len(r.ends(id)) == n && r.inboxes.Len() == 0 })
	for i, got := range r.ends(id) {
		if got != fmt.Sprintf("dead AgentNotFound %d", i) {
			t.Fatalf("%d: %s", i, got)
		}
	}
	if _, err := r.Send(context.Background(), request(id, `1`)); !errors.Is(err, events.ErrAgentNotFound) {
		t.Errorf("%v, want events.ErrAgentNotFound", err)
	}
}

// panicky panics once, when a message has been processed.
type panicky struct {
	Unobserved
	once sync.Once
}

func (p *panicky) Processed(events.OutcomeStatus, events.Fuel, time.Duration) {
	p.once.Do(func() { panic("a fault of caxton") })
}

// TestAPanicAfterTheAppend neither loses the answer nor runs the message again.
func TestAPanicAfterTheAppend(t *testing.T) {
	r := newRigWith(t, func(r *rig) { r.observer = new(panicky) })
	id := r.deploy("counter", "counter-c")
	r.wants(id, `{"op":"add","n":1}`, `{"count":1}`)
	r.wants(id, `{"op":"get"}`, `{"count":1}`)
}

// TestNoAnswerBeforeItsGround: a removal that is decided and not yet durable is
// told to nobody; its append fails, and the agent lives.
func TestNoAnswerBeforeItsGround(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Minute })
	id := r.deploy("counter", "counter-c")
	stream := events.AgentStream(id)
	hook, reached, open := gate(stream)
	appends := 0
	r.store.fail(func(s events.Stream) error {
		if s == stream {
			if appends++; appends == 2 {
				return events.ErrReadOnly
			}
		}
		return hook(s)
	}, nil)
	var g sync.WaitGroup
	g.Go(func() { r.ask(id, `{"op":"add","n":1}`) })
	<-reached
	g.Go(func() {
		if err := r.command(r.Remove, id); !errors.Is(err, events.ErrReadOnly) {
			t.Errorf("remove: %v, want events.ErrReadOnly", err)
		}
	})
	r.waitDepth(2)
	g.Go(func() {
		if _, err := r.Send(context.Background(), request(id, `{"op":"get"}`)); errors.Is(err, events.ErrAgentNotFound) {
			t.Error("told that a living agent does not exist")
		}
	})
	r.waitDepth(3)
	close(open)
	g.Wait()
	r.wants(id, `{"op":"get"}`, `{"count":1}`)
}

// TestAFinishedMessageDoesNotWaitForTheNext: whoever does not wait for a reply
// has the receipt from the inbox, though a message of the same turn runs on.
func TestAFinishedMessageDoesNotWaitForTheNext(t *testing.T) {
	r := newRig(t, nil)
	probe, err := os.ReadFile("../wasmhost/testdata/probe.wasm")
	if err != nil {
		t.Fatal(err)
	}
	id := r.deployWasm("probe", probe, func(q *DeployRequest) {
		q.Limits.MaxExecutionTimeMS, q.Limits.MaxFuel = 3000, events.LimitCeilings().MaxFuel
	})
	hook, reached, open := gate(events.AgentStream(id))
	r.store.fail(hook, nil)
	var g sync.WaitGroup
	g.Go(func() { r.ask(id, `"first"`) })
	<-reached
	g.Go(func() {
		q := request(id, `"count"`)
		q.Wait = 0
		if s, err := r.Send(context.Background(), q); err != nil || s.Status != Queued {
			t.Errorf("%s, %v; want queued: its turn has not ended", s.Status, err)
		}
	})
	r.waitDepth(2)
	g.Go(func() {
		q := request(id, `"spin"`) // until its time is over, which counts as a crash
		q.Wait = 0
		_, _ = r.Send(context.Background(), q)
	})
	r.waitDepth(3)
	close(open)
	g.Wait()
	closes := func(e events.InboxSkipped) bool { return e.HandledAt == 2 } // of the one that counts
	r.eventually("its entry is closed", func() bool {
		return slices.ContainsFunc(only[events.InboxSkipped](r, events.AgentStream(id)), closes)
	})
}

// TestAnExpiredKeyIsRefused: while the inbox still has the entry of the request
// that it stood for, a new request under it cannot be told from that one.
func TestAnExpiredKeyIsRefused(t *testing.T) {
	c := newClock()
	r := newRigWith(t, func(r *rig) { r.now, r.cfg.SpillAfter = c.now, 5*time.Millisecond })
	id := r.deploy("counter", "counter-c")
	add := keyed(id, `{"op":"add","n":1}`, "k")
	add.Wait = 0
	r.behindATurn(id, func() {
		if s, err := r.Send(context.Background(), add); err != nil || s.Status != Queued {
			t.Errorf("%s, %v; want queued", s.Status, err)
		}
	})
	r.eventually("it is handled", func() bool { return r.inboxes.Len() == 0 && len(r.ends(id)) == 2 })
	c.pass(25 * time.Hour)
	if _, err := r.Send(context.Background(), keyed(id, `{"op":"get"}`, "other")); err != nil {
		t.Fatal(err)
	}
	add.Wait = patience
	r.behindATurn(id, func() {
		if s, err := r.Send(context.Background(), add); !errors.Is(err, events.ErrConflict) {
			t.Errorf("%s, %v; want events.ErrConflict", s.Status, err)
		}
	})
	r.wants(id, `{"op":"get"}`, `{"count":1}`)
}

// TestAKeyForTwoRequests: the second, with another body, is acknowledged while the
// agent is busy. It is not run, and does not vanish: a dead letter says why, and
// nothing waits any more, after a start either.
func TestAKeyForTwoRequests(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Minute })
	id := r.deploy("counter", "counter-c")
	r.wants(id, `{"op":"get"}`, `{"count":0}`)
	if _, err := r.Send(context.Background(), keyed(id, `{"op":"add","n":1}`, "k")); err != nil {
		t.Fatal(err)
	}
	r.cfg.SpillAfter = time.Millisecond
	r.restart()
	other := keyed(id, `{"op":"add","n":2}`, "k")
	other.Wait = 0
	r.behindATurn(id, func() {
		if s, err := r.Send(context.Background(), other); s.Status != Queued && !errors.Is(err, events.ErrKeyReused) {
			t.Errorf("%s, %v; want queued or events.ErrKeyReused", s.Status, err)
		}
	})
	late := func() bool {
		return slices.Contains(r.ends(id), `dead Invalid {"op":"add","n":2}`) && r.inboxes.Len() == 0
	}
	r.eventually("it is ended by name", late)
	other.Wait = patience // what is known now is told at once, and ends nothing twice
	if s, err := r.Send(context.Background(), other); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("%s, %v; want events.ErrKeyReused", s.Status, err)
	}
	r.restart()
	r.wants(id, `{"op":"get"}`, `{"count":1}`)
	if n := len(only[events.MessageDeadLettered](r, events.AgentStream(id))); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

// TestAStrangersEntryIsEndedByName: what somebody else wrote into an inbox is no
// message; it is told of once, whole, and stops nothing.
func TestAStrangersEntryIsEndedByName(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	r.hold(id, request(id, `{"op":"add","n":1}`))
	var list []events.Event
	for _, of := range []events.Type{"Stranger", "AgentResumed"} {
		list = append(list, events.Event{ID: events.NewEventID(), Type: of, ContentType: events.JSON, Data: []byte(`{"reason":"mine"}`)})
	}
	if _, err := r.log.Append(context.Background(), events.InboxStream(id), events.Any(), list...); err != nil {
		t.Fatal(err)
	}
	r.ask(id, `{"op":"add","n":1}`)
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	const dead = `dead Invalid {"reason":"mine"}`
	r.eventually("all has ended", func() bool { return len(r.ends(id)) == 4 && r.inboxes.Len() == 0 })
	r.restart()
	r.wants(id, `{"op":"get"}`, `{"count":2}`)
	letters := slices.DeleteFunc(r.ends(id), func(s string) bool { return s != dead })
	if len(letters) != len(list) {
		t.Errorf("%v", r.ends(id))
	}
}

// TestNobodyHasNoInbox: a message to an agent that was never deployed is not
// acknowledged, however long it takes to find that out.
func TestNobodyHasNoInbox(t *testing.T) {
	r := newRig(t, nil)
	id := events.NewAgentID()
	env, err := newMessage(request(id, `1`), r.cfg.MaxContent)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := r.spill(context.Background(), id, env, NewMailbox(1)); ok {
		t.Errorf("receipt %+v", got)
	}
	if n := r.store.offered(events.InboxStream(id)); n != 0 {
		t.Errorf("%d appends to its inbox", n)
	}
	if _, err := r.Send(context.Background(), request(id, `1`)); !errors.Is(err, events.ErrAgentNotFound) {
		t.Errorf("%v, want events.ErrAgentNotFound", err)
	}
}

// behindATurn sends while a turn of the agent is in its append, whose own message is
// sealed by then, and lets that end once what is sent was offered to the inbox.
func (r *rig) behindATurn(id events.AgentID, send func()) {
	r.t.Helper()
	hook, reached, open := gate(events.AgentStream(id))
	r.store.fail(hook, nil)
	var g sync.WaitGroup
	g.Go(func() { r.ask(id, `{"op":"get"}`) })
	<-reached
	before := r.store.offered(events.InboxStream(id))
	g.Go(send)
	for late := time.Now().Add(patience); r.store.offered(events.InboxStream(id)) < before+1; runtime.Gosched() {
		if time.Now().After(late) {
			r.t.Fatal("it is not offered to the inbox")
		}
	}
	close(open)
	g.Wait()
	r.store.fail(nil, nil)
}

// TestAnInboxIsBounded: an agent that is held is promised no more than it may
// keep.
func TestAnInboxIsBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.InboxSize = 3 })
	id := r.deploy("counter", "counter-c")
	r.hold(id, request(id, `0`))
	for i := range 2 {
		r.caughtUp(r.ask(id, fmt.Sprint(i+1)).Position)
	}
	if s, err := r.Send(context.Background(), request(id, `3`)); !errors.Is(err, events.ErrMailboxFull) {
		t.Errorf("%s, %v; want events.ErrMailboxFull", s.Status, err)
	}
}

// TestNoChangeIsToldAPosition at which the caller's own change can be seen.
func TestNoChangeIsToldAPosition(t *testing.T) {
	r := newRig(t, nil)
	c := Command{Caller: Caller{Principal: "user:test"}, Agent: r.deploy("counter", "counter-c")}
	first, err := r.Suspend(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Suspend(context.Background(), c); err != nil || again < first {
		t.Errorf("at %d, %v; want at least %d", again, err, first)
	}
}
