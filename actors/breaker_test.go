package actors

import (
	"errors"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var testRules = DefaultBreakerRules()

// TestBreakerRules: what is configured decides, at its bounds too.
func TestBreakerRules(t *testing.T) {
	outcomes := func(failed ...bool) *window {
		w := new(window)
		for _, f := range failed {
			w.add(f)
		}
		return w
	}
	rules := BreakerRules{Row: 3, Percent: 100, Open: time.Hour}
	if cause, _, _ := outcomes(true, true).verdict(rules); cause != "" {
		t.Errorf("2 of 3 in a row: %s", cause)
	}
	if cause, n, of := outcomes(false, true, true, true).verdict(rules); cause != events.BreakerConsecutive || n != 3 || of != 3 {
		t.Errorf("3 in a row: %q, %d of %d", cause, n, of)
	}
	half := make([]bool, breakerWindow)
	for i := range half {
		half[i] = i%2 == 0
	}
	if cause, _, _ := outcomes(half...).verdict(BreakerRules{Row: 3, Percent: 50}); cause != "" {
		t.Errorf("half of them, and more than half is too much: %s", cause)
	}
	if cause, n, of := outcomes(half...).verdict(BreakerRules{Row: 3, Percent: 49}); cause != events.BreakerShare || n != 50 || of != 100 {
		t.Errorf("half of them: %q, %d of %d", cause, n, of)
	}
	var b breaker
	start := time.Unix(1_700_000_000, 0).UTC()
	b.apply(b.opens(outcomes(true, true, true), rules, start))
	if due, ok := b.due(rules); !ok || !due.Equal(start.Add(time.Hour)) {
		t.Errorf("due %s, %v", due, ok)
	}
	cfg := DefaultConfig()
	cfg.Breakers = BreakerRules{Row: 0, Percent: 101, Open: time.Millisecond}
	var invalid *events.InvalidError
	if err := cfg.Validate(); !errors.As(err, &invalid) || len(invalid.Fields) != 3 {
		t.Error(err)
	}
}

// TestWindow holds the bits to a plain list of outcomes.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		list := make([]bool, breakerWindow)
		for i, failed := range rapid.SliceOfN(rapid.Bool(), 1, 350).Draw(t, "failed") {
			w.add(failed)
			list = append(list, failed)
			last := list[len(list)-breakerWindow:]
			row, failures := 0, 0
			for _, f := range last {
				row++
				if f {
					failures++
				} else {
					row = 0
				}
			}
			if w.failures() != failures || min(w.row, breakerWindow) != row || w.seen != min(i+1, breakerWindow) {
				t.Fatalf("%d failures, row %d of %d; want %d, %d", w.failures(), w.row, w.seen, failures, row)
			}
			cause, n, of := w.verdict(testRules)
			if open := row >= testRules.Row || failures > breakerWindow/2; open != (cause != "") || open && (n < 1 || n > of) {
				t.Fatalf("verdict %q, %d of %d, with %d failures, row %d", cause, n, of, failures, row)
			}
		}
	})
}

// TestBreakerCounts: what a guest cannot take counts, and what others wanted does not.
func TestBreakerCounts(t *testing.T) {
	for o, want := range map[events.OutcomeStatus][2]bool{
		events.OutcomeOK: {true, false}, events.OutcomeNoHandler: {false, false}, events.OutcomeRefused: {false, false},
		events.OutcomeKilled: {false, false}, events.OutcomeExpired: {false, false}, "Unheard": {false, false},
		events.OutcomeOutOfFuel: {true, true}, events.OutcomeTimeout: {true, true}, events.OutcomeMemoryLimit: {true, true},
		events.OutcomeStackOverflow: {true, true}, events.OutcomeTrap: {true, true}, events.OutcomeBadABI: {true, true},
		events.OutcomeEffectsTooLarge: {true, true}, events.OutcomeHostFault: {true, true},
	} {
		if told, failed := o.Counts(); told != want[0] || failed != want[1] {
			t.Errorf("%s: told %v, failed %v", o, told, failed)
		}
	}
}

