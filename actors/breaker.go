package actors

import (
	"math/bits"
	"time"

	"github.com/caxton-run/caxton/events"
)

// breakerWindow is how many outcomes a circuit breaker looks back at.
const breakerWindow = 100

// How long a gradual reset may take.
const (
	MinReset = time.Second
	MaxReset = 24 * time.Hour
)

// BreakerRules say when circuit breakers move by themselves.
type BreakerRules struct {
	Row     int           // failures in a row that open one, 1 to MaxBreakerRow
	Percent int           // of the last 100 outcomes; failures beyond it open one, 1 to 100: at 100 only a row does
	Open    time.Duration // MinBreakerOpen to MaxBreakerOpen, until one that opened by itself lets a trial through, and until a trial without an outcome is given up
}

// Bounds of BreakerRules.
const (
	MaxBreakerRow  = 1000
	MinBreakerOpen = time.Second
	MaxBreakerOpen = 24 * time.Hour
)

// DefaultBreakerRules are those of a server with nothing configured.
func DefaultBreakerRules() BreakerRules {
	return BreakerRules{Row: 10, Percent: 50, Open: time.Minute}
}

// check reports what is out of bounds, by its key.
func (r BreakerRules) check(f *events.Faults) {
	if r.Row < 1 || r.Row > MaxBreakerRow {
		f.Add("breaker.consecutive_failures", "must be 1 to %d, got %d", MaxBreakerRow, r.Row)
	}
	if r.Percent < 1 || r.Percent > 100 {
		f.Add("breaker.failure_percent", "must be 1 to 100, got %d", r.Percent)
	}
	if r.Open < MinBreakerOpen || r.Open > MaxBreakerOpen {
		f.Add("breaker.open_time", "must be %s to %s, got %s", MinBreakerOpen, MaxBreakerOpen, r.Open)
	}
}

// BreakerState is how a circuit breaker stands:
//
//	           failures in a row, too many
//	           of 100, or a storm            open time
//	closed ────────────────────────▶ open ──────────────▶ half-open
//	  ▲  ▲ ▲                         ▲  ▲                  │   │
//	  │  │ └──────── reset ──────────┤  └── trial failed ──┘   │
//	  │  └────────────────────────── trial went well ──────────┘
//	  │                              │
//	  │   time over   reset, gradual │ failures
//	  └───────────── recovering ◀────┴──────────▶ open again
//
// An operator forces any of them open; one that was forced stays open until it is
// reset, and is open like that again when its gradual reset fails. That of an agent
// closes, whichever way it stands, when the agent is removed.
type BreakerState string

// The states of a circuit breaker.
const (
	BreakerClosed     BreakerState = "closed"     // admits all
	BreakerOpen       BreakerState = "open"       // admits nothing
	BreakerHalfOpen   BreakerState = "half-open"  // admits one message, and waits for its outcome
	BreakerRecovering BreakerState = "recovering" // admits a share that rises to all
)

// breaker is one circuit breaker, pure: time is an argument, and every transition is an
// event that decides it (by a method that returns one, or nil) and does it (apply). The
// last event says how it stands, those since it was closed also why. Its zero value is
// closed.
type breaker struct {
	state  BreakerState // "" is closed
	since  time.Time    // of the state
	forced bool         // opened by an operator: time does not move it
	ramp   time.Duration
	reason string // the operator's who opened it

	failures, of int // what opened it: of a forced one, in a gradual reset
	storm        StormRef
}

// StormRef names the storm that opened a breaker; it is zero when none did.
type StormRef struct {
	Ancestor     events.MessageID // of all its failures
	Conversation string           // of the first
}

// opens decides that a closed or recovering breaker opens, from what w has counted.
func (b *breaker) opens(w *window, rules BreakerRules, now time.Time) events.Payload {
	cause, failures, of := w.verdict(rules)
	if cause == "" || b.state == BreakerOpen || b.state == BreakerHalfOpen {
		return nil
	}
	if b.state == BreakerRecovering {
		cause = events.BreakerRecovery
	}
	return events.BreakerOpened{At: micros(now), Cause: cause, Failures: failures, Of: of, Forced: b.forced}
}

// stormed decides that a storm opens the breaker of an agent that is in it.
func (b *breaker) stormed(storm events.AgentStormDetected, now time.Time) events.Payload {
	if !b.closed() {
		return nil
	}
	return events.BreakerOpened{
		At: micros(now), Cause: events.BreakerStorm, Failures: storm.Failures, Of: storm.Failures,
		Ancestor: storm.Ancestor, ConversationID: storm.Conversation(),
	}
}

// tried decides what the outcome of a half-open breaker's one message means.
func (b *breaker) tried(failed bool, now time.Time) events.Payload {
	switch {
	case b.state != BreakerHalfOpen:
		return nil
	case failed:
		return events.BreakerOpened{At: micros(now), Cause: events.BreakerTrial, Failures: 1, Of: 1}
	}
	return events.BreakerClosed{At: micros(now), Cause: events.BreakerTrial}
}

