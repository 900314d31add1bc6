package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton-run/caxton/events"
)

// positions is a fold that keeps the places of what it was given.
type positions struct {
	mu   sync.Mutex
	list []events.Position // guarded by mu
}

func (p *positions) Apply(rec events.Recorded, _ events.Payload) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, rec.Position)
}

func (p *positions) get() []events.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]events.Position(nil), p.list...)
}

// Runners that start while others write see each event once, in order, wherever
// catching up ends and following begins.
func TestSeam(t *testing.T) {
	const writers, each, runners = 4, 60, 6
	s := openStore(t)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			id := agentID(byte(w))
			for i := range each {
				stream, p := events.InboxStream(id), events.Payload(events.MessageReceived{})
				if i%3 == 0 {
					stream, p = events.Stream("module-x"), events.ModuleUploaded{}
				}
				put(t, s, stream, p)
			}
		})
	}
	folds := make([]*positions, runners)
	running := make([]*running, runners)
	for i := range runners {
		folds[i] = &positions{}
		running[i] = run(t, s, folds[i])
		<-running[i].Ready()
	}
	group.Wait()
	last := put(t, s, events.AgentStream(agentID(0)), events.AgentSuspended{})
	var want []events.Position
	filter := events.Filter{Categories: []events.Category{events.CategoryAgent, events.CategoryInbox}}
	for rec, err := range s.ReadAll(t.Context(), events.ReadAllOptions{Filter: filter}) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, rec.Position)
	}
	if len(want) != writers*each*2/3+1 {
		t.Fatalf("the log has %d events of agents", len(want))
	}
	for i, r := range running {
		r.wait(t, last)
		same(t, fmt.Sprintf("runner %d", i), folds[i].get(), want)
		if got := r.Applied(); got != uint64(len(want)) {
			t.Errorf("runner %d applied %d events, want %d", i, got, len(want))
		}
		if r.Position() != last {
			t.Errorf("runner %d is at %d, want %d", i, r.Position(), last)
		}
		if err := r.stop(); err != nil {
			t.Errorf("runner %d ended with %v", i, err)
		}
	}
}

// What is recorded between the look at the head and the read belongs to the
// subscription, and to it alone.
func TestSeamWithinTheRead(t *testing.T) {
	for _, behind := range []int{1, 2, 3} {
		m, seen := newMemStore(), &positions{}
		var want []events.Position
		for i := range 3 {
			want = append(want, m.add(events.AgentStream(agentID(1)), events.Revision(i), events.AgentSuspended{}))
		}
		m.behind = behind
		r := run(t, m, seen)
		r.wait(t, 2)
		same(t, fmt.Sprintf("with %d events since the look at the head", behind), seen.get(), want)
		if r.Applied() != 3 || r.Position() != 2 {
			t.Fatalf("applied %d, at %d", r.Applied(), r.Position())
		}
	}
}

// A log that ends with other events is caught up all the same.
func TestCatchUpReachesTheHead(t *testing.T) {
	s := openStore(t)
	empty := run(t, s)
	<-empty.Ready()
	if empty.Position() != 0 || empty.Applied() != 0 {
		t.Fatalf("an empty log: at %d with %d applied", empty.Position(), empty.Applied())
	}
	put(t, s, events.AgentStream(agentID(1)), deployed(1, "a"))
	head := put(t, s, "module-x", events.ModuleUploaded{})
	r := run(t, s)
	<-r.Ready()
	if r.Position() != head || r.Applied() != 1 {
		t.Fatalf("at %d with %d applied, want %d with 1", r.Position(), r.Applied(), head)
	}
	r.wait(t, head)
}

func TestRunnerSurfacesErrors(t *testing.T) {
	broken := errors.New("broken")
	agent := events.AgentStream(agentID(1))
	bad := events.Event{Type: "AgentDeployed", ContentType: events.JSON, Data: []byte("{")}
	for name, c := range map[string]struct {
		harm  func(*memStore)
		is    error
		ready bool
	}{
		"head":         {func(m *memStore) { m.headErr = broken }, broken, false},
		"read":         {func(m *memStore) { m.readErr = broken }, broken, false},
		"subscribe":    {func(m *memStore) { m.subErr = broken }, broken, true},
		"follow":       {func(m *memStore) { m.nextErr = broken }, broken, true},
		"closed store": {func(m *memStore) { m.nextErr = events.ErrClosed }, nil, true},
		"damage":       {func(m *memStore) { m.addEvent(agent, 1, bad) }, events.ErrCorrupt, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemStore()
			m.add(agent, 0, deployed(1, "a"))
			c.harm(m)
			set := newSet()
			r := run(t, m, set.folds()...)
			if err := <-r.done; !errors.Is(err, c.is) || (err == nil) != (c.is == nil) {
				t.Fatalf("Run ended with %v, want %v", err, c.is)
			}
			ready := false
			select {
			case <-r.Ready():
				ready = true
			default:
			}
			if ready != c.ready {
				t.Fatalf("ready is %v", ready)
			}
			if err := r.WaitFor(t.Context(), 99); !errors.Is(err, events.ErrClosed) {
				t.Fatalf("waiting for a runner that has ended gives %v", err)
			}
			if len(r.waiters) != 0 {
				t.Fatalf("%d waiters are left", len(r.waiters))
			}
		})
	}
}

