package agent

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/events"
)

// Whatever an agent is asked in whatever order: Decide decides the same twice and
// leaves the state alone, Apply takes all it decided, and each event means the
// same once it has been through the log.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, replayed := newLife(t), new(State)
		l.log(replayed, l.wrote)
		for range rapid.IntRange(0, 40).Draw(t, "commands") {
			c := drawCommand(t, l.st)
			before := bytesOf(t, l.st)
			out, err := Decide(l.st, c)
			again, errAgain := Decide(l.st, c)
			same(t, "decided twice", again, out)
			if bytesOf(t, l.st) != before {
				t.Fatalf("deciding %T changed the state", c)
			}
			if (err == nil) != (errAgain == nil) || err != nil && len(out) > 0 {
				t.Fatalf("deciding %T: %d events with %v, then %v", c, len(out), err, errAgain)
			}
			if err != nil && !errors.Is(err, events.ErrAgentNotFound) && !errors.Is(err, events.ErrIllegalLifecycle) &&
				!(isTrim(c) && errors.Is(err, events.ErrConflict)) {
				t.Fatalf("%T refused with an error it does not promise: %v", c, err)
			}
			l.apply(out...)
			l.log(replayed, out)
			checkSequences(t, l)
			if (l.st.StopBy != 0 || l.st.stopReason != "") && l.st.Status != Draining {
				t.Fatalf("an agent that is %s still has a stop to come to", l.st.Status)
			}
			checkTimers(t, l)
			checkSafeLine(t, l)
			if !slices.IsSorted(l.st.crash.recent) || len(l.st.crash.recent) > MaxCrashes {
				t.Fatalf("recent crashes are %v", l.st.crash.recent)
			}
		}
		if live, log := bytesOf(t, l.st), bytesOf(t, replayed); live != log {
			t.Fatalf("live and replayed differ:\n%s\n%s", live, log)
		}
		checkCut(t, l)
	})
}

// log applies events to another state as the log gives them back.
func (l *life) log(to *State, list []events.Payload) {
	l.tb.Helper()
	for _, p := range list {
		ev, err := events.Encode(events.EventID{1}, p, events.Metadata{})
		if err != nil {
			l.tb.Fatalf("the codec refuses a decision: %v", err)
		}
		back, err := events.Decode(ev)
		if err != nil {
			l.tb.Fatalf("the codec does not read a decision: %v", err)
		}
		if err := to.Apply(next(to), back); err != nil {
			l.tb.Fatal(err)
		}
	}
}

// checkSequences holds all sends of the history to 1, 2, 3 … per receiver and
// priority.
func checkSequences(t *rapid.T, l *life) {
	last := map[string]uint64{}
	for _, p := range l.wrote {
		var sends []events.Message
		switch p := p.(type) {
		case events.MessageHandled:
			sends = p.Sends
		case events.MessageFailed:
			sends = p.Sends
		case events.AgentQuarantined:
			sends = p.Sends
		}
		for _, m := range sends {
			ch := m.Receiver + string(m.Class())
			if last[ch]++; m.Sequence != last[ch] {
				t.Fatalf("send to %s of priority %q has sequence %d, want %d", m.Receiver, m.Priority, m.Sequence, last[ch])
			}
		}
	}
}

// checkCut writes the state down in the middle of the history, reads it back and
// goes on from there.
func checkCut(t *rapid.T, l *life) {
	cut := rapid.IntRange(1, len(l.wrote)).Draw(t, "cut")
	first := new(State)
	for i, p := range l.wrote[:cut] {
		if err := first.Apply(events.Revision(i), p); err != nil {
			t.Fatal(err)
		}
	}
	var second State
	if err := second.UnmarshalBinary([]byte(bytesOf(t, first))); err != nil {
		t.Fatal(err)
	}
	same(t, "state read back", second, *first)
	for i, p := range l.wrote[cut:] {
		if err := second.Apply(events.Revision(cut+i), p); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "folded from the cut", second, *l.st)
	if bytesOf(t, &second) != bytesOf(t, l.st) {
		t.Fatal("equal states have other bytes")
	}
}

