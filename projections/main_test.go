package projections

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func agentID(n byte) events.AgentID { return events.AgentID{0: 0xa9, 15: n} }

// began is when the first event of a tape was recorded; each comes a second
// later.
func began() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// set is one of each fold.
type set struct {
	agents   *Agents
	inFlight *InFlight
	inboxes  *Inboxes
}

func newSet() *set { return &set{NewAgents("node-1"), NewInFlight(), NewInboxes()} }

func (s *set) folds() []Fold { return []Fold{s.agents, s.inFlight, s.inboxes} }

// facts is all that a set answers, in an order of its own.
type facts struct {
	Agents   []AgentView
	InFlight map[Pair][]Sent
	Sends    int
	Waiting  []string
	Entries  int
}

func (s *set) facts(tb rapid.TB) facts {
	tb.Helper()
	page, err := s.agents.List("", 0)
	if err != nil {
		tb.Fatal(err)
	}
	f := facts{Agents: page.Agents, InFlight: map[Pair][]Sent{}, Sends: s.inFlight.Len(), Entries: s.inboxes.Len()}
	s.inFlight.mu.Lock()
	pairs := slices.Collect(maps.Keys(s.inFlight.pairs))
	s.inFlight.mu.Unlock()
	for _, pair := range pairs {
		f.InFlight[pair] = s.inFlight.Next(pair, 0, 1<<20)
	}
	for _, id := range s.inboxes.Waiting() {
		f.Waiting = append(f.Waiting, id.String())
	}
	slices.Sort(f.Waiting)
	return f
}

// tape feeds folds without a store: it gives events their places as a log would.
type tape struct {
	folds []Fold
	next  events.Position
	heads map[events.Stream]events.Revision // of the next event
}

func newTape(folds ...Fold) *tape {
	return &tape{folds: folds, heads: map[events.Stream]events.Revision{}}
}

func (t *tape) put(s events.Stream, p events.Payload) events.Recorded {
	rec := events.Recorded{
		Event:  events.Event{Type: p.EventType()},
		Stream: s, Revision: t.heads[s], Position: t.next, RecordedAt: began().Add(time.Duration(t.next) * time.Second),
	}
	t.heads[s]++
	t.next++
	for _, f := range t.folds {
		f.Apply(rec, p)
	}
	return rec
}

// agent puts events into the stream of agent n.
func (t *tape) agent(n byte, list ...events.Payload) (last events.Recorded) {
	for _, p := range list {
		last = t.put(events.AgentStream(agentID(n)), p)
	}
	return last
}

func (t *tape) inbox(n byte) events.Revision {
	return t.put(events.InboxStream(agentID(n)), events.MessageReceived{}).Revision
}

func deployed(n byte, name string) events.AgentDeployed {
	return events.AgentDeployed{
		AgentID: agentID(n), Name: name, Module: events.HashModule([]byte{n}), ModuleSize: 8,
		Limits: events.DefaultLimits(), Priority: events.Normal,
	}
}

func openStore(tb testing.TB) *pebblestore.Store {
	tb.Helper()
	s, err := pebblestore.Open(tb.TempDir(), pebblestore.DefaultOptions())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// put appends events to the end of a stream and returns the last one's position.
func put(tb testing.TB, s events.Store, stream events.Stream, list ...events.Payload) events.Position {
	tb.Helper()
	evs := make([]events.Event, 0, len(list))
	for _, p := range list {
		ev, err := events.Encode(events.NewEventID(), p, events.Metadata{})
		if err != nil {
			tb.Fatal(err)
		}
		evs = append(evs, ev)
	}
	res, err := s.Append(tb.Context(), stream, events.Any(), evs...)
	if err != nil {
		tb.Fatal(err)
	}
	return res.Position
}

// running is a runner at work. Its end is the test's, or an earlier stop.
type running struct {
	*Runner
	cancel context.CancelFunc
	done   chan error
}

func run(tb testing.TB, s events.Store, folds ...Fold) *running {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{NewRunner(s, slog.New(slog.DiscardHandler), folds...), cancel, make(chan error, 1)}
	go func() {
		defer close(r.done)
		r.done <- r.Run(ctx)
	}()
	tb.Cleanup(func() { r.stop() })
	return r
}

// stop ends the runner and returns what Run returned; nil if it was stopped
// before.
func (r *running) stop() error {
	r.cancel()
	return <-r.done
}

// wait returns when the runner has seen p.
func (r *running) wait(tb testing.TB, p events.Position) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	if err := r.WaitFor(ctx, p); err != nil {
		tb.Fatalf("wait for position %d: %v", p, err)
	}
}

// same ends the test if two values differ; nil and empty are equal.
func same(tb rapid.TB, what string, got, want any) {
	tb.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Sent{}, "Deadline")); diff != "" {
		tb.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func names(list []AgentView) string {
	var out []string
	for _, v := range list {
		out = append(out, v.Name)
	}
	return strings.Join(out, " ")
}
