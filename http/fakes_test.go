package http

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/replay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// emptyWasm is the smallest module: magic and version.
const emptyWasm = "\x00asm\x01\x00\x00\x00"

// fakeNode is Commands, Agents and History over a map.
type fakeNode struct {
	mu      sync.Mutex
	order   []events.AgentID
	agents  map[events.AgentID]projections.AgentView
	modules map[events.ModuleHash][]byte
	history map[events.Stream][]events.Recorded
	at      events.Position
	lag     bool // reads never reach a position
	late    bool // nobody is found before a position was waited for

	conversation string            // of the last ResolveFor
	entries      []events.Revision // that wait in every inbox
	repeat       int               // how often conversationHeld has its one event

	calls    int // that reached Commands
	deployed actors.DeployRequest
	sent     actors.SendRequest
	command  actors.Command
	stop     actors.StopRequest
	busy     bool // its guests: a stop waits
	update   actors.UpdateRequest
	bulk     actors.BulkRequest
	retried  events.MessageID
	letters  *projections.Letters
	hidden   map[events.Stream]events.StreamMetadata
	removed  time.Time                                                      // what RemovedUntil says
	settled  bool                                                           // no send is in flight
	fail     error                                                          // what every command returns
	onSend   func(context.Context, actors.SendRequest) (actors.Sent, error) // nil: handled, echoing the content
	onGet    func()
}

func newFakeNode() *fakeNode {
	return &fakeNode{
		agents:  map[events.AgentID]projections.AgentView{},
		modules: map[events.ModuleHash][]byte{},
		history: map[events.Stream][]events.Recorded{},
		repeat:  1,
	}
}

func (n *fakeNode) enter() (func(), error) {
	n.mu.Lock()
	n.calls++
	return n.mu.Unlock, n.fail
}

func (n *fakeNode) record(id events.AgentID, p events.Payload) events.Position {
	n.at++
	ev, err := events.Encode(events.NewEventID(), p, events.Metadata{Member: "node-1"})
	if err != nil {
		panic(err)
	}
	s := events.AgentStream(id)
	n.history[s] = append(n.history[s], events.Recorded{
		Event: ev, Stream: s, Revision: events.Revision(len(n.history[s])), Position: n.at,
		RecordedAt: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
	})
	return n.at
}

func (n *fakeNode) Deploy(_ context.Context, r actors.DeployRequest) (actors.Deployed, error) {
	leave, err := n.enter()
	defer leave()
	if err != nil {
		return actors.Deployed{}, err
	}
	n.deployed = r
	id, hash := events.NewAgentID(), events.HashModule(r.Wasm)
	n.modules[hash] = r.Wasm
	n.order = append(n.order, id)
	n.agents[id] = projections.AgentView{
		ID: id, Name: r.Name, Status: "running", Module: hash, ModuleSize: len(r.Wasm), Limits: r.Limits,
		Priority: r.Priority, Labels: r.Labels, Node: "node-1", Snapshotable: true,
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), UpdatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	at := n.record(id, events.AgentDeployed{AgentID: id, Name: r.Name, Module: hash})
	return actors.Deployed{ID: id, Position: at}, nil
}

func (n *fakeNode) Send(ctx context.Context, r actors.SendRequest) (actors.Sent, error) {
	leave, err := n.enter()
	n.sent = r
	leave()
	if err != nil {
		return actors.Sent{}, err
	}
	if n.onSend != nil {
		return n.onSend(ctx, r)
	}
	id := events.NewMessageID()
	reply := &events.Message{ID: events.NewMessageID(), Performative: events.Inform, Sender: r.To.String(),
		Receiver: r.Message.Sender, Content: r.Message.Content, ConversationID: "c-1"}
	return actors.Sent{MessageID: id, ConversationID: "c-1", Status: actors.Handled, Reply: reply, Position: 7}, nil
}

func (n *fakeNode) change(c actors.Command, status string, p events.Payload) (events.Position, error) {
	leave, err := n.enter()
	defer leave()
	if err != nil {
		return 0, err
	}
	n.command = c
	v, ok := n.agents[c.Agent]
	if !ok {
		return 0, events.ErrAgentNotFound
	}
	v.Status = status
	n.agents[c.Agent] = v
	if status == "" {
		delete(n.agents, c.Agent)
		n.order = remove(n.order, c.Agent)
	}
	return n.record(c.Agent, p), nil
}

func remove(ids []events.AgentID, id events.AgentID) []events.AgentID {
	var out []events.AgentID
	for _, v := range ids {
		if v != id {
			out = append(out, v)
		}
	}
	return out
}

func (n *fakeNode) Suspend(_ context.Context, c actors.Command) (events.Position, error) {
	return n.change(c, "suspended", events.AgentSuspended{Reason: c.Reason})
}

func (n *fakeNode) Resume(_ context.Context, c actors.Command) (events.Position, error) {
	return n.change(c, "running", events.AgentResumed{})
}

