package actors

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/replay"
	"github.com/caxton-run/caxton/wasmhost"
)

// page is a log that a test reads.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) count(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Count(p.text.String(), what)
}

// TestAnInboxWithoutAnAgent, as older versions could leave one, keeps neither the waker
// nor a drain of the queue waiting.
func TestAnInboxWithoutAnAgent(t *testing.T) {
	r := newRig(t, nil)
	nobody := events.NewAgentID()
	env, err := newMessage(request(nobody, `1`), r.cfg.MaxContent)
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.sys.receive(context.Background(), nobody, env)
	if err != nil {
		t.Fatal(err)
	}
	r.caughtUp(res.Position)
	r.restart()
	r.until("nobody waits for it", func() bool { return len(r.inboxes.Waiting()) == 0 && r.sys.Queue().Ready() == 0 })
	out, err := r.Drain(context.Background(), patience, false)
	if err != nil || !out.Empty() {
		t.Errorf("%+v, %v", out, err)
	}
	if n := r.inboxes.LenOf(nobody); n != 1 {
		t.Errorf("%d entries are shown, want 1", n)
	}
}

// noSync is a log that cannot be read up to its end while off.
type noSync struct {
	events.Store
	off *atomic.Bool
	n   *atomic.Int64
}

// Sync implements events.Store.
func (s noSync) Sync(ctx context.Context) error {
	if s.off.Load() {
		return fmt.Errorf("%w: no room, try %d", events.ErrOverloaded, s.n.Add(1))
	}
	return s.Store.Sync(ctx)
}

// TestAnAgentThatCannotBeWokenIsToldOfOnce, until that changes.
func TestAnAgentThatCannotBeWokenIsToldOfOnce(t *testing.T) {
	var off atomic.Bool
	var tries atomic.Int64
	told := new(page)
	r := newRigWith(t, func(r *rig) {
		r.cfg.SpillAfter = patience // however slow the machine is
		r.before = func() {
			r.store.Store = noSync{r.log, &off, &tries}
			r.sys.log = slog.New(slog.NewTextHandler(told, nil))
			r.sys.waker.every = time.Millisecond
		}
	})
	id := r.deploy("echo", "echo")
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	r.ask(id, `1`)
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.workedOff()
	for round := 1; round <= 2; round++ {
		if _, err := r.sys.Rest(context.Background()); err != nil {
			t.Fatal(err)
		}
		r.until("it sleeps", func() bool { return r.sys.Awake() == 0 })
		off.Store(true)
		for range 5 {
			if _, err := r.Send(context.Background(), request(id, `2`)); err == nil {
				t.Fatal("a message is taken that no turn can be begun for")
			}
		}
		if n := told.count("agent cannot be woken"); n != round {
			t.Errorf("it is told %d times that it cannot be woken, want %d", n, round)
		}
		off.Store(false)
		r.wants(id, `3`, `3`)
		if n := told.count("agent can be woken again"); n != round {
			t.Errorf("it is told %d times that it can be woken again, want %d", n, round)
		}
	}
}

// noModule is a node without the memory for a module while off.
type noModule struct {
	replay.Modules
	off *atomic.Bool
	n   *atomic.Int64
}

// Module implements replay.Modules.
func (m noModule) Module(ctx context.Context, h events.ModuleHash) (*wasmhost.Module, error) {
	if m.off.Load() {
		return nil, fmt.Errorf("%w: no memory, try %d", events.ErrOverloaded, m.n.Add(1))
	}
	return m.Modules.Module(ctx, h)
}

// newRoomlessRig has an agent that runs, and a message that waits for it; there is no memory
// for its guest until off is false. n counts the tries, and every is between two of the waker's.
func newRoomlessRig(t *testing.T, log *slog.Logger, every time.Duration) (r *rig, id events.AgentID, m noModule) {
	t.Helper()
	m = noModule{off: new(atomic.Bool), n: new(atomic.Int64)}
	r = newRigWith(t, func(r *rig) {
		r.before = func() {
			m.Modules = r.sys.source.Modules
			r.sys.source.Modules = m
			if log != nil {
				r.sys.log = log
			}
			r.sys.waker.every = every
		}
	})
	id = r.deploy("echo", "echo")
	r.hold(id, request(id, `1`))
	if _, err := r.sys.Rest(context.Background()); err != nil {
		t.Fatal(err)
	}
	m.off.Store(true)
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	return r, id, m
}

// TestAnAgentWithoutRoomForItsGuestIsToldOfOnce, though its state is read each time
// before that.
func TestAnAgentWithoutRoomForItsGuestIsToldOfOnce(t *testing.T) {
	told := new(page)
	r, _, m := newRoomlessRig(t, slog.New(slog.NewTextHandler(told, nil)), time.Millisecond)
	r.until("it was tried a few times", func() bool { return m.n.Load() >= 5 })
	if n := told.count("agent cannot be woken"); n != 1 {
		t.Errorf("it is told %d times that it cannot be woken, want once", n)
	}
	m.off.Store(false)
	r.workedOff()
	if n := told.count("agent can be woken again"); n != 1 {
		t.Errorf("it is told %d times that it can be woken again, want once", n)
	}
}