// Apply takes any events in any order: those that cannot follow are refused and
// change nothing, and the agent never stands where no arrow leads.
func TestApplyAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := new(State)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			rev := next(st)
			if rapid.IntRange(0, 9).Draw(t, "stray") == 0 {
				rev = events.Revision(rapid.Uint64().Draw(t, "revision"))
			}
			p := drawPayload(t)
			before, was := bytesOf(t, st), st.Status
			err := st.Apply(rev, p)
			var fault *StateError
			switch {
			case err == nil && (st.Revision != rev || !st.Status.known()):
				t.Fatalf("after revision %d: at %d, %q", rev, st.Revision, st.Status)
			case err == nil && was == Removed && st.Status != Removed:
				t.Fatalf("%s brought a removed agent back", p.EventType())
			case err == nil:
			case !errors.As(err, &fault):
				t.Fatalf("got %v, want a StateError", err)
			case bytesOf(t, st) != before:
				t.Fatal("a refused event changed the state")
			}
		}
	})
}

func drawCommand(t *rapid.T, st *State) Command {
	switch rapid.SampledFrom([]string{"run", "run", "run", "run", "run", "run", "suspend", "update", "stop", "end stop", "restart", "resume", "resume", "letter", "skip", "trim", "remove"}).Draw(t, "command") {
	case "suspend":
		return Suspend{Reason: drawText(t)}
	case "resume":
		return Resume{}
	case "update":
		return drawUpdate(t, st)
	case "stop":
		return Stop{
			Reason: drawText(t), Drain: rapid.Bool().Draw(t, "drain"), Grace: time.Minute,
			Until: time.UnixMicro(begin + rapid.Int64Range(0, 9).Draw(t, "until")),
		}
	case "end stop":
		return EndStop{Cause: events.StopDrained, By: st.StopBy + rapid.Int64Range(-1, 0).Draw(t, "of another stop")}
	case "restart":
		return Restart{Reason: drawText(t)}
	case "letter":
		return DeadLetter{Event: events.MessageDeadLettered{Message: drawMessage(t), Reason: events.DeadRefused, Attempts: 3}}
	case "skip":
		return SkipInbox{Event: events.InboxSkipped{MessageID: messageID(1), Inbox: *drawInbox(t)}}
	case "trim":
		return Trim{Event: events.HistoryTrimmed{Before: events.Revision(rapid.IntRange(0, 40).Draw(t, "before")), Deployed: deployment(1)}}
	case "remove":
		if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
			return Remove{}
		}
		return Resume{}
	}
	return Finish{Run: drawRun(t, st)}
}

func drawUpdate(t *rapid.T, st *State) Update {
	c := Update{
		Limits:   rapid.SampledFrom([]events.ResourceLimits{{}, {MaxFuel: 7}, {MaxMemoryBytes: 1 << 16, MaxExecutionTimeMS: 5}}).Draw(t, "limits"),
		Priority: rapid.SampledFrom([]events.Priority{"", events.Low, events.Normal}).Draw(t, "priority"),
		Reason:   drawText(t),
	}
	if rapid.Bool().Draw(t, "labelled") {
		c.Labels = &events.Labels{"k": "v"}
	}
	if rapid.Bool().Draw(t, "another module") {
		c.Module, c.ModuleSize = events.HashModule([]byte{rapid.ByteRange(0, 2).Draw(t, "module")}), 1
	}
	if rapid.Bool().Draw(t, "can do more") {
		c.Capabilities = []string{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "capability of the module")}
	}
	if c.NewModule(st) && rapid.Bool().Draw(t, "migrates") {
		c.Migration = &events.Migration{
			Host:  events.HostRecord{NowMicros: st.Now(begin)},
			State: []events.StateChange{{Key: "a", Delete: true}, {Key: "<&>"}},
		}
	}
	return c
}

