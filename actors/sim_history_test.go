package actors_test

import (
	"fmt"
	"time"

	"github.com/caxton-run/caxton/events"
)

// history is what a log says, as the model looks at it.
type history struct {
	agents  map[events.AgentID]*life
	ends    map[events.MessageID][]ending
	sent    map[events.MessageID]*sent
	order   []*sent                              // as they were sent
	barred  map[events.BreakerScope]struct{}     // breakers that were ever open
	runs    []events.Position                    // of messages that a guest ran
	lifted  []events.Position                    // of the ends of emergency stops
	inbox   map[events.MessageID]events.Position // of messages put into inboxes
	retried []events.DeadLetterRetried
	blobs   int                                 // messages whose content stands in one
	whole   func(events.Message) events.Message // a message with its content
	faults  []string

	shut        map[events.BreakerScope]bool // breakers that are not closed
	openings    []opening
	origins     map[events.MessageID]origin       // of what agents sent, and timers
	misfortunes map[events.MessageID]*misfortunes // by ancestor
	stormy      map[string]storming               // storms that there were, by the failure that made them so
	storms      []storm
	joined      []joining

	questions map[pair][]*question
	timeouts  map[string]int  // by conversation
	silences  map[string]bool // by conversation and since when
}

// life is one agent in a log.
type life struct {
	id      events.AgentID
	count   int64 // as its guest has it: of messages handled, not asked for its count
	chain   int64
	removed bool
	holds   string // why it may handle nothing; empty: it may
	module  events.ModuleHash
	timers  map[events.TimerID]string
	set     map[events.MessageID]int // timers, by the message of the run
	due     map[events.TimerID]time.Time
	passed  []*ending // ends of messages, in order
	skills  map[string]skill
	drains  bool // it is to stop, and works off what waits

	deployed events.AgentDeployed
	changed  []change
}

// ending is one event that ends a message.
type ending struct {
	agent    events.AgentID
	position events.Position
	recorded time.Time
	message  events.Message
	payload  events.Payload
	outcome  events.OutcomeStatus
	reason   events.DeadLetterReason // of a dead letter
	reply    *events.Message
	expired  bool // its reply_by was over when its turn came
	unsent   int  // sends of its run that nobody was there for
}

// String is the ending as a failure shows it.
func (e ending) String() string {
	return fmt.Sprintf("%s of %s at %d in %s (%s%s) %s", e.payload.EventType(), e.message.ID, e.position, e.agent, e.outcome, e.reason, e.message.Content)
}

// sent is one send of an agent.
type sent struct {
	from    events.AgentID
	message events.Message
}

func newHistory() *history {
	return &history{
		agents: make(map[events.AgentID]*life), ends: make(map[events.MessageID][]ending),
		sent: make(map[events.MessageID]*sent), barred: make(map[events.BreakerScope]struct{}),
		inbox: make(map[events.MessageID]events.Position), shut: make(map[events.BreakerScope]bool),
		questions: make(map[pair][]*question), timeouts: make(map[string]int), silences: make(map[string]bool),
		origins: make(map[events.MessageID]origin), misfortunes: make(map[events.MessageID]*misfortunes), stormy: make(map[string]storming),
	}
}

func (h *history) fault(format string, args ...any) {
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}

func (h *history) life(id events.AgentID) *life {
	if h.agents[id] == nil {
		h.agents[id] = &life{id: id, timers: make(map[events.TimerID]string), due: make(map[events.TimerID]time.Time), skills: make(map[string]skill), set: make(map[events.MessageID]int)}
	}
	return h.agents[id]
}

// add takes the next event of the log.
func (h *history) add(rec events.Recorded, p events.Payload) {
	switch e := p.(type) {
	case events.BreakerOpened, events.BreakerForced, events.BreakerResetStarted, events.BreakerHalfOpened, events.BreakerClosed:
		h.breaker(rec, p)
		return
	case events.AgentStormDetected:
		md, _ := events.DecodeMetadata(rec.Metadata)
		h.storms = append(h.storms, storm{rec.Position, md.CausationID, e})
		return
	case events.EmergencyLifted:
		h.lifted = append(h.lifted, rec.Position)
		return
	case events.MessageReceived:
		h.inbox[e.Message.ID] = rec.Position
		return
	}
	id, ok := rec.Stream.AgentID()
	if !ok {
		return
	}
	l := h.life(id)
	switch e := p.(type) {
	case events.MessageHandled:
		if e.Module != l.module {
			h.fault("agent %s ran %s, and has module %s at %d", id, e.Module, l.module, rec.Position)
		}
		h.end(l, rec, ending{message: e.Message, payload: p, outcome: e.Outcome, reply: e.Reply, expired: late(&e.Message, e.Host)})
		h.sends(l, rec, &e.Message, e.Sends)
		if content(&e.Message).Op != "get" {
			l.count++
			l.chain = link(l.chain, e.Message.ID)
		}
	case events.ConversationTimedOut:
		h.timesOut(rec, e)
	case events.AgentCrashed:
		h.fails(l, rec, e.Outcome, e.MessageID)
	case events.MessageFailed:
		h.fails(l, rec, e.Outcome, e.Message.ID)
		h.end(l, rec, ending{message: e.Message, payload: p, outcome: e.Outcome, reply: e.Reply, expired: late(&e.Message, e.Host)})
		h.sends(l, rec, &e.Message, e.Sends)
	case events.AgentQuarantined:
		h.end(l, rec, ending{message: e.Message, payload: p, outcome: e.Outcome, reply: e.Reply})
		h.sends(l, rec, &e.Message, e.Sends)
	case events.MessageDeadLettered:
		end := ending{agent: id, position: rec.Position, recorded: rec.RecordedAt, message: e.Message, payload: p, reason: e.Reason}
		end.message = h.full(end.message)
		h.ends[e.Message.ID] = append(h.ends[e.Message.ID], end)
		if e.Message.Sequence == 0 && e.Inbox == nil && len(l.passed) > 0 {
			h.unsent(l.passed[len(l.passed)-1], &end)
		}
	case events.CapabilityRegistered:
		h.learns(l, e.Capability, rec)
	default:
		if f, ok := p.(events.TimerFired); ok && rec.RecordedAt.Before(l.due[f.Timer]) {
			h.fault("agent %s: timer %d fired at %s, due at %s", id, f.Timer, rec.RecordedAt, l.due[f.Timer])
		}
		if r, ok := p.(events.DeadLetterRetried); ok {
			h.retried = append(h.retried, r)
		}
		l.changes(h, rec, p)
	}
}

