package actors

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/replay"
	"github.com/caxton-run/caxton/wasmhost"
)

// slowModule is a node on which no wake comes to its end by itself from arm to release: one
// ends with what comes from goOn, or with its context.
type slowModule struct {
	replay.Modules
	begun chan struct{} // of capacity 1: a wake has begun
	goOn  chan error
	slow  atomic.Pointer[chan struct{}] // closed by release; nil before arm
}

func (m *slowModule) arm() {
	over := make(chan struct{})
	m.slow.Store(&over)
}

func (m *slowModule) release() { close(*m.slow.Load()) }

// Module implements replay.Modules.
func (m *slowModule) Module(ctx context.Context, h events.ModuleHash) (*wasmhost.Module, error) {
	over := m.slow.Load()
	if over == nil {
		return m.Modules.Module(ctx, h)
	}
	select {
	case m.begun <- struct{}{}:
	default:
	}
	select {
	case <-*over:
		return m.Modules.Module(ctx, h)
	case err := <-m.goOn:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(patience):
		return nil, fmt.Errorf("nothing ended the wake within %s", patience)
	}
}

// newSlowRig has an agent that sleeps, and a message for it that has begun a wake which
// does not end.
func newSlowRig(t *testing.T) (r *rig, m *slowModule, id events.AgentID) {
	t.Helper()
	m = &slowModule{begun: make(chan struct{}, 1), goOn: make(chan error)}
	r = newRigWith(t, func(r *rig) {
		r.cfg.SpillAfter = time.Millisecond
		r.before = func() {
			m.Modules = r.sys.source.Modules
			r.sys.source.Modules = m
		}
	})
	id = r.deploy("echo", "echo")
	if _, err := r.sys.Rest(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.until("it sleeps", func() bool { return r.sys.Awake() == 0 })
	m.arm()
	r.sends(id, `1`)
	<-m.begun
	return r, m, id
}

// sends has a message accepted, and does not wait for its end.
func (r *rig) sends(id events.AgentID, content string) {
	r.t.Helper()
	q := request(id, content)
	q.Wait = 0
	if sent, err := r.Send(context.Background(), q); err != nil || sent.Status != Queued {
		r.t.Fatalf("%s, %v, want %s", sent.Status, err, Queued)
	}
}

// TestACommandEndsAWake: a wake that takes long is ended when a command's time is over, like
// a run, and its message waits again.
func TestACommandEndsAWake(t *testing.T) {
	r, m, id := newSlowRig(t)
	r.sys.runGrace = time.Millisecond
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	m.release()
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.workedOff()
	if n := len(only[events.MessageHandled](r, events.AgentStream(id))); n != 1 {
		t.Errorf("%d messages are handled, want 1", n)
	}
	if n := len(only[events.AgentCrashed](r, events.AgentStream(id))); n != 0 {
		t.Errorf("%d crashes are counted", n)
	}
}

// TestTheEndOfDrainingEndsAWake: an agent that is to stop is stopped at its time, though its
// guest is still being made.
func TestTheEndOfDrainingEndsAWake(t *testing.T) {
	r, m, id := newSlowRig(t)
	defer m.release()
	if _, err := r.Stop(context.Background(), StopRequest{Command: Command{Agent: id}, Drain: true, Grace: 50 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	r.until("it is stopped", func() bool {
		v, _ := r.agents.Get(id)
		return agent.Status(v.Status) == agent.Stopped
	})
}

// TestACommandIsNotRefusedWithTheMessagesBehindIt: that a guest cannot be made is nothing to
// who wants to hold its agent still.
func TestACommandIsNotRefusedWithTheMessagesBehindIt(t *testing.T) {
	r, m, id := newSlowRig(t)
	box := r.sys.registry.box(id)
	suspended := make(chan error, 1)
	go func() { suspended <- r.command(r.Suspend, id) }()
	r.until("the command waits", func() bool {
		box.mu.Lock()
		defer box.mu.Unlock()
		return box.commands.len() == 1
	})
	r.sends(id, `2`)
	noMemory := fmt.Errorf("no memory: %w", events.ErrOverloaded)
	m.goOn <- noMemory
	for {
		select {
		case m.goOn <- noMemory: // the next wake
			continue
		case err := <-suspended:
			if err != nil {
				t.Fatal(err)
			}
		}
		break
	}
	m.release()
}