// TestBreakerMachine lets operators, time and outcomes happen in any order.
func TestBreakerMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b breaker
		now := time.Unix(1_700_000_000, 0).UTC()
		var log []events.Payload
		do := func(p events.Payload) {
			if p != nil {
				b.apply(p)
				log = append(log, p)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, 120_000_000).Draw(t, "µs")) * time.Microsecond)
				before, due, ok := b, time.Time{}, false
				due, ok = b.due(testRules)
				do(b.passed(testRules, now))
				if ok && !now.Before(due) == (b == before) {
					t.Fatalf("due %s, now %s: %+v became %+v", due, now, before, b)
				}
				if !ok && b != before {
					t.Fatalf("time moved %+v to %+v", before, b)
				}
			},
			"failures": func(t *rapid.T) {
				var w window
				for range testRules.Row {
					w.add(true)
				}
				before := b
				do(b.opens(&w, testRules, now))
				switch before.state {
				case "", BreakerClosed, BreakerRecovering:
					if b.state != BreakerOpen || b.forced != before.forced {
						t.Fatalf("%+v became %+v", before, b)
					}
				default:
					if b != before {
						t.Fatalf("failures moved %+v to %+v", before, b)
					}
				}
			},
			"successes": func(t *rapid.T) {
				var w window
				w.add(false)
				if p := b.opens(&w, testRules, now); p != nil {
					t.Fatalf("%+v opened at a success", b)
				}
			},
			"trial": func(t *rapid.T) {
				failed, before := rapid.Bool().Draw(t, "failed"), b
				do(b.tried(failed, now))
				switch {
				case before.state != BreakerHalfOpen && b != before,
					before.state == BreakerHalfOpen && failed && (b.state != BreakerOpen || b.forced),
					before.state == BreakerHalfOpen && !failed && !b.closed():
					t.Fatalf("failed %v: %+v became %+v", failed, before, b)
				}
			},
			"storm": func(t *rapid.T) {
				before := b
				do(b.stormed(events.AgentStormDetected{Failures: 7}, now))
				if before.closed() != (b != before) || before.closed() && (b.state != BreakerOpen || b.forced) {
					t.Fatalf("%+v became %+v", before, b)
				}
			},
			"force": func(t *rapid.T) {
				do(b.force("storm", now))
				if b.state != BreakerOpen || !b.forced {
					t.Fatalf("%+v", b)
				}
				if p := b.force("again", now); p != nil {
					t.Fatalf("forced twice: %+v", p)
				}
			},
			"reset": func(t *rapid.T) {
				before := b
				if rapid.Bool().Draw(t, "gradual") {
					do(b.reset(10*time.Minute, now))
					if !before.closed() && (b.state != BreakerRecovering || b.share(now) != 0 || b.share(now.Add(5*time.Minute)) != 0.5) {
						t.Fatalf("%+v became %+v", before, b)
					}
				} else if do(b.reset(0, now)); !b.closed() {
					t.Fatalf("%+v became %+v", before, b)
				}
				if before.closed() && b != before {
					t.Fatal("a closed breaker moved")
				}
			},
			"": func(t *rapid.T) {
				var again, last breaker
				for _, p := range log {
					again.apply(throughLog(t, p))
				}
				if d := cmp.Diff(b, again, cmp.AllowUnexported(breaker{})); d != "" {
					t.Fatalf("restored (-was +is):\n%s", d)
				}
				if len(log) > 0 { // how it stands, the last event says, should the others be gone
					last.apply(log[len(log)-1])
				}
				if last.state != b.state || last.since != b.since || last.forced != b.forced || last.ramp != b.ramp {
					t.Fatalf("%+v by its last event, %+v by all", last, b)
				}
				if why := b.of > 0 || b.forced; why == b.closed() {
					t.Fatalf("%+v does not say why", b)
				}
				if s := b.share(now); s < 0 || s > 1 || b.closed() != (s == 1 && b.state != BreakerRecovering) {
					t.Fatalf("%+v admits %v", b, s)
				}
			},
		})
	})
}

// throughLog is an event as the log gives it back.
func throughLog(t *rapid.T, p events.Payload) events.Payload {
	ev, err := events.Encode(events.NewEventID(), p, events.Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := events.Decode(ev)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// TestGateAdmitsAShare: over a gradual reset, as many messages get through as the area
// under the line says, however they are spread.
func TestGateAdmitsAShare(t *testing.T) {
	start := time.Unix(1000, 0)
	g := &breakerGate{scope: events.ScopeAll, breaker: breaker{state: BreakerRecovering, since: start, ramp: 10 * time.Minute}}
	admitted, early := 0, 0
	for i := range 6000 { // ten a second
		if _, err := g.pass(testRules, start.Add(time.Duration(i)*100*time.Millisecond)); err == nil {
			if admitted++; i < 3000 {
				early++
			}
		}
	}
	if admitted < 2990 || admitted > 3010 || early < 740 || early > 760 {
		t.Errorf("%d of 6000 admitted, %d of the first half; want 3000, 750", admitted, early)
	}
}

// TestGateGivesOneClaim, and another when it is given back or comes to nothing.
func TestGateGivesOneClaim(t *testing.T) {
	now := time.Unix(1000, 0)
	g := &breakerGate{scope: events.ScopeAll, breaker: breaker{state: BreakerHalfOpen, since: now}}
	open := &breakerGate{scope: "node-x", breaker: breaker{state: BreakerOpen, since: now}}
	if _, err := passAll([]*breakerGate{g, open}, testRules, now); err == nil || g.trial.Load() != 0 {
		t.Errorf("%v: a claim was taken for a message that is refused", err)
	}
	claims, err := passAll([]*breakerGate{g}, testRules, now)
	if err != nil || len(claims) != 1 {
		t.Fatalf("%v, %v", claims, err)
	}
	if _, err := g.pass(testRules, now.Add(time.Second)); err == nil {
		t.Error("two messages at once")
	}
	claims[0].giveBack()
	if _, err := g.pass(testRules, now.Add(time.Second)); err != nil {
		t.Errorf("given back: %v", err)
	}
	claims[0].giveBack() // of the past
	if _, err := g.pass(testRules, now.Add(2*time.Second)); err == nil {
		t.Error("an old claim gave back a new one")
	}
	if _, err := g.pass(testRules, now.Add(time.Second+testRules.Open)); err != nil {
		t.Errorf("one that came to nothing: %v", err)
	}
}

// TestABreakerIsLookedAt again and again while time does not move it: its agent may have
// gone.
func TestABreakerIsLookedAt(t *testing.T) {
	since, open := time.Unix(1000, 0), testRules.Open
	half, forced := breaker{state: BreakerHalfOpen, since: since}, breaker{state: BreakerOpen, since: since, forced: true}
	for passed, want := range map[time.Duration]time.Duration{-time.Hour: open, 0: open, open - 1: open, open: 2 * open, 7*open + 1: 8 * open} {
		for _, b := range []breaker{half, forced} {
			if at := b.look(testRules, since.Add(passed)); !at.Equal(since.Add(want)) {
				t.Errorf("%s after %s: %s; want %s", b.state, passed, at.Sub(since), want)
			}
		}
	}
	for _, b := range []breaker{half, forced} {
		if _, ok := b.due(testRules); ok {
			t.Errorf("time moves one that is %s", b.state)
		}
	}
}
