package projections

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// What a storm is, and bounds of looking for one.
const (
	StormWindow = 10 * time.Second // of recorded time, within which failures count together
	StormAgents = 5                // failing for one ancestor; fewer fail for reasons of their own

	maxWatched     = 4096 // ancestors with a failure lately, the newest
	maxStormAgents = 64   // named of one storm; the count is of all
	maxStormTalks  = 16   // conversations named of one storm
	maxStorms      = 64   // found and not taken, the newest: a rebuild finds those of the whole log
	maxSpread      = 1024 // likewise, of agents that joined one; and remembered of one storm
	maxCounted     = 1024 // failures remembered of one ancestor, the newest
)

// Storm is a storm and the event that was one failure too many.
type Storm struct {
	Event    events.AgentStormDetected
	Cause    events.EventID
	Position events.Position // of that event; what records the storm stands behind it
}

// Storms looks for messages that many agents fail for at once: not only those that they
// were sent to, but those that were sent because of them, or because of these, and what
// timers say that were set so, in whatever conversation. The event of a failure says
// with which message its chain of causes began (events.Cause), so a fold need not know
// what has not failed.
type Storms struct {
	changed chan struct{} // holds a token while found is not empty

	mu      sync.Mutex      // guards below
	known   events.Position // what is found before it has been recorded: see Settle
	knownAt time.Time
	next    events.Position // one beyond the last event applied
	newest  time.Time       // recorded time
	taken   bool            // what Take gave is not recorded yet
	recent  map[events.MessageID]*list.Element
	order   *list.List // of *gathering, by their last failure
	found   []Storm
	spread  []Storm // agents that joined one later, each by itself
}

// gathering is what has failed lately for one ancestor.
type gathering struct {
	ancestor events.MessageID
	from     events.Position             // of the first failure since it was quiet for a window
	failures []failure                   // within the window, the oldest first
	told     bool                        // a storm was found, and failures go on
	named    map[events.AgentID]struct{} // agents of it that were named, some of them
}

type failure struct {
	agent        events.AgentID
	conversation string
	at           time.Time
}

// NewStorms returns the fold of an empty log.
func NewStorms() *Storms {
	return &Storms{changed: make(chan struct{}, 1), recent: make(map[events.MessageID]*list.Element), order: list.New()}
}

// Apply implements Fold. What counts is the time that the log gives, so two folds find
// the same storms.
func (s *Storms) Apply(rec events.Recorded, p events.Payload) {
	s.pass(rec)
	var outcome events.OutcomeStatus
	var message events.MessageID
	switch p := p.(type) {
	case events.AgentCrashed:
		outcome, message = p.Outcome, p.MessageID
	case events.MessageFailed:
		outcome, message = p.Outcome, p.Message.ID
	default:
		return // a quarantine stands beside its last crash
	}
	if _, failed := outcome.Counts(); !failed {
		return // five agents that say no are no storm
	}
	id, ok := rec.Stream.AgentID()
	md, err := events.DecodeMetadata(rec.Metadata)
	if !ok || err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(rec.RecordedAt)
	g := s.gathering(md.AncestorOf(message))
	begins, joins := g.add(failure{id, md.CorrelationID, rec.RecordedAt}, rec.Position)
	if !begins && !joins || s.old(rec) {
		return
	}
	if begins {
		s.found = append(s.found[max(0, len(s.found)+1-maxStorms):], Storm{g.storm(g.agents()), rec.ID, rec.Position})
	} else { // whoever failed before is not looked through: there may be as many who join
		s.spread = append(s.spread[max(0, len(s.spread)+1-maxSpread):], Storm{g.storm([]events.AgentID{id}), rec.ID, rec.Position})
	}
	select {
	case s.changed <- struct{}{}:
	default: // a token lies there already
	}
}

// forget drops what is over for good: thousands of storms, each with its failures, take
// hundreds of megabytes, and nothing else would push the last of them out.
func (s *Storms) forget(now time.Time) {
	for e := s.order.Front(); e != nil && now.Sub(e.Value.(*gathering).last()) > stormOver; e = s.order.Front() {
		delete(s.recent, s.order.Remove(e).(*gathering).ancestor)
	}
}

