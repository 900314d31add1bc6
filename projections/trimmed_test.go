package projections

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// all is one of each fold.
type all struct {
	set
	timers   *Timers
	talks    *Conversations
	messages *Messages
	letters  *Letters
	storms   *Storms
}

func newAll() *all {
	return &all{*newSet(), NewTimers(), NewConversations(time.Hour), NewMessages(), NewLetters(), NewStorms()}
}

func (a *all) folds() []Fold {
	return append(a.set.folds(), a.timers, a.talks, a.messages, a.letters, a.storms)
}

// openTalk is what the timekeeper may come to know of a conversation.
type openTalk struct {
	From      events.Position
	Last      time.Time
	Open      int
	Exchanges []Exchange
}

// everything is all that a set of folds answers, but for messages.
type everything struct {
	Facts   facts
	Created []events.Position
	Skills  map[string][]events.AgentID
	Entries map[events.AgentID][]events.Revision
	Timers  []string
	Letters []Letter
	Talks   map[string]openTalk
	Storms  map[string]string // what is under way
	Found   []Storm
	Spread  []Storm
}

func (a *all) everything(tb rapid.TB) everything {
	tb.Helper()
	out := everything{
		Facts: a.facts(tb), Skills: map[string][]events.AgentID{}, Entries: map[events.AgentID][]events.Revision{},
		Talks: map[string]openTalk{}, Storms: map[string]string{}, Found: a.storms.found, Spread: a.storms.spread,
	}
	for _, e := range a.agents.order {
		out.Created = append(out.Created, e.created)
	}
	for name, list := range a.agents.skills {
		for _, e := range list {
			out.Skills[name] = append(out.Skills[name], e.view.ID)
		}
	}
	for id := range a.inboxes.waiting {
		out.Entries[id] = a.inboxes.Entries(id)
	}
	for id, of := range a.timers.agents {
		for _, x := range of.pending {
			out.Timers = append(out.Timers, fmt.Sprint(id, x.Timer, x.Revision, x.Due, x.index >= 0))
		}
	}
	slices.Sort(out.Timers)
	page, err := a.letters.List("", 1<<20)
	if err != nil {
		tb.Fatal(err)
	}
	out.Letters = page.Letters
	for id, w := range a.talks.byID {
		open := openTalk{From: w.from, Last: w.last, Open: w.talk.open}
		for _, x := range w.talk.order {
			open.Exchanges = append(open.Exchanges, x.Exchange)
		}
		out.Talks[id] = open
	}
	for id, e := range a.storms.recent {
		if g := e.Value.(*gathering); a.storms.newest.Sub(g.failures[len(g.failures)-1].at) <= stormOver {
			out.Storms[id.String()] = fmt.Sprint(g.from, g.failures, g.told)
		}
	}
	return out
}

// gappy is a log of which events are gone. It has what catching up needs.
type gappy struct {
	events.Store
	recs []events.Recorded
	head events.Position
}

func (g *gappy) Head(context.Context) (events.Position, bool, error) {
	return g.head, len(g.recs) > 0, nil
}

func (g *gappy) ReadAll(_ context.Context, o events.ReadAllOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		for _, rec := range g.recs {
			if o.Filter.Matches(rec.Stream, rec.Type) && !yield(rec, nil) {
				return
			}
		}
	}
}

// trimmed is a world whose agents' histories lose what is not needed.
type trimmed struct {
	*world
	live  *all
	recs  []events.Recorded
	heads map[events.Stream]events.Revision
	clock time.Time
	cut   map[events.Stream]events.Revision // first revision that is shown
	gone  map[events.Stream]events.Revision // first that a scavenge has left: at most that
	saved map[byte][]string                 // states that snapshots have, by agent
	first map[byte]events.HistoryTrimmed    // what is carried of how it was deployed
	steps int                               // histories trimmed
}

func newTrimmed(tb rapid.TB, intn func(int) int) *trimmed {
	x := &trimmed{
		live: newAll(), heads: map[events.Stream]events.Revision{}, clock: began(),
		cut: map[events.Stream]events.Revision{}, gone: map[events.Stream]events.Revision{}, saved: map[byte][]string{}, first: map[byte]events.HistoryTrimmed{},
	}
	x.world = newWorld(tb, intn, x.record)
	x.dress = x.talk
	return x
}