// scopeOf is the breaker whose stream it is.
func scopeOf(s events.Stream) (events.Category, events.BreakerScope) {
	c := s.Category()
	return c, events.BreakerScope(s[len(c)+1:])
}

// changes takes an event of an agent's life, or of its timers.
func (l *life) changes(h *history, rec events.Recorded, p events.Payload) {
	reason := ""
	switch e := p.(type) {
	case events.AgentDeployed:
		l.holds, l.module, l.deployed = "", e.Module, e
	case events.AgentUpdated:
		if e.Module != "" {
			l.module = e.Module
		}
	case events.AgentResumed, events.AgentRestarted:
		l.holds, l.drains = "", false
	case events.AgentStopRequested:
		l.drains, reason = true, e.Reason
	case events.AgentSuspended:
		l.holds, reason = "suspended", e.Reason
	case events.AgentStopped:
		l.holds, reason = "stopped", e.Reason
	case events.AgentFailed:
		l.holds = "failed"
	case events.AgentRemoved:
		l.holds, l.removed = "removed", true
	case events.TimerSet:
		l.set[e.SetBy]++
		h.comes(rec, e.SetBy, e.Message(l.id).ID)
		l.timers[e.Timer], l.due[e.Timer] = "pending", e.DueAt
	case events.TimerFired:
		l.timer(h, e.Timer, "fired")
	case events.TimerCancelled:
		l.timer(h, e.Timer, "cancelled")
	}
	l.changed = append(l.changed, change{rec.Position, rec.RecordedAt, l.status(), reason})
}

// status is why an agent is held, or that it drains; empty: it runs.
func (l *life) status() string {
	if l.holds == "" && l.drains {
		return "draining"
	}
	return l.holds
}

func (l *life) timer(h *history, id events.TimerID, what string) {
	if l.timers[id] != "pending" {
		h.fault("agent %s: timer %d %s, was %q", l.id, id, what, l.timers[id])
	}
	l.timers[id] = what
}

// late reports whether a message's time was over by the clock that its run was given.
func late(m *events.Message, host events.HostRecord) bool {
	return m.ReplyBy != nil && host.NowMicros > m.ReplyBy.UnixMicro()
}

// end takes the end of a message that an agent came to.
func (h *history) end(l *life, rec events.Recorded, e ending) {
	e.agent, e.position, e.recorded = l.id, rec.Position, rec.RecordedAt
	e.message = h.full(e.message)
	h.ends[e.message.ID] = append(h.ends[e.message.ID], e)
	h.runs = append(h.runs, e.position)
	h.checkCause(rec, e.message.ID)
	l.passed = append(l.passed, &e)
	if l.holds != "" {
		h.fault("agent %s is %s and handled %s at %d", l.id, l.holds, e.message.ID, e.position)
	}
}

func (h *history) sends(l *life, rec events.Recorded, cause *events.Message, list []events.Message) {
	for i := range list {
		if h.sent[list[i].ID] != nil {
			h.fault("agent %s sent %s twice, for %s", l.id, list[i].ID, cause.ID)
		}
		s := &sent{from: l.id, message: h.full(list[i])}
		h.sent[list[i].ID] = s
		h.comes(rec, cause.ID, list[i].ID)
		h.says(l.id, &list[i])
		h.order = append(h.order, s)
	}
}

// full is a message with its content in place.
func (h *history) full(m events.Message) events.Message {
	if m.Blob == nil {
		if n := m.ContentSize(); n > events.MaxMessageContent {
			h.fault("%d bytes of message %s stand in an event", n, m.ID)
		}
		return m
	}
	h.blobs++
	return h.whole(m)
}

// link is how a ledger takes a message into its chain.
func link(chain int64, id events.MessageID) int64 {
	sum := uint32(chain) ^ 2166136261 // FNV-1a, 32 bits, from another offset each time
	for _, b := range []byte(id.String()) {
		sum = (sum ^ uint32(b)) * 16777619
	}
	return int64(sum)
}
