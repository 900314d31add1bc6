package actors

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// TestDrainWorksOffWhatWaits: sends between agents too, and only then admits again.
func TestDrainWorksOffWhatWaits(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	held := r.deploy("held", "echo")
	if err := r.command(r.Suspend, held); err != nil {
		t.Fatal(err)
	}
	r.ask(held, `1`)
	r.play(ping, "pong", 20)
	got, err := r.Drain(context.Background(), patience, false)
	if err != nil || !got.Empty() || got.Discarded != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.Left.Held != 1 || got.Left.Inboxes != 1 || got.Left.InFlight != 0 {
		t.Errorf("left: %+v, want the message of the suspended agent", got.Left)
	}
	if n := len(only[events.MessageHandled](r, events.AgentStream(pong))); n < 20 {
		t.Errorf("pong handled %d messages", n)
	}
}

// TestDrainAdmitsNothing while it waits, and gives up at its time.
func TestDrainAdmitsNothing(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DrainTimeout = 0 })
	id, other := r.spinning(), r.deploy("echo", "echo")
	sent := make(chan error, 1)
	go func() {
		_, err := r.Send(context.Background(), request(id, `1`))
		sent <- err
	}()
	r.working(1)
	drained := make(chan Drained, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		got, _ := r.Drain(ctx, MaxDrain, false)
		drained <- got
	}()
	r.until("it drains", r.drains)
	if _, err := r.Send(context.Background(), request(other, `1`)); !errors.Is(err, events.ErrOverloaded) {
		t.Errorf("%v, want events.ErrOverloaded", err)
	}
	if _, err := r.Drain(context.Background(), time.Second, false); !errors.Is(err, events.ErrConflict) {
		t.Errorf("a second drain: %v, want events.ErrConflict", err)
	}
	cancel()
	if got := <-drained; got.Empty() {
		t.Errorf("%+v is left, and a guest runs", got.Left)
	}
	r.wants(other, `1`, `1`)
	got, err := r.Drain(context.Background(), 0, false)
	if err != nil || got.Empty() {
		t.Errorf("%+v, %v; want what the guest runs on", got, err)
	}
	var invalid *events.InvalidError
	if _, err := r.Drain(context.Background(), MaxDrain+1, false); !errors.As(err, &invalid) {
		t.Errorf("%v, want an *events.InvalidError", err)
	}
	r.end()
	<-sent
}

// drains reports whether a drain is under way.
func (r *rig) drains() bool { return r.sys.draining.Load() != nil }

// TestADrainIsCancelled though whoever began it is gone, and is seen until then.
func TestADrainIsCancelled(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DrainTimeout = 0 })
	id, other := r.spinning(), r.deploy("echo", "echo")
	sent := make(chan error, 1)
	go func() {
		_, err := r.Send(context.Background(), request(id, `1`))
		sent <- err
	}()
	r.working(1)
	for _, discard := range []bool{false, true} {
		drained := make(chan Drained, 1)
		before := time.Now()
		go func() {
			got, err := r.Drain(context.Background(), MaxDrain, discard)
			if err != nil {
				t.Errorf("drain: %v", err)
			}
			drained <- got
		}()
		r.until("it drains", r.drains)
		if until := r.sys.Queue().Draining; until.Before(before.Add(MaxDrain)) {
			t.Errorf("it is shown to end by %s, want %s from now", until, MaxDrain)
		}
		if was, err := r.CancelDrain(context.Background()); err != nil || !was {
			t.Fatalf("cancelled: %v, %v", was, err)
		}
		if got := <-drained; !got.Cancelled || got.Empty() || got.Discarded != 0 {
			t.Errorf("%+v, want a cancelled drain with a guest that runs", got)
		}
		r.wants(other, `1`, `1`)
		if until := r.sys.Queue().Draining; !until.IsZero() {
			t.Errorf("afterwards it is shown to drain until %s", until)
		}
	}
	if was, err := r.CancelDrain(context.Background()); err != nil || was {
		t.Errorf("without a drain: %v, %v", was, err)
	}
	r.end()
	<-sent
}