// gathering returns what is known of an ancestor, which becomes the newest. The
// oldest goes when there are too many.
func (s *Storms) gathering(ancestor events.MessageID) *gathering {
	if e := s.recent[ancestor]; e != nil {
		s.order.MoveToBack(e)
		return e.Value.(*gathering)
	}
	if s.order.Len() == maxWatched {
		old := s.order.Remove(s.order.Front()).(*gathering)
		delete(s.recent, old.ancestor)
	}
	g := &gathering{ancestor: ancestor}
	s.recent[ancestor] = s.order.PushBack(g)
	return g
}

// last is when the last failure was recorded.
func (g *gathering) last() time.Time { return g.failures[len(g.failures)-1].at }

// add counts a failure, and reports whether it begins a storm, or its agent joins one.
func (g *gathering) add(f failure, at events.Position) (begins, joins bool) {
	for len(g.failures) > 0 && (f.at.Sub(g.failures[0].at) > StormWindow || len(g.failures) == maxCounted) {
		g.failures = g.failures[1:]
	}
	if len(g.failures) == 0 {
		g.told, g.named, g.from = false, nil, at // it was quiet for a window
	}
	g.failures = append(g.failures, f)
	if g.told {
		return false, g.name(f.agent)
	}
	if len(g.failures) < StormAgents {
		return false, false
	}
	agents := g.agents()
	if g.told = len(agents) >= StormAgents; g.told {
		g.named = make(map[events.AgentID]struct{}, len(agents))
		for _, id := range agents[:min(len(agents), maxStormAgents)] {
			g.named[id] = struct{}{}
		}
	}
	return g.told, false
}

// name reports whether an agent is new to the storm. When there are too many all are
// new again, which does no harm: what is to be done about them is done.
func (g *gathering) name(id events.AgentID) bool {
	if _, ok := g.named[id]; ok {
		return false
	}
	if len(g.named) >= maxSpread {
		clear(g.named)
	}
	g.named[id] = struct{}{}
	return true
}

// agents returns who failed, in order of the first failure.
func (g *gathering) agents() []events.AgentID {
	var out []events.AgentID
	for _, f := range g.failures {
		if !slices.Contains(out, f.agent) { // a storm is found when there are StormAgents: the list is short
			out = append(out, f.agent)
		}
	}
	return out
}

// conversations returns those in which something failed, in order of the first failure.
func (g *gathering) conversations() []string {
	var out []string
	for _, f := range g.failures {
		if len(out) < maxStormTalks && !slices.Contains(out, f.conversation) {
			out = append(out, f.conversation)
		}
	}
	return out
}

// storm is what is told of these agents.
func (g *gathering) storm(agents []events.AgentID) events.AgentStormDetected {
	return events.AgentStormDetected{
		Ancestor: g.ancestor, Conversations: g.conversations(),
		Agents: agents[:min(len(agents), maxStormAgents)], Count: len(agents),
		Failures: len(g.failures), First: g.failures[0].at.UTC(), Last: g.last().UTC(),
		WindowMS: StormWindow.Milliseconds(),
	}
}

// Changed yields a token when Take or TakeSpread have something to give.
func (s *Storms) Changed() <-chan struct{} { return s.changed }

// Take returns the storms found since the last call, the oldest first. Whoever takes
// them calls Recorded when the log has them.
func (s *Storms) Take() []Storm {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.found
	s.found, s.taken = nil, s.taken || len(out) > 0
	return out
}

// TakeSpread is Take for agents that failed in a storm that was found before: each has
// one for itself, which names no other.
func (s *Storms) TakeSpread() []Storm {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.spread
	s.spread, s.taken = nil, s.taken || len(out) > 0
	return out
}

// Recorded notes that what Take and TakeSpread gave has been dealt with, in the log.
func (s *Storms) Recorded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = false
}