// record gives an event its place, as it comes back from the log.
func (x *trimmed) record(s events.Stream, p events.Payload) {
	md := events.Metadata{}
	switch e := p.(type) {
	case events.MessageFailed:
		md.CorrelationID, md.Ancestor = e.Message.ConversationID, cause(int(e.Message.ID[15]))
	case events.AgentCrashed:
		md.CorrelationID, md.Ancestor = conversation(int(e.MessageID[15])), cause(int(e.MessageID[15]))
	}
	pos := events.Position(len(x.recs))
	ev, err := events.Encode(events.EventID{14: byte(pos >> 8), 15: byte(pos)}, p, md)
	if err != nil {
		x.tb.Fatal(err)
	}
	x.clock = x.clock.Add([]time.Duration{time.Second, 4 * time.Second, 3 * time.Hour}[min(2, x.intn(40)/19)])
	rec := events.Recorded{Event: ev, Stream: s, Revision: x.heads[s], Position: pos, RecordedAt: x.clock}
	x.heads[s]++
	x.recs = append(x.recs, rec)
	if back, err := events.Decode(ev); err != nil {
		x.tb.Fatal(err)
	} else {
		for _, f := range x.live.folds() {
			f.Apply(rec, back)
		}
	}
	id, _ := s.AgentID()
	if d, ok := p.(events.AgentDeployed); ok {
		x.first[id[15]] = events.HistoryTrimmed{Deployed: d, DeployedAt: rec.RecordedAt, Position: pos}
	}
}

func conversation(n int) string { return fmt.Sprint("talk-", n%5) }

// cause is one of a few ancestors.
func cause(n int) events.MessageID { return ancestor(fmt.Sprint(n % 5)) }

// talk has runs speak in conversations, set timers, register capabilities, use keys.
func (x *trimmed) talk(n byte, r *agent.Run) {
	performatives := []events.Performative{"", events.Request, events.Query, events.CFP, events.Propose, events.AcceptProposal, events.Agree, events.Refuse, events.Cancel, events.Inform}
	if r.Message.ConversationID == "" {
		r.Message.ConversationID = conversation(x.intn(5))
	}
	r.Replied = x.intn(2) == 0
	for i := range r.Sends {
		r.Sends[i].Message.Performative = performatives[x.intn(len(performatives))]
	}
	st := x.agents[n]
	if x.intn(4) == 0 {
		r.Timers = append(r.Timers, agent.TimerChange{Timer: st.LastTimer() + 1, After: time.Minute})
	}
	for id := range st.LastTimer() {
		if st.HasTimer(id+1) && x.intn(3) == 0 {
			r.Timers = append(r.Timers, agent.TimerChange{Timer: id + 1, Cancel: true})
		}
	}
	if x.intn(6) == 0 {
		r.Capabilities = []string{[]string{"sing", "dance"}[x.intn(2)]}
	}
	if x.intn(8) == 0 {
		r.Key = agent.ScopedKey("user:a", fmt.Sprint(x.intn(9)))
	}
	r.Host.NowMicros = max(st.Now(0), x.clock.UnixMicro())
	if r.Message.ID.IsZero() || r.Message.ID[14] == 0 && r.Message.ID[13] == 0 && r.Message.Sequence == 0 {
		r.Message.ID[12] = byte(len(x.recs) >> 8)
		r.Message.ID[13] = byte(len(x.recs)) | 1
	}
}

func (x *trimmed) step() {
	n := byte(x.intn(population))
	st := x.agents[n]
	if st == nil || !st.Exists() {
		x.world.step()
		return
	}
	switch x.intn(12) {
	case 0:
		b, err := st.MarshalBinary()
		if err != nil {
			x.tb.Fatal(err)
		}
		x.saved[n] = append(x.saved[n], string(b))
	case 1:
		x.trim(n)
	case 2:
		x.retry()
		x.retry()
	case 6:
		x.work(n)
	case 3:
		x.do(n, agent.Restart{})
	case 4:
		if x.intn(2) == 0 {
			x.do(n, agent.Stop{Drain: true})
		} else {
			x.do(n, agent.Update{Limits: events.ResourceLimits{MaxFuel: events.Fuel(1 + x.intn(3))}, Labels: &events.Labels{"n": fmt.Sprint(x.intn(3))}})
		}
	case 5:
		for _, e := range x.live.talks.TakeExpired(x.clock, 9) {
			x.do(e.Agent[15], agent.TimeOut{Event: e.Event})
		}
		x.live.storms.Take()
		x.live.storms.TakeSpread()
		x.live.storms.Recorded()
	default:
		x.world.step()
	}
}