func TestDamageWhileFollowing(t *testing.T) {
	m := newMemStore()
	agent := events.AgentStream(agentID(1))
	m.add(agent, 0, deployed(1, "a"))
	set := newSet()
	r := run(t, m, set.folds()...)
	<-r.Ready()
	m.addEvent(agent, 1, events.Event{Type: "AgentRemoved", ContentType: events.JSON, Data: []byte("[]")})
	err := <-r.done
	if !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), "position 1") {
		t.Fatalf("Run ended with %v", err)
	}
	if set.agents.Len() != 1 || r.Position() != 0 {
		t.Fatalf("%d agents at %d: the damaged event was applied", set.agents.Len(), r.Position())
	}
}

// Types of a later version are passed over, and so is whatever stands in a
// stream that only looks like an agent's.
func TestRunnerPassesOver(t *testing.T) {
	m := newMemStore()
	m.addEvent(events.AgentStream(agentID(1)), 0, events.Event{Type: "AgentPainted", Data: []byte("{")})
	m.addEvent("agent-x", 0, events.Event{Type: "AgentDeployed", Data: []byte("{")})
	last := m.add(events.AgentStream(agentID(1)), 1, deployed(1, "a"))
	set, seen := newSet(), &positions{}
	r := run(t, m, append(set.folds(), seen)...)
	r.wait(t, last)
	if set.agents.Len() != 1 || r.Applied() != 3 {
		t.Fatalf("%d agents after %d events", set.agents.Len(), r.Applied())
	}
	same(t, "given to folds", seen.get(), []events.Position{last})
}

// An event that a later caxton wrote is not passed over as one of an unknown type
// is: the folds would go on without it.
func TestRunnerStopsAtANewerSchema(t *testing.T) {
	m := newMemStore()
	m.add(events.AgentStream(agentID(1)), 0, deployed(1, "a"))
	m.addEvent(events.AgentStream(agentID(1)), 1, events.Event{
		ID: events.EventID{7}, Type: "AgentSuspended", Data: []byte("{}"),
		Metadata: events.Metadata{SchemaVersion: events.SchemaVersion("AgentSuspended") + 1}.Encode(),
	})
	set := newSet()
	r := NewRunner(m, slog.New(slog.DiscardHandler), set.folds()...)
	err := r.Run(t.Context())
	var newer *events.NewerSchemaError
	if !errors.As(err, &newer) || newer.Event != (events.EventID{7}) || !strings.Contains(err.Error(), "position 1") {
		t.Fatalf("%v, want a NewerSchemaError at position 1", err)
	}
	if v, _ := set.agents.Get(agentID(1)); v.Status != "running" || r.Applied() != 1 {
		t.Fatalf("the agent is %s after %d events", v.Status, r.Applied())
	}
}

func TestRunnerStops(t *testing.T) {
	t.Run("while following", func(t *testing.T) {
		r := run(t, openStore(t), newSet().folds()...)
		<-r.Ready()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("while catching up", func(t *testing.T) {
		m := newMemStore()
		m.add(events.AgentStream(agentID(1)), 0, deployed(1, "a"))
		m.reading = make(chan struct{})
		r := run(t, m)
		<-m.reading
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("with its store", func(t *testing.T) {
		s := openStore(t)
		r := run(t, s)
		<-r.Ready()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestProgress(t *testing.T) {
	m := newMemStore()
	for i := range 2*progressEvery + 1 {
		m.add(events.AgentStream(agentID(1)), events.Revision(i), events.AgentSuspended{})
	}
	var out bytes.Buffer
	r := NewRunner(m, slog.New(slog.NewTextHandler(&out, nil)))
	m.nextErr = events.ErrClosed
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d reports, want 2:\n%s", len(lines), out.String())
	}
	for i, line := range lines {
		n := (i + 1) * progressEvery
		if want := fmt.Sprintf(`msg="rebuilding projections" events=%d position=%d of=%d`, n, n-1, 2*progressEvery); !strings.HasSuffix(line, want) {
			t.Errorf("report %q, want %q", line, want)
		}
	}
}

func TestWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemStore()
		r := NewRunner(m, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()

		const n = 20
		var mu sync.Mutex
		var reached []int // guarded by mu
		for _, i := range []int{7, 3, 19, 0, 11, 5, 2, 13, 17, 1, 4, 6, 8, 9, 10, 12, 14, 15, 16, 18} {
			go func() {
				if err := r.WaitFor(t.Context(), events.Position(i)); err != nil {
					t.Errorf("wait for %d: %v", i, err)
				}
				mu.Lock()
				defer mu.Unlock()
				reached = append(reached, i)
			}()
		}
		var want []int
		for i := range n {
			synctest.Wait()
			same(t, "reached", reached, want)
			m.add(events.AgentStream(agentID(1)), events.Revision(i), events.AgentSuspended{})
			want = append(want, i)
		}
		synctest.Wait()
		same(t, "reached", reached, want)

		timeout, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := r.WaitFor(timeout, n); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("waiting past its time gives %v", err)
		}
		left := make(chan error, 1)
		go func() { left <- r.WaitFor(t.Context(), 1<<64-1) }()
		synctest.Wait()
		m.add(events.AgentStream(agentID(1)), n, events.AgentSuspended{})
		synctest.Wait()
		if len(r.waiters) != 1 {
			t.Fatalf("%d waiters, want only the one for a position that never comes", len(r.waiters))
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := <-left; !errors.Is(err, events.ErrClosed) {
			t.Fatalf("the last waiter got %v", err)
		}
		if err := r.WaitFor(t.Context(), n); err != nil {
			t.Fatalf("a position reached before the end gives %v", err)
		}
	})
}