// passed decides what time alone does.
func (b *breaker) passed(rules BreakerRules, now time.Time) events.Payload {
	due, ok := b.due(rules)
	switch {
	case !ok || now.Before(due):
		return nil
	case b.state == BreakerOpen:
		return events.BreakerHalfOpened{At: micros(now)}
	}
	return events.BreakerClosed{At: micros(now), Cause: events.BreakerRecovered}
}

// due is when time moves the breaker; false when it does not.
func (b *breaker) due(rules BreakerRules) (time.Time, bool) {
	switch {
	case b.state == BreakerOpen && !b.forced:
		return b.since.Add(rules.Open), true
	case b.state == BreakerRecovering:
		return b.since.Add(b.ramp), true
	}
	return time.Time{}, false
}

// look is when to see whether its agent is still there: when time moves it, and again
// and again while time does not: it is half-open, or an operator opened it.
func (b *breaker) look(rules BreakerRules, now time.Time) time.Time {
	if due, ok := b.due(rules); ok {
		return due
	}
	times := max(0, now.Sub(b.since))/rules.Open + 1
	return b.since.Add(times * rules.Open)
}

// force decides that an operator opens it.
func (b *breaker) force(reason string, now time.Time) events.Payload {
	if b.state == BreakerOpen && b.forced {
		return nil
	}
	return events.BreakerForced{At: micros(now), Reason: reason}
}

// reset decides that an operator closes it: at once, or over some time.
func (b *breaker) reset(over time.Duration, now time.Time) events.Payload {
	switch {
	case b.closed():
		return nil
	case over == 0:
		return events.BreakerClosed{At: micros(now), Cause: events.BreakerReset}
	}
	return events.BreakerResetStarted{At: micros(now), DurationMS: over.Milliseconds(), Forced: b.forced}
}

// gone decides that it closes because its agent is no more.
func (b *breaker) gone(now time.Time) events.Payload {
	if b.closed() {
		return nil
	}
	return events.BreakerClosed{At: micros(now), Cause: events.BreakerRemoved}
}

func (b *breaker) closed() bool { return b.state == "" || b.state == BreakerClosed }

// apply does what an event of the breaker's stream says. Others change nothing.
func (b *breaker) apply(p events.Payload) {
	switch e := p.(type) {
	case events.BreakerOpened:
		*b = breaker{state: BreakerOpen, since: e.At, forced: e.Forced, reason: b.reason, failures: e.Failures, of: e.Of, storm: StormRef{e.Ancestor, e.ConversationID}}
	case events.BreakerHalfOpened:
		b.state, b.since, b.forced, b.ramp = BreakerHalfOpen, e.At, false, 0 // what opened it stays to be told
	case events.BreakerClosed:
		*b = breaker{state: BreakerClosed, since: e.At}
	case events.BreakerForced:
		*b = breaker{state: BreakerOpen, since: e.At, forced: true, reason: e.Reason}
	case events.BreakerResetStarted:
		b.state, b.since, b.forced, b.ramp = BreakerRecovering, e.At, e.Forced, time.Duration(e.DurationMS)*time.Millisecond
	}
}

// share is the part of messages, 0 to 1, that is admitted. A half-open breaker's one
// message is no share.
func (b *breaker) share(now time.Time) float64 {
	switch {
	case b.closed():
		return 1
	case b.state == BreakerRecovering && b.ramp > 0:
		return min(1, max(0, float64(now.Sub(b.since))/float64(b.ramp)))
	}
	return 0
}

// micros is a time as an event keeps it.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// window remembers the last breakerWindow outcomes. Its zero value is as many
// successes, so one without failures need not be kept: a new one is the same.
type window struct {
	failed [2]uint64 // a bit for each outcome; 1 is a failure
	next   int       // the oldest, to be replaced
	row    int       // failures in a row, the last one included
	seen   int       // outcomes, at most breakerWindow
}

// add counts an outcome.
func (w *window) add(failed bool) {
	word, bit := w.next/64, uint64(1)<<(w.next%64)
	w.failed[word] &^= bit
	w.row++
	if failed {
		w.failed[word] |= bit
	} else {
		w.row = 0
	}
	w.next = (w.next + 1) % breakerWindow
	w.seen = min(w.seen+1, breakerWindow)
}

func (w *window) failures() int {
	return bits.OnesCount64(w.failed[0]) + bits.OnesCount64(w.failed[1])
}

// verdict says what the outcomes mean; no cause: nothing.
func (w *window) verdict(rules BreakerRules) (cause events.BreakerCause, failures, of int) {
	failures = w.failures()
	switch {
	case w.row >= rules.Row:
		return events.BreakerConsecutive, w.row, w.row
	case failures*100 > rules.Percent*breakerWindow:
		return events.BreakerShare, failures, w.seen
	}
	return "", failures, w.seen
}
