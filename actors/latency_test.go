package actors

import (
	"slices"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"pgregory.net/rapid"
)

// TestLatency holds mean and percentile to the sorted list of the same values.
func TestLatency(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.SliceOfN(rapid.Int64Range(0, 2_000_000), 1, 400).Draw(t, "µs")
		at := time.Unix(1000, 0)
		var l latency
		var sum time.Duration
		var list []time.Duration
		for _, us := range ms {
			d := time.Duration(us) * time.Microsecond
			l.add(d, at)
			sum += d
			list = append(list, d)
		}
		slices.Sort(list)
		want := list[(len(list)*99+99)/100-1]
		mean, p99, slow := l.stats(at)
		if mean != sum/time.Duration(len(list)) {
			t.Fatalf("mean %s of %v", mean, list)
		}
		if slow != (list[len(list)-1] >= latencyFloor) {
			t.Fatalf("slow is %v of %v", slow, list)
		}
		if want < latencyFloor {
			if p99 != latencyFloor {
				t.Fatalf("p99 %s, want the floor", p99)
			}
			return
		}
		if p99 < want || p99 > want+want/latencySteps+time.Microsecond {
			t.Fatalf("p99 %s, want %s", p99, want)
		}
	})
}

// TestLatencyForgets: after ten minutes nothing is left of what was slow.
func TestLatencyForgets(t *testing.T) {
	var l latency
	at := time.Unix(1000, 0)
	l.add(time.Second, at)
	if _, p99, _ := l.stats(at.Add(latencyWindow + latencyWindow/2)); p99 < time.Second {
		t.Errorf("p99 %s in the generation after", p99)
	}
	if _, _, slow := l.stats(at.Add(3 * latencyWindow)); slow {
		t.Error("it is slow for ever")
	}
}

// TestRecentsAreBounded: only slow agents are kept, and of these the last.
func TestRecentsAreBounded(t *testing.T) {
	var r recents
	quick := new(latency)
	quick.add(time.Microsecond, time.Now())
	r.keep(events.NewAgentID(), quick)
	var first, last events.AgentID
	for i := range maxRecent + 1 {
		slow := new(latency)
		slow.add(time.Second, time.Now())
		last = events.NewAgentID()
		if i == 0 {
			first = last
		}
		r.keep(last, slow)
		r.keep(last, slow)
	}
	if len(r.known) != maxRecent || len(r.order) != maxRecent {
		t.Errorf("%d known in an order of %d", len(r.known), len(r.order))
	}
	if _, _, slow := r.take(first).stats(time.Now()); slow {
		t.Error("the oldest is still known")
	}
	if _, _, slow := r.take(last).stats(time.Now()); !slow || len(r.order) != maxRecent-1 {
		t.Error("the last is not known")
	}
}