// TestDrainDiscards: what cannot be worked off in time becomes dead letters, those of
// agents in their senders' streams; what is held is kept.
func TestDrainDiscards(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond })
	id := r.deploy("echo", "echo")
	// A backoff holds the mailbox: nothing would be worked off for a while.
	r.wants(id, `0`, `0`)
	box, _, err := r.sys.registry.get(id)
	if err != nil {
		t.Fatal(err)
	}
	box.Hold(true)
	q := request(id, `1`)
	q.Wait, q.IdempotencyKey = 0, "discarded"
	sent, err := r.Send(context.Background(), q)
	if err != nil || sent.Status != Queued {
		t.Fatalf("%+v, %v", sent, err)
	}
	r.caughtUp(sent.Position)
	if q := r.sys.Queue(); q.Mailboxes != 1 || q.Inboxes != 1 || q.Waiting() != 1 {
		t.Errorf("%+v, %d wait; want one message, in its mailbox and in the inbox", q, q.Waiting())
	}
	got, err := r.Drain(context.Background(), time.Millisecond, true)
	if err != nil || !got.Empty() || got.Discarded != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	letters := only[events.MessageDeadLettered](r, events.AgentStream(id))
	if len(letters) != 1 || letters[0].Reason != events.DeadDiscarded || letters[0].Inbox == nil || letters[0].Message.ID != sent.MessageID {
		t.Errorf("dead letters: %+v", letters)
	}
	r.restart()
	// Whoever sent it and repeats the request is told: it has come to its end.
	q.Wait = time.Minute
	again, err := r.Send(context.Background(), q)
	if err != nil || again.Status != Discarded || again.Position == 0 {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	q.Message.Content = []byte(`5`)
	if _, err := r.Send(context.Background(), q); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("another request under its key: %v", err)
	}
	r.wants(id, `2`, `2`)
	if n := len(only[events.MessageHandled](r, events.AgentStream(id))); n != 2 {
		t.Errorf("%d messages were handled, want the first and the last", n)
	}
}

// TestRest: idle agents hibernate at once, busy ones stay.
func TestRest(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DrainTimeout = 0 })
	spin := r.spinning()
	for _, name := range []string{"a", "b", "c"} {
		r.wants(r.deploy(name, "echo"), `1`, `1`)
	}
	go func() { _, _ = r.Send(context.Background(), request(spin, `1`)) }()
	r.working(1)
	ctx, cancel := context.WithCancel(context.Background())
	var n int
	var err error
	rested := make(chan struct{})
	go func() { n, err = r.sys.Rest(ctx); close(rested) }()
	r.until("three sleep", func() bool { return r.sys.Awake() == 1 })
	cancel() // it would wait for the guest
	<-rested
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestRestByPriority: those that matter less sleep first.
func TestRestByPriority(t *testing.T) {
	r := newRig(t, nil)
	for _, p := range []events.Priority{"", events.Low, events.Normal, events.High, events.Critical} {
		r.wants(r.deploy("p"+string(p), "echo", func(q *DeployRequest) { q.Priority = p }), `1`, `1`)
	}
	for _, tc := range []struct {
		of   []events.Priority
		want int
	}{{[]events.Priority{events.Low}, 1}, {[]events.Priority{events.Normal}, 2}, {nil, 2}} {
		if n, err := r.sys.Rest(context.Background(), tc.of...); err != nil || n != tc.want {
			t.Errorf("%v: %d, %v; want %d", tc.of, n, err, tc.want)
		}
	}
}

// TestSlow finds the agent that takes long, awake and asleep.
func TestSlow(t *testing.T) {
	r := newRig(t, nil)
	quick, slow := r.deploy("quick", "echo"), r.deploy("slow", "echo")
	r.wants(quick, `1`, `1`)
	r.wants(slow, `1`, `1`)
	box, _, err := r.sys.registry.get(slow)
	if err != nil {
		t.Fatal(err)
	}
	box.latency.add(time.Second, time.Now())
	r.wants(slow, `1`, `1`)
	for range 2 {
		got := r.sys.Slow(500 * time.Millisecond)
		if len(got) != 1 || got[0].Agent != slow || got[0].P99 < time.Second {
			t.Fatalf("%+v, want the slow agent alone", got)
		}
		if _, err := r.sys.Rest(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}