func (n *fakeNode) Stop(_ context.Context, r actors.StopRequest) (out actors.Stopped, err error) {
	n.stop = r
	switch {
	case n.busy:
		return actors.Stopped{Waits: true}, nil
	case r.Drain && r.Grace > 0:
		out.Position, err = n.change(r.Command, "draining", events.AgentStopRequested{Reason: r.Reason})
	default:
		out.Position, err = n.change(r.Command, "stopped", events.AgentStopped{Reason: r.Reason})
	}
	return out, err
}

func (n *fakeNode) Bulk(_ context.Context, r actors.BulkRequest) (actors.BulkResult, error) {
	leave, err := n.enter()
	defer leave()
	n.bulk = r
	return actors.BulkResult{Action: r.Action, DryRun: r.DryRun, Matched: 3, Changed: 2, Failed: 1, Agents: []actors.BulkAgent{{Name: "a", From: "running", Error: "no"}}, Position: n.at}, err
}

func (n *fakeNode) Update(_ context.Context, r actors.UpdateRequest) (events.Position, error) {
	n.update = r
	return n.change(r.Command, "running", events.AgentUpdated{Reason: r.Reason})
}

func (n *fakeNode) TryUpdate(_ context.Context, r actors.UpdateRequest) (replay.Trial, error) {
	leave, err := n.enter()
	defer leave()
	n.update = r
	return replay.Trial{From: 1, Messages: 2, Difference: &replay.Difference{Revision: 3, What: "reply", Recorded: "1", Now: "2"}}, err
}

func (n *fakeNode) Restart(_ context.Context, c actors.Command) (events.Position, error) {
	return n.change(c, "running", events.AgentRestarted{Reason: c.Reason})
}

func (n *fakeNode) Remove(_ context.Context, c actors.Command) (events.Position, error) {
	return n.change(c, "", events.AgentRemoved{})
}

func (n *fakeNode) Module(_ context.Context, h events.ModuleHash) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b, ok := n.modules[h]; ok {
		return b, nil
	}
	return nil, events.ErrModuleNotFound
}

func (n *fakeNode) List(cursor string, limit int) (projections.Page, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := 0
	if cursor != "" {
		at, err := strconv.Atoi(cursor)
		if err != nil {
			return projections.Page{}, events.Invalid("cursor", "was not given by a page")
		}
		from = at
	}
	page := projections.Page{Total: len(n.order)}
	for i := from; i < len(n.order); i++ {
		if limit > 0 && len(page.Agents) == limit {
			page.Next = strconv.Itoa(i)
			break
		}
		page.Agents = append(page.Agents, n.agents[n.order[i]])
	}
	return page, nil
}

func (n *fakeNode) Get(id events.AgentID) (projections.AgentView, bool) {
	if n.onGet != nil {
		n.onGet()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lag {
		return projections.AgentView{}, false
	}
	v, ok := n.agents[id]
	return v, ok
}

func (n *fakeNode) ResolveFor(ref, conversation string) (events.AgentID, error) {
	n.mu.Lock()
	n.conversation = conversation
	late := n.late
	n.mu.Unlock()
	if late {
		return events.AgentID{}, events.ErrAgentNotFound
	}
	return n.Resolve(ref)
}

func (n *fakeNode) Resolve(ref string) (events.AgentID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []events.AgentID
	for _, id := range n.order {
		if id.String() == ref || n.agents[id].Name == ref || len(ref) >= 4 && strings.HasPrefix(id.String(), ref) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return events.AgentID{}, fmt.Errorf("agent %q: %w", ref, events.ErrAgentNotFound)
	case 1:
		return found[0], nil
	}
	return events.AgentID{}, &events.AmbiguousError{Ref: ref, Matches: found}
}

func (n *fakeNode) Position() events.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at
}

func (n *fakeNode) WaitFor(ctx context.Context, p events.Position) error {
	n.mu.Lock()
	there := n.at >= p && !n.lag
	n.late = n.late && !there
	n.mu.Unlock()
	if there {
		return nil
	}
	if n.lag {
		return context.DeadlineExceeded // at once: the tests need not wait five seconds for it
	}
	<-ctx.Done()
	return ctx.Err()
}

func (n *fakeNode) ReadStream(_ context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	n.mu.Lock()
	all, ok := n.history[s]
	n.mu.Unlock()
	return func(yield func(events.Recorded, error) bool) {
		if !ok {
			yield(events.Recorded{}, fmt.Errorf("read %s: %w", s, events.ErrStreamNotFound))
			return
		}
		count := 0
		for i := range all {
			rec := all[i]
			if o.Direction == events.Backwards {
				rec = all[len(all)-1-i]
			}
			if o.Direction == events.Forwards && rec.Revision < o.From || o.Direction == events.Backwards && rec.Revision > o.From {
				continue
			}
			if count++; o.Max > 0 && count > o.Max || !yield(rec, nil) {
				return
			}
		}
	}
}

// The one message and its conversation that a fakeNode has heard.
const conversationHeld = "talk 1/2%"

