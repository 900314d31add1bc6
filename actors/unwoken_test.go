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