func drawRun(t *rapid.T, st *State) Run {
	wall := begin + rapid.Int64Range(-int64(time.Hour/time.Microsecond), int64(30*time.Hour/time.Microsecond)).Draw(t, "wall")
	r := Run{
		Message: drawMessage(t), BodyHash: rapid.StringMatching("[0-9a-f]{0,4}").Draw(t, "body hash"), GuestStatus: rapid.Int32().Draw(t, "guest status"),
		Host:   events.HostRecord{NowMicros: st.Now(wall), Seed: rapid.Uint64().Draw(t, "seed")},
		Status: drawStatus(t), Detail: drawText(t), Fuel: events.Fuel(rapid.Uint64().Draw(t, "fuel")),
		Replied: rapid.Bool().Draw(t, "replied"), Reply: rapid.SliceOf(rapid.Byte()).Draw(t, "reply"),
	}
	if rapid.Bool().Draw(t, "waited") {
		r.Inbox = drawInbox(t)
	}
	if rapid.Bool().Draw(t, "keyed") {
		r.Key = ScopedKey(drawText(t), drawText(t))
	}
	for range rapid.IntRange(0, 3).Draw(t, "sends") {
		out := Outgoing{Message: drawMessage(t), To: drawAgent(t)}
		if rapid.IntRange(0, 3).Draw(t, "dead") == 0 {
			out.Dead, out.Detail = events.DeadAgentNotFound, drawText(t)
		}
		r.Sends = append(r.Sends, out)
	}
	for range rapid.IntRange(0, 2).Draw(t, "logs") {
		r.Logs = append(r.Logs, events.LogLine{Level: events.LogInfo, Text: drawText(t)})
	}
	drawTimers(t, st, &r)
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		r.State = append(r.State, events.StateChange{
			Key:    rapid.SampledFrom([]string{"a", "b", "é", "<&>", "\u2028"}).Draw(t, "state key"),
			Value:  rapid.SampledFrom([][]byte{nil, {}, []byte("v"), {0xff, 0}}).Draw(t, "value"),
			Delete: rapid.Bool().Draw(t, "delete"),
		})
	}
	return r
}

// drawTimers has the run set and cancel timers as the host lets a guest do, and
// makes its message a timer's at times, of one that is pending or not.
func drawTimers(t *rapid.T, st *State, r *Run) {
	next := st.LastTimer() + 1
	for range rapid.IntRange(0, 2).Draw(t, "timers") {
		r.Timers = append(r.Timers, TimerChange{
			Timer: next, After: time.Duration(rapid.Int64Range(10_000, 1_000_000).Draw(t, "after")) * time.Microsecond,
			Content: rapid.SampledFrom([][]byte{nil, []byte(`{"a":1}`), {0xff}}).Draw(t, "timer content"),
		})
		if rapid.IntRange(0, 3).Draw(t, "cancelled") == 0 {
			r.Timers = append(r.Timers, TimerChange{Timer: next, Cancel: true})
		}
		next++
	}
	fires := events.TimerID(0)
	if rapid.IntRange(0, 2).Draw(t, "is a timer") == 0 {
		set := events.TimerSet{Timer: events.TimerID(rapid.Int64Range(1, 6).Draw(t, "timer"))}
		r.Message, fires = set.Message(st.ID), set.Timer
	}
	for _, id := range slices.Sorted(maps.Keys(st.timers.pending)) {
		if id != fires && rapid.IntRange(0, 4).Draw(t, "cancels an old one") == 0 {
			r.Timers = append(r.Timers, TimerChange{Timer: id, Cancel: true})
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "registers") == 0 {
		r.Capabilities = []string{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "capability")}
	}
}

// checkTimers holds what is pending to the history: set, and neither fired nor
// cancelled, each of which happens once.
func checkTimers(t *rapid.T, l *life) {
	pending, ended := map[events.TimerID]bool{}, map[events.TimerID]int{}
	for _, p := range l.wrote {
		switch p := p.(type) {
		case events.TimerSet:
			pending[p.Timer] = true
		case events.TimerFired:
			ended[p.Timer]++
			delete(pending, p.Timer)
		case events.TimerCancelled:
			ended[p.Timer]++
			delete(pending, p.Timer)
		case events.AgentRemoved:
			clear(pending)
		}
	}
	for id, n := range ended {
		if n != 1 {
			t.Fatalf("timer %d ended %d times", id, n)
		}
	}
	if len(pending) != l.st.Timers() {
		t.Fatalf("%d timers are pending, the history has %d", l.st.Timers(), len(pending))
	}
}