func messageSaid() events.MessageID { return events.MessageID{0: 0x5a, 15: 1} }

func (n *fakeNode) heard() events.Recorded {
	agent := events.AgentID{0: 0xa9, 6: 0x40, 8: 0x80}
	ev, err := events.Encode(events.EventID{1}, events.MessageHandled{
		Message: events.Message{
			ID: messageSaid(), Performative: events.Request, Sender: principal, Receiver: agent.String(),
			Content: []byte("1"), ConversationID: conversationHeld,
		},
		Outcome: events.OutcomeOK, Fuel: 5, MeterVersion: 1,
	}, events.Metadata{CorrelationID: conversationHeld})
	if err != nil {
		panic(err)
	}
	return events.Recorded{Event: ev, Stream: events.AgentStream(agent), Revision: 1, Position: 7}
}

func (n *fakeNode) Find(id events.MessageID) (events.Position, bool) { return 7, id == messageSaid() }

func (n *fakeNode) StreamMetadata(_ context.Context, s events.Stream) (events.StreamMetadata, events.Revision, bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	md, ok := n.hidden[s]
	return md, 0, ok, nil
}

func (n *fakeNode) RemovedUntil() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removed
}

func (n *fakeNode) InFlight(*events.Message) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.settled
}

func (n *fakeNode) Open(events.AgentID, events.Revision) bool { return true }

func (n *fakeNode) Entries(events.AgentID) []events.Revision { return slices.Clone(n.entries) }

func (n *fakeNode) ReadAll(_ context.Context, o events.ReadAllOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		rec := n.heard()
		if o.Direction == events.Backwards { // the last event: reads have it, or will
			n.mu.Lock()
			rec.Position = n.at
			n.mu.Unlock()
			yield(rec, nil)
		} else if o.From <= 7 {
			yield(rec, nil)
		}
	}
}

func (n *fakeNode) ReadCorrelation(_ context.Context, id string, _ int) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		for range n.repeat {
			if id != conversationHeld || !yield(n.heard(), nil) {
				return
			}
		}
	}
}

// setAside puts messageSaid into the list of dead letters.
func (n *fakeNode) setAside() {
	agent := events.AgentID{0: 0xa9, 6: 0x40, 8: 0x80, 15: 2}
	p := events.MessageDeadLettered{
		Message: events.Message{ID: messageSaid(), Performative: events.Request, Sender: agent.String(), Receiver: "nobody", Content: []byte("1"), ConversationID: "c"},
		Reason:  events.DeadAgentNotFound, Attempts: 1,
	}
	n.record(agent, p)
	s := events.AgentStream(agent)
	n.letters = projections.NewLetters()
	n.letters.Apply(n.history[s][0], p)
	n.at = 0 // it does not count
}

func (n *fakeNode) RetryLetter(_ context.Context, c actors.Caller, id events.MessageID) (actors.Retried, error) {
	leave, err := n.enter()
	defer leave()
	n.retried = id
	return actors.Retried{MessageID: events.MessageID{1}, RetryOf: id, Receiver: events.AgentID{2}, Status: actors.Queued, Position: n.at}, err
}

// seen returns how many calls reached Commands.
func (n *fakeNode) seen() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

// running is a server on a real listener.
type running struct {
	*Client
	node   *fakeNode
	server *Server
	addr   string // host:port
	stop   func() // returns when Serve has
}

// start runs a server until the test ends; tune may change what it is made of.
func start(t *testing.T, tune func(*Config, *Deps)) *running {
	t.Helper()
	node := newFakeNode()
	node.setAside()
	ops := new(fakeOperations)
	cfg, deps := DefaultConfig(), Deps{Commands: node, Agents: node, History: node, Messages: node, Sends: node, Inboxes: node, Letters: node.letters, Operations: ops, Emergency: ops, Breakers: ops}
	if tune != nil {
		tune(&cfg, &deps)
	}
	srv, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(ClientOptions{URL: "http://" + ln.Addr().String(), Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, ln) }()
	r := &running{Client: client, node: node, server: srv, addr: ln.Addr().String()}
	r.stop = sync.OnceFunc(func() {
		client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *running) url(path string) string { return "http://" + r.addr + path }

// deploy makes an agent without going over the wire.
func (r *running) deploy(t *testing.T, name string) events.AgentID {
	t.Helper()
	d, err := r.node.Deploy(context.Background(), deployOf(name))
	if err != nil {
		t.Fatal(err)
	}
	r.node.mu.Lock()
	r.node.calls = 0
	r.node.mu.Unlock()
	return d.ID
}

// problem returns err as a *ProblemError, or fails the test.
func problem(t *testing.T, err error) *ProblemError {
	t.Helper()
	var pe *ProblemError
	if !errors.As(err, &pe) {
		t.Fatalf("got error %v, want a *ProblemError", err)
	}
	return pe
}

func deployOf(name string) actors.DeployRequest {
	return actors.DeployRequest{Name: name, Wasm: []byte(emptyWasm), Limits: events.DefaultLimits(), Priority: events.Normal}
}
