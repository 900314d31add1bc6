package actors

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// closet is room that a test takes away and gives back.
type closet struct {
	low      atomic.Bool
	regained chan struct{}
}

func newCloset() *closet { return &closet{regained: make(chan struct{}, 1)} }

// Admit implements Room.
func (c *closet) Admit() error {
	if c.low.Load() {
		return fmt.Errorf("%w: a test says so", events.ErrDiskLow)
	}
	return nil
}

// Regained implements Room.
func (c *closet) Regained() <-chan struct{} { return c.regained }

func (c *closet) regain() {
	c.low.Store(false)
	c.regained <- struct{}{}
}

// newRigIn is newRig with a room of the test's own.
func newRigIn(t *testing.T, room *closet, change func(*Config)) *rig {
	t.Helper()
	r := newRig(t, change)
	r.end()
	r.room = room
	r.start()
	return r
}

// TestNoRoomRefusesNewWork: messages and deployments are refused, lifecycle
// changes are not, and no snapshot is written.
func TestNoRoomRefusesNewWork(t *testing.T) {
	room := newCloset()
	r := newRigIn(t, room, func(c *Config) { c.SnapshotEvery = 1 })
	id := r.deploy("counter", "counter-rust")
	room.low.Store(true)
	ctx := context.Background()
	if _, err := r.Send(ctx, request(id, `{"op":"add","n":1}`)); !errors.Is(err, events.ErrDiskLow) {
		t.Errorf("a message: %v", err)
	}
	deploy := DeployRequest{Caller: Caller{Principal: "user:test"}, Name: "late", Wasm: fixtures.Agent("counter-rust"), Limits: events.DefaultLimits()}
	if _, err := r.Deploy(ctx, deploy); !errors.Is(err, events.ErrDiskLow) {
		t.Errorf("a deployment: %v", err)
	}
	for name, change := range map[string]func(context.Context, Command) (events.Position, error){"suspend": r.Suspend, "resume": r.Resume} {
		if _, err := change(ctx, Command{Agent: id}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(r.payloads(events.SnapshotStream(id))); n != 0 {
		t.Errorf("%d snapshots were written", n)
	}
	room.regain()
	if _, err := r.Resume(ctx, Command{Agent: id}); err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"add","n":1}`, `{"count":1}`)
	room.low.Store(true)
	if _, err := r.Remove(ctx, Command{Agent: id}); err != nil {
		t.Errorf("remove: %v", err)
	}
}

// TestSendsWaitForRoom: what agents send stays in flight, is no dead letter, and
// goes on when there is room again.
func TestSendsWaitForRoom(t *testing.T) {
	room := newCloset()
	r := newRigIn(t, room, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	// Room goes while the first ball is being hit: its append stands, the ball
	// stays in flight.
	r.store.fail(func(s events.Stream) error {
		if s == events.AgentStream(ping) { // before it is durable, or the ball may be carried before there is no room
			room.low.Store(true)
		}
		return nil
	}, nil)
	r.play(ping, "pong", 3)
	r.eventually("the ball is in flight", func() bool { return r.flight.Len() == 1 })
	r.store.fail(nil, nil)
	if n := len(only[events.MessageHandled](r, events.AgentStream(pong))); n != 0 {
		t.Fatalf("%d balls arrived without room", n)
	}
	room.regain()
	r.eventually("the game ends", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) == 3 })
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	if dead := only[events.MessageDeadLettered](r, events.AgentStream(ping)); len(dead) != 0 {
		t.Errorf("dead letters: %+v", dead)
	}
}

// TestAFullDiskLosesNothing: appends are refused outright for a while. Sends and
// what stands in inboxes are carried out when that has passed.
func TestAFullDiskLosesNothing(t *testing.T) {
	room := newCloset()
	r := newRigIn(t, room, nil)
	ping, pong, counter := r.deploy("ping", "ping"), r.deploy("pong", "pong"), r.deploy("counter", "counter-rust")
	if err := r.command(r.Suspend, counter); err != nil {
		t.Fatal(err)
	}
	waiting := request(counter, `{"op":"add","n":7}`)
	waiting.Wait = 0
	if sent, err := r.Send(context.Background(), waiting); err != nil || sent.Status != Held {
		t.Fatalf("%+v, %v", sent, err)
	}
	full := fmt.Errorf("%w: %w", events.ErrReadOnly, events.ErrDiskLow)
	refused := make(chan events.Stream, 100)
	var resumed atomic.Bool
	r.store.fail(func(s events.Stream) error {
		if s != events.AgentStream(pong) && (s != events.AgentStream(counter) || !resumed.Load()) {
			return nil
		}
		refused <- s
		return full
	}, func(s events.Stream) error {
		if s == events.AgentStream(counter) {
			resumed.Store(true) // the command itself passed; what it lets go does not
		}
		return nil
	})
	if err := r.command(r.Resume, counter); err != nil {
		t.Fatal(err)
	}
	if s := <-refused; s != events.AgentStream(counter) {
		t.Fatalf("refused: %s", s)
	}
	r.play(ping, "pong", 2)
	if s := <-refused; s != events.AgentStream(pong) {
		t.Fatalf("refused: %s", s)
	}
	r.store.fail(nil, nil)
	room.regain()
	r.eventually("the game ends", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(pong))) == 2 })
	r.workedOff()
	r.wants(counter, `{"op":"get"}`, `{"count":7}`)
	if dead := only[events.MessageDeadLettered](r, events.AgentStream(ping)); len(dead) != 0 {
		t.Errorf("dead letters: %+v", dead)
	}
}
