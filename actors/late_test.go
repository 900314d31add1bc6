package actors

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// What these tests are about: appends that end late, or never.

// TestWhatArrivesLateInTheInboxIsRead: the turn of a message was lost, which its sender
// would have been told, but by then it was on its way into the inbox and has its receipt.
// Nobody but who put it there knows that the actor has not seen it.
func TestWhatArrivesLateInTheInboxIsRead(t *testing.T) {
	r := newRigWith(t, func(r *rig) {
		r.before = func() { r.sys.waker.every = time.Hour } // which would not look at an agent that is busy
	})
	id := r.deploy("kv", "kv")
	r.wants(id, `{"op":"get","key":"k"}`, `{"found":false}`)
	box, _, err := r.sys.registry.get(id)
	if err != nil {
		t.Fatal(err)
	}
	env, err := newMessage(request(id, `{"op":"put","key":"k","value":1}`), r.cfg.MaxContent)
	if err != nil {
		t.Fatal(err)
	}
	env.respond(answer{err: events.ErrOverloaded})
	if got, ok := r.spill(context.Background(), id, env, box); !ok || got.delivery != Queued {
		t.Fatalf("receipt %+v, %v", got, ok)
	}
	r.eventually("it is handled", func() bool { return r.inboxes.Len() == 0 && len(r.ends(id)) == 2 })
}

// TestTheEndWaitsForNoInbox: a message whose way into the inbox has no known outcome, and
// never will, keeps neither its sender nor the system from ending.
func TestTheEndWaitsForNoInbox(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter, c.DrainTimeout = time.Millisecond, time.Millisecond })
	id := r.spinning()
	r.store.fail(func(s events.Stream) error {
		if s == events.InboxStream(id) {
			return events.ErrUnknownOutcome
		}
		return nil
	}, nil)
	told := make(chan error, 1)
	go func() {
		_, err := r.Send(context.Background(), request(id, `1`))
		told <- err
	}()
	r.until("it is offered to the inbox", func() bool { return r.store.offered(events.InboxStream(id)) > 1 })
	r.end()
	select {
	case err := <-told:
		if !errors.Is(err, events.ErrShuttingDown) && !errors.Is(err, events.ErrUnknownOutcome) {
			t.Errorf("%v, want events.ErrShuttingDown or events.ErrUnknownOutcome", err)
		}
	case <-time.After(10 * time.Second): // as long as a step of the system's end
		t.Fatal("its sender waits for ever")
	}
	if r.start(); len(r.ends(id)) != 0 {
		t.Errorf("handled: %v", r.ends(id))
	}
}

// TestNobodyWaitsForAnothersAppend beyond its own time: a stop, a lift and a deployment
// with a unique name stand behind others whose appends do not end.
func TestNobodyWaitsForAnothersAppend(t *testing.T) {
	r := newRig(t, nil)
	control, recording, recorded := gate(events.EmergencyStream())
	r.store.fail(control, nil)
	stopped := make(chan error, 1)
	go func() {
		_, err := r.StopAll(context.Background(), StopAllRequest{})
		stopped <- err
	}()
	<-recording
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	told := make(chan StoppedAll, 1)
	go func() {
		s, err := r.StopAll(gone, StopAllRequest{})
		if err != nil {
			t.Error(err)
		}
		told <- s
	}()
	select {
	case s := <-told:
		if !errors.Is(s.Unrecorded, context.Canceled) {
			t.Errorf("unrecorded for %v, want context.Canceled", s.Unrecorded)
		}
	case <-time.After(patience):
		t.Fatal("a stop waits for another's append")
	}
	if lifted, err := r.LiftStop(gone, Caller{}); lifted || !errors.Is(err, context.Canceled) {
		t.Errorf("lifted %v, %v; want context.Canceled", lifted, err)
	}
	if _, err := r.sys.deployUnique(gone, agent.Deploy{}, DeployRequest{}); err == nil {
		t.Error("a deployment goes on though its caller is gone")
	}
	close(recorded)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