// work has an agent handle all that is in flight to it and waits in its inbox, and
// give up what it sent to nobody.
func (x *trimmed) work(n byte) {
	for _, rev := range x.live.inboxes.Entries(agentID(n)) {
		if x.agents[n].Status.Runs() {
			x.run(n, waits(n, rev), &rev)
		}
	}
	order := func(a, b Pair) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	for _, p := range slices.SortedFunc(maps.Keys(x.sent), order) {
		st := x.agents[p.To[15]]
		nobody := st == nil || st.Status == agent.Removed
		for _, s := range x.live.inFlight.Next(p, 0, 1<<20) {
			m := x.sent[p][s.Sequence-1]
			switch {
			case nobody && p.From == agentID(n):
				x.do(n, agent.DeadLetter{Event: events.MessageDeadLettered{Message: m, Reason: events.DeadAgentNotFound}})
			case p.To == agentID(n) && st.Status.Runs():
				x.run(n, m, nil)
			}
		}
	}
}

// retry sees to a letter.
func (x *trimmed) retry() {
	page, err := x.live.letters.List("", 1<<20)
	if err != nil || len(page.Letters) == 0 {
		return
	}
	l := page.Letters[x.intn(len(page.Letters))]
	x.do(l.Agent[15], agent.RetryLetter{Event: events.DeadLetterRetried{MessageID: l.MessageID}})
}

// trim does what the keeper of histories does: it finds the line, and gives up what
// is below it.
func (x *trimmed) trim(n byte) {
	st, stream := x.agents[n], events.AgentStream(agentID(n))
	settled := min(x.live.talks.Settled(), x.live.storms.Settled())
	needed := map[events.AgentID]events.Revision{}
	x.live.inFlight.Oldest(needed)
	if !x.live.letters.Oldest(needed) || len(x.saved[n]) == 0 {
		return
	}
	var old agent.State
	if err := old.UnmarshalBinary([]byte(x.saved[n][x.intn(len(x.saved[n]))])); err != nil {
		x.tb.Fatal(err)
	}
	line := min(st.SafeLine(), old.Revision+1)
	if at, ok := needed[st.ID]; ok {
		line = min(line, at)
	}
	for _, rec := range x.recs {
		if rec.Stream == stream && rec.Position >= settled {
			line = min(line, rec.Revision)
			break
		}
	}
	if line <= x.cut[stream] || st.Status != agent.Running {
		return
	}
	e := x.first[n]
	e.Before, e.Settled = line, settled
	var at events.Revision
	if e.Totals, at, _ = x.live.agents.Totals(st.ID); at != st.Revision {
		x.tb.Fatalf("the view is of %d, the state of %d", at, st.Revision)
	}
	list, err := agent.Decide(st, agent.Trim{Event: e})
	if err != nil {
		return // it does not run
	}
	x.do(n, agent.Trim{Event: list[0].(events.HistoryTrimmed)})
	x.cut[stream] = line
	if x.intn(2) == 0 {
		x.cut[events.InboxStream(st.ID)] = st.InboxNext()
	}
	x.steps++
}

// scavenge drops what is hidden of some streams, and of others a part: it takes one
// after the other, and may end anywhere.
func (x *trimmed) scavenge() {
	for _, s := range slices.Sorted(maps.Keys(x.cut)) {
		switch hidden := int(x.cut[s] - x.gone[s]); x.intn(3) {
		case 0:
			x.gone[s] = x.cut[s]
		case 1:
			x.gone[s] += events.Revision(x.intn(hidden + 1))
		}
	}
}

// rebuilt is every fold of what is left of the log.
func (x *trimmed) rebuilt() *all {
	x.scavenge()
	g := &gappy{head: events.Position(len(x.recs) - 1)}
	for _, rec := range x.recs {
		if rec.Revision >= x.gone[rec.Stream] {
			g.recs = append(g.recs, rec)
		}
	}
	a := newAll()
	r := NewRunner(g, slog.New(slog.DiscardHandler), a.folds()...)
	if err := r.catchUp(context.Background(), Followed()); err != nil {
		x.tb.Fatal(err)
	}
	return a
}

