package projections

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// world is a few agents that live at random: what the tests of this file write
// comes from agent.Decide, as it does in the live system.
type world struct {
	tb     rapid.TB
	intn   func(n int) int // draws from [0, n)
	write  func(events.Stream, events.Payload)
	agents map[byte]*agent.State
	inbox  map[byte]events.Revision // of the next entry
	sent   map[Pair][]events.Message
	now    int64
	count  byte                       // messages of outsiders
	dress  func(n byte, r *agent.Run) // may add to a run before it is decided
}

func newWorld(tb rapid.TB, intn func(int) int, write func(events.Stream, events.Payload)) *world {
	return &world{
		tb: tb, intn: intn, write: write, agents: map[byte]*agent.State{},
		inbox: map[byte]events.Revision{}, sent: map[Pair][]events.Message{}, now: began().UnixMicro(),
	}
}

// population is how many agents a world has at most; the last is never deployed,
// so what is sent to it leads nowhere.
const population = 6

func (w *world) step() {
	n := byte(w.intn(population))
	st := w.agents[n]
	if st == nil {
		if n < population-1 {
			w.agents[n] = new(agent.State)
			w.do(n, agent.Deploy{Event: deployed(n, fmt.Sprintf("agent-%d", n%2))})
		}
		return
	}
	switch w.intn(16) {
	case 0:
		w.do(n, agent.Suspend{})
	case 1, 2:
		w.do(n, agent.Resume{})
	case 3:
		if w.intn(8) == 0 {
			w.do(n, agent.Remove{})
		}
	case 4, 5:
		w.write(events.InboxStream(agentID(n)), events.MessageReceived{Message: waits(n, w.inbox[n])})
		w.inbox[n]++
	case 6, 7:
		w.fromInbox(n, st)
	case 8, 9, 10:
		w.count++
		w.run(n, events.Message{ID: events.MessageID{15: w.count}, Sender: "user:a"}, nil)
	case 11:
		w.giveUp(n)
	default:
		w.deliver(n)
	}
}

// do decides and writes; a refused command writes nothing.
func (w *world) do(n byte, c agent.Command) {
	st := w.agents[n]
	list, err := agent.Decide(st, c)
	if err != nil {
		return
	}
	for _, p := range list {
		rev := events.Revision(0)
		if st.Exists() {
			rev = st.Revision + 1
		}
		if err := st.Apply(rev, p); err != nil {
			w.tb.Fatal(err)
		}
		w.write(events.AgentStream(agentID(n)), p)
		for _, m := range sendsOf(p) {
			to, _ := events.ParseAgentID(m.Receiver)
			w.sent[Pair{agentID(n), to, m.Class()}] = append(w.sent[Pair{agentID(n), to, m.Class()}], m)
		}
	}
}

func (w *world) run(n byte, m events.Message, inbox *events.Revision) {
	w.now++
	r := agent.Run{Message: m, Inbox: inbox, Host: events.HostRecord{NowMicros: w.now}, Fuel: 3}
	r.Status = []events.OutcomeStatus{
		events.OutcomeOK, events.OutcomeOK, events.OutcomeOK, events.OutcomeTrap, events.OutcomeTimeout, events.OutcomeNoHandler,
	}[w.intn(6)]
	for range w.intn(3) {
		m := events.Message{Priority: []events.Priority{"", events.Low, events.Critical}[w.intn(3)]}
		r.Sends = append(r.Sends, agent.Outgoing{Message: m, To: agentID(byte(w.intn(population)))})
	}
	if w.intn(4) == 0 {
		r.Sends = append(r.Sends, agent.Outgoing{Message: events.Message{Receiver: "nobody"}, Dead: events.DeadAgentNotFound})
	}
	if w.dress != nil {
		w.dress(n, &r)
	}
	w.do(n, agent.Finish{Run: r})
}

func (w *world) fromInbox(n byte, st *agent.State) {
	rev := st.InboxNext() + events.Revision(w.intn(2))
	switch {
	case rev >= w.inbox[n] || st.InboxDone(rev):
	case st.Status == agent.Removed:
		w.do(n, agent.DeadLetter{Event: events.MessageDeadLettered{Message: waits(n, rev), Inbox: &rev}})
	case w.intn(4) == 0:
		w.do(n, agent.SkipInbox{Event: events.InboxSkipped{Inbox: rev}})
	default:
		w.run(n, waits(n, rev), &rev)
	}
}

// waits is the message of an inbox entry.
func waits(n byte, rev events.Revision) events.Message {
	return events.Message{ID: events.MessageID{13: n + 1, 14: 1, 15: byte(rev)}, Sender: "user:b"}
}

// deliver has an agent handle the next send of somebody to it.
func (w *world) deliver(to byte) {
	from := agentID(byte(w.intn(population)))
	st := w.agents[to]
	class := []events.Priority{events.Normal, events.Low, events.Critical}[w.intn(3)]
	for _, m := range w.sent[Pair{from, agentID(to), class}] {
		if !st.Seen(&m) {
			w.run(to, m, nil)
			return
		}
	}
}

