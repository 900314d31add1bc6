package actors

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// What these tests are about: a message that was acknowledged is handled once or
// ended by name, whatever happens to its agent meanwhile.

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

// unreadable fails reads of streams of a category a number of times.
type unreadable struct {
	*faultyStore
	of    events.Category
	mu    sync.Mutex
	times int // guarded by mu
}

func (u *unreadable) ReadStream(ctx context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.Category() != u.of || u.times == 0 {
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
		u := &unreadable{faultyStore: r.store, of: events.CategoryModule, times: 3}
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