func drawStatus(t *rapid.T) events.OutcomeStatus {
	return rapid.SampledFrom([]events.OutcomeStatus{
		events.OutcomeOK, events.OutcomeOK, events.OutcomeOK, events.OutcomeNoHandler, events.OutcomeRefused,
		events.OutcomeOutOfFuel, events.OutcomeTimeout, events.OutcomeTimeout, events.OutcomeMemoryLimit,
		events.OutcomeStackOverflow, events.OutcomeTrap, events.OutcomeKilled, events.OutcomeBadABI,
		events.OutcomeEffectsTooLarge, events.OutcomeHostFault, events.OutcomeNodeCrash,
	}).Draw(t, "status")
}

func drawMessage(t *rapid.T) events.Message {
	m := events.Message{
		ID:             messageID(rapid.ByteRange(1, 4).Draw(t, "message")),
		Performative:   rapid.SampledFrom([]events.Performative{"", events.Request, events.Failure, events.NotUnderstood}).Draw(t, "performative"),
		Sender:         "user:anonymous",
		Receiver:       rapid.SampledFrom([]string{agentID(1).String(), agentID(2).String(), "a name"}).Draw(t, "receiver"),
		ConversationID: drawText(t), ReplyWith: drawText(t),
		Priority: rapid.SampledFrom([]events.Priority{"", events.Normal, events.Low, events.Critical}).Draw(t, "priority"),
		Hops:     rapid.SampledFrom([]int{0, 1, events.MaxHops - 1, events.MaxHops}).Draw(t, "hops"),
	}
	m.SetContent([]byte(rapid.SampledFrom([]string{`{}`, ` [ 1 ] `, `"<\u003c>"`, "\"\xff\"", "plain", ""}).Draw(t, "content")))
	if rapid.Bool().Draw(t, "from an agent") {
		m.Sender, m.Sequence = drawAgent(t).String(), rapid.Uint64Range(0, 5).Draw(t, "sequence")
	}
	return m
}

func drawAgent(t *rapid.T) events.AgentID { return agentID(rapid.ByteRange(1, 3).Draw(t, "agent")) }

func drawInbox(t *rapid.T) *events.Revision {
	r := events.Revision(rapid.Uint64Range(0, 6).Draw(t, "inbox"))
	return &r
}

// drawText is what people and guests write, valid or not.
func drawText(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "text", "<b>&", "\u2028", "\xff\xfe", `"\`, "é"}).Draw(t, "text")
}

func drawPayload(t *rapid.T) events.Payload {
	at := time.UnixMicro(rapid.Int64Range(0, 2*begin).Draw(t, "at"))
	var inbox *events.Revision
	if rapid.Bool().Draw(t, "waited") {
		inbox = drawInbox(t)
	}
	host := events.HostRecord{NowMicros: at.UnixMicro()}
	m := drawMessage(t)
	return rapid.SampledFrom([]events.Payload{
		deployment(1), deployment(2), events.AgentDeployed{},
		events.AgentSuspended{}, events.AgentResumed{}, events.AgentResumed{}, events.AgentRestarted{},
		events.AgentUpdated{}, events.AgentUpdated{Module: "m", Migration: &events.Migration{Host: host}},
		events.AgentStopRequested{Until: at}, events.AgentStopped{}, events.AgentRemoved{}, events.AgentFailed{},
		events.MessageHandled{
			Message: m, Host: host, Inbox: inbox, IdempotencyKey: drawText(t), Sends: []events.Message{drawMessage(t)},
			State: []events.StateChange{{Key: drawText(t), Value: []byte{1}}, {Key: drawText(t), Delete: true}},
		},
		events.MessageFailed{Message: m, Host: host, Inbox: inbox, IdempotencyKey: drawText(t)},
		events.AgentQuarantined{Message: m, Inbox: inbox},
		events.AgentCrashed{MessageID: m.ID, Attempt: 1, At: at},
		events.TimerSet{Timer: 1}, events.TimerFired{Timer: 1}, events.TimerCancelled{Timer: 2},
		events.CapabilityRegistered{Capability: "a"},
		events.HistoryTrimmed{Before: 1}, events.InboxSkipped{Inbox: *drawInbox(t)}, events.MessageDeadLettered{Message: m},
		events.MessageReceived{Message: m}, events.ModuleUploaded{},
	}).Draw(t, "event")
}
