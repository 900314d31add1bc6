package actors

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// unclean has a record tell of unclean ends in a row, each while these ran.
func unclean(t *testing.T, path string, n int, runs ...guestRun) {
	t.Helper()
	for range n {
		l := openRunLog(t, path)
		for _, r := range runs {
			l.name(l.take(), r)
		}
	}
}

// reads calls look before each event that is read of one stream.
type reads struct {
	events.Store
	of   events.Stream
	look func()
}

// ReadStream implements events.Store.
func (s reads) ReadStream(ctx context.Context, of events.Stream, opts events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	all := s.Store.ReadStream(ctx, of, opts)
	if of != s.of {
		return all
	}
	return func(yield func(events.Recorded, error) bool) {
		for rec, err := range all {
			if s.look(); !yield(rec, err) {
				return
			}
		}
	}
}

// TestAWakeIsNamedWhileItRuns, and not after it.
func TestAWakeIsNamedWhileItRuns(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("echo", "echo")
	for range 3 {
		r.ask(id, `1`)
	}
	path := filepath.Join(t.TempDir(), "running")
	var mu sync.Mutex
	var named []Suspect
	r.running = openRunLog(t, path)
	r.before = func() {
		r.store.Store = reads{r.log, events.AgentStream(id), func() {
			mu.Lock()
			defer mu.Unlock()
			named = append(named, readRunning(t, path)...)
		}}
	}
	r.restart()
	r.ask(id, `2`)
	mu.Lock()
	defer mu.Unlock()
	want := Suspect{Agent: id, Kind: RunWake, Strikes: 1}
	if !slices.Contains(named, want) {
		t.Errorf("while it was woken the record had %v", named)
	}
	if left := readRunning(t, path); len(left) != 0 {
		t.Errorf("afterwards the record has %v", left)
	}
}

// TestAnAgentWhoseWakeEndsTheProcess fails by name without being woken, others go on,
// and a restart lets it run with an empty memory.
func TestAnAgentWhoseWakeEndsTheProcess(t *testing.T) {
	r := newRig(t, nil)
	id, other := r.deploy("deadly", "tally"), r.deploy("echo", "echo")
	r.wants(id, `{"op":"add","n":3}`, `{"seen":1,"total":3}`)
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	r.ask(id, `{"op":"add","n":4}`)
	path := filepath.Join(t.TempDir(), "running")
	unclean(t, path, maxWakeStrikes, wakeRun(id))
	r.running = openRunLog(t, path)
	r.restart()
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.eventually("it has failed", func() bool { return r.status(id) == "failed" })
	set := only[events.AgentFailed](r, events.AgentStream(id))
	if len(set) != 1 || set[0].Outcome != events.OutcomeNodeCrash || set[0].Crashes != maxWakeStrikes {
		t.Errorf("%+v", set)
	}
	if v, _ := r.agents.Get(id); v.LastError == nil || !strings.Contains(v.LastError.Detail, "while the agent was woken") {
		t.Errorf("its last error is shown as %+v", v.LastError)
	}
	if _, err := r.Send(context.Background(), request(id, `{"op":"get"}`)); !errors.Is(err, events.ErrAgentFailed) {
		t.Errorf("%v, want events.ErrAgentFailed", err)
	}
	r.wants(other, `1`, `1`)
	if err := r.command(r.Restart, id); err != nil {
		t.Fatal(err)
	}
	r.eventually("what was kept is handled", func() bool { return len(r.ends(id)) == 2 })
	r.wants(id, `{"op":"get"}`, `{"seen":1,"total":7}`)
	r.running = openRunLog(t, path) // nothing is held against it any more
	r.restart()
	r.wants(id, `{"op":"get"}`, `{"seen":1,"total":7}`)
}

// TestAWakeThatEndsWellIsForgotten, also by the next process, so that strikes are in a
// row.
func TestAWakeThatEndsWellIsForgotten(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("echo", "echo")
	r.ask(id, `1`)
	path := filepath.Join(t.TempDir(), "running")
	unclean(t, path, maxWakeStrikes-1, wakeRun(id))
	r.running = openRunLog(t, path)
	r.restart()
	r.wants(id, `2`, `2`)
	if got := openRunLog(t, path).strikes(wakeRun(id)); got != 0 {
		t.Errorf("%d strikes are left", got)
	}
}

// TestAnInterruptedRunKeepsItsStrike: it has not come to its end.
func TestAnInterruptedRunKeepsItsStrike(t *testing.T) {
	r := newRig(t, nil)
	id := r.spinning()
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	held := r.ask(id, `1`)
	path := filepath.Join(t.TempDir(), "running")
	what := messageRun(id, held.MessageID)
	unclean(t, path, maxStrikes-1, what)
	r.running = openRunLog(t, path)
	r.before = func() { r.sys.runGrace = 0 }
	r.restart()
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.until("it runs", func() bool {
		return slices.ContainsFunc(readRunning(t, path), func(s Suspect) bool { return s.is(what) })
	})
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	if got := r.running.strikes(what); got != maxStrikes-1 {
		t.Errorf("%d strikes, want %d", got, maxStrikes-1)
	}
}

// TestAMigrationThatEndsTheProcess is refused by name, tried or meant, and the agent goes on.
func TestAMigrationThatEndsTheProcess(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("tally", "tally")
	r.wants(id, `{"op":"add","n":3}`, `{"seen":1,"total":3}`)
	to := UpdateRequest{}
	toModule("tally-2")(&to)
	path := filepath.Join(t.TempDir(), "running")
	unclean(t, path, maxStrikes, migrationRun(id, events.HashModule(to.Wasm)))
	r.running = openRunLog(t, path)
	r.restart()
	var failed *events.MigrationError
	for range 2 {
		if err := r.updateErr(id, toModule("tally-2")); !errors.As(err, &failed) || failed.Outcome != events.OutcomeNodeCrash {
			t.Fatalf("%v, want a *events.MigrationError with %s", err, events.OutcomeNodeCrash)
		}
	}
	to.Agent = id
	if out, err := r.TryUpdate(context.Background(), to); !errors.As(err, &failed) || failed.Outcome != events.OutcomeNodeCrash {
		t.Errorf("a dry run says %+v, %v; want what the update says", out, err)
	}
	r.wants(id, `{"op":"get"}`, `{"seen":1,"total":3}`)
	other := r.deploy("another", "tally")
	r.update(other, toModule("tally-2"))
}