// checkMessages holds what is found of messages to what was: the same event, or none
// because no event is left, or an older one that is known to be out of date.
func (x *trimmed) checkMessages(a *all) {
	for id, want := range x.live.messages.at {
		got, ok := a.messages.Find(id)
		if ok && got == want {
			continue
		}
		if rec := x.recs[want]; rec.Revision >= x.gone[rec.Stream] {
			x.tb.Fatalf("message %s: found at %d (%v), and the event at %d is still there", id, got, ok, want)
		}
		if !ok {
			continue
		}
		rec := x.recs[got]
		p, err := events.Decode(rec.Event)
		if err != nil {
			x.tb.Fatal(err)
		}
		view, _ := FindMessage(rec, p, id)
		agentOf, _ := rec.Stream.AgentID()
		switch {
		case view.Status == MessageInFlight && !a.inFlight.InFlight(&view.Message):
		case view.Status != MessageInFlight && view.Status != MessageQueued: // it ended so too: given up while it was on its way
		case view.Status == MessageQueued && !a.inboxes.Open(agentOf, rec.Revision):
		default:
			x.tb.Fatalf("message %s is said to be %s; the event at %d that said more is gone, and nothing tells", id, view.Status, want)
		}
	}
}

// checkStates wakes agents from snapshots above what they have lost.
func (x *trimmed) checkStates() {
	for n, list := range x.saved {
		stream := events.AgentStream(agentID(n))
		for _, b := range list {
			var st agent.State
			if err := st.UnmarshalBinary([]byte(b)); err != nil {
				x.tb.Fatal(err)
			}
			if st.Revision+1 < x.cut[stream] {
				continue
			}
			for _, rec := range x.recs {
				if rec.Stream != stream || rec.Revision <= st.Revision || rec.Revision < x.cut[stream] {
					continue
				}
				p, err := events.Decode(rec.Event)
				if err == nil {
					err = st.Apply(rec.Revision, p)
				}
				if err != nil {
					x.tb.Fatal(err)
				}
			}
			got, _ := st.MarshalBinary()
			want, _ := x.agents[n].MarshalBinary()
			if string(got) != string(want) {
				x.tb.Fatalf("agent %d wakes as another:\n%s\n%s", n, got, want)
			}
		}
	}
}

// check compares every fold of what is left with those that followed.
func (x *trimmed) check() *all {
	a := x.rebuilt()
	same(x.tb, "what folds say", a.everything(x.tb), x.live.everything(x.tb))
	x.checkMessages(a)
	x.checkStates()
	return a
}

// Whatever agents live through: once what nobody needs is gone from the log, every
// fold of the rest answers as before, and the agents wake as they were.
func TestFoldsOfTrimmedHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newTrimmed(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "draw") })
		for range rapid.IntRange(20, 200).Draw(t, "steps") {
			x.step()
		}
		x.check()
	})
}

// The same, of long lives. What they came by is counted, so that it proves something.
func TestFoldsOfLongTrimmedHistories(t *testing.T) {
	count := map[string]int{}
	for seed := range uint64(60) {
		x := newTrimmed(t, newRand(seed).IntN)
		for range 1 + seed*20 {
			x.step()
		}
		a := x.check()
		count["histories trimmed"] += x.steps
		for stream, at := range x.cut {
			count["events removed of "+string(stream.Category())] += int(at)
		}
		count["sends in flight"] += a.inFlight.Len()
		count["inbox entries"] += a.inboxes.Len()
		count["timers"] += a.timers.Len()
		count["letters"] += a.letters.Len()
		count["conversations"] += a.talks.Len()
		count["storms"] += a.storms.order.Len()
	}
	t.Log(count)
	for _, what := range []string{
		"histories trimmed", "events removed of agent", "events removed of inbox", "sends in flight", "inbox entries",
		"timers", "letters", "conversations", "storms",
	} {
		if count[what] == 0 {
			t.Errorf("no %s: this proves nothing about them", what)
		}
	}
}