func (w *world) giveUp(from byte) {
	list := w.sent[pair(from, byte(w.intn(population)))]
	if len(list) > 0 {
		m := list[w.intn(len(list))]
		w.do(from, agent.DeadLetter{Event: events.MessageDeadLettered{Message: m, Reason: events.DeadRefused}})
	}
}

func sendsOf(p events.Payload) []events.Message {
	switch p := p.(type) {
	case events.MessageHandled:
		return p.Sends
	case events.MessageFailed:
		return p.Sends
	case events.AgentQuarantined:
		return p.Sends
	}
	return nil
}

// naive answers what the folds answer by looking at a whole history and at the
// states it led to.
type naive struct {
	sends   map[Pair]map[uint64]Sent
	entries map[byte]map[events.Revision]struct{}
	heads   map[events.Stream]events.Revision // of the next event
}

func newNaive() *naive {
	n := &naive{sends: map[Pair]map[uint64]Sent{}, entries: map[byte]map[events.Revision]struct{}{}, heads: map[events.Stream]events.Revision{}}
	return n
}

func (n *naive) add(s events.Stream, p events.Payload) {
	id, _ := s.AgentID()
	rev := n.heads[s]
	n.heads[s]++
	if _, ok := p.(events.MessageReceived); ok {
		if n.entries[id[15]] == nil {
			n.entries[id[15]] = map[events.Revision]struct{}{}
		}
		n.entries[id[15]][rev] = struct{}{}
	}
	if letter, ok := p.(events.MessageDeadLettered); ok {
		to, _ := events.ParseAgentID(letter.Message.Receiver)
		delete(n.sends[Pair{id, to, letter.Message.Class()}], letter.Message.Sequence)
	}
	for i, m := range sendsOf(p) {
		to, _ := events.ParseAgentID(m.Receiver)
		if n.sends[Pair{id, to, m.Class()}] == nil {
			n.sends[Pair{id, to, m.Class()}] = map[uint64]Sent{}
		}
		n.sends[Pair{id, to, m.Class()}][m.Sequence] = Sent{Sequence: m.Sequence, Revision: rev, Index: i}
	}
}

// facts are those of the agents' states, and of the history where they say
// nothing.
func (n *naive) facts(w *world, views []AgentView) facts {
	f := facts{Agents: views, InFlight: map[Pair][]Sent{}}
	for pair, list := range n.sends {
		for _, seq := range slices.Sorted(maps.Keys(list)) {
			if st := w.agents[pair.To[15]]; st == nil || !st.Seen(&events.Message{Sender: pair.From.String(), Priority: pair.Class, Sequence: seq}) {
				f.InFlight[pair] = append(f.InFlight[pair], list[seq])
				f.Sends++
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(n.entries)) {
		st, open := w.agents[id], 0
		for rev := range n.entries[id] {
			if st == nil || !st.InboxDone(rev) {
				open++
			}
		}
		held := st != nil && st.Status != agent.Running && st.Status != agent.Removed
		if f.Entries += open; open > 0 && !held {
			f.Waiting = append(f.Waiting, agentID(id).String())
		}
	}
	return f
}

// Folds say of any history what its agents' states say.
func TestFoldsAgreeWithStates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, slow := newSet(), newNaive()
		log := newTape(set.folds()...)
		w := newWorld(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "draw") }, func(s events.Stream, p events.Payload) {
			log.put(s, p)
			slow.add(s, p)
		})
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			w.step()
			got := set.facts(t)
			same(t, "facts", got, slow.facts(w, got.Agents))
			checkViews(t, w, got.Agents)
		}
	})
}

func checkViews(t *rapid.T, w *world, views []AgentView) {
	living := 0
	for _, st := range w.agents {
		if st.Status != agent.Removed {
			living++
		}
	}
	if len(views) != living {
		t.Fatalf("lists %d agents, %d live", len(views), living)
	}
	for _, v := range views {
		st := w.agents[v.ID[15]]
		if v.Status != string(st.Status) || v.Revision != st.Revision || v.MessagesHandled+v.MessagesFailed != st.Handled || v.Name != st.Name {
			t.Fatalf("view %+v of state %s at %d with %d handled", v, st.Status, st.Revision, st.Handled)
		}
	}
}

// Folds that followed the log from its beginning, that joined it at any time, and
// that were rebuilt from it afterwards answer alike.
func TestRebuildingEqualsFollowing(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := newRand(seed)
			s := openStore(t)
			var sets []*set
			var runners []*running
			join := func() {
				sets = append(sets, newSet())
				runners = append(runners, run(t, s, sets[len(sets)-1].folds()...))
			}
			var last events.Position
			w := newWorld(t, rng.IntN, func(stream events.Stream, p events.Payload) { last = put(t, s, stream, p) })
			for i := range 250 {
				if i%90 == 0 {
					join()
				}
				w.step()
			}
			join()
			for _, r := range runners {
				r.wait(t, last)
				if err := r.stop(); err != nil {
					t.Fatal(err)
				}
			}
			want := sets[0].facts(t)
			if want.Sends == 0 { // some worlds die out, but what they sent stays
				t.Fatalf("a history that proves nothing: %+v", want)
			}
			for i, set := range sets[1:] {
				same(t, fmt.Sprintf("set %d", i+1), set.facts(t), want)
			}
		})
	}
}
