package actors

import (
	"context"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// BenchmarkAdmit is what breakers cost a message: while all are closed, and while some
// other agent's is open.
func BenchmarkAdmit(b *testing.B) {
	r := newRig(b, nil)
	id := r.deploy("echo", "echo")
	br := r.sys.breakers
	both := func(b *testing.B) {
		e := newEnvelope()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := br.admit(id); err != nil {
				b.Fatal(err)
			}
			br.report(id, e, events.OutcomeOK)
		}
	}
	b.Run("closed", both)
	br.report(events.NewAgentID(), newEnvelope(), events.OutcomeTrap)
	b.Run("another_failed", both)
	br.publish(map[events.BreakerScope]breaker{events.AgentScope(events.NewAgentID()): {state: BreakerOpen}})
	b.Run("another_open", both)
}

// BenchmarkLicence is what the emergency stop costs a message.
func BenchmarkLicence(b *testing.B) {
	r := newRig(b, nil)
	for b.Loop() {
		l := r.sys.licence.Load()
		if !l.take() {
			b.Fatal("revoked")
		}
		l.leave()
	}
}

// BenchmarkEmergencyStop stops as many guests that spin as there are, on two cores
// that they have for themselves otherwise.
func BenchmarkEmergencyStop(b *testing.B) {
	const guests = 32
	r := newRig(b, func(c *Config) { c.SpillAfter = time.Millisecond })
	var ids []events.AgentID
	for range guests {
		ids = append(ids, r.spinning())
	}
	var still, all, slowest int64
	for b.Loop() {
		for _, id := range ids {
			q := request(id, `1`)
			q.Wait = 0
			if _, err := r.Send(context.Background(), q); err != nil {
				b.Fatal(err)
			}
		}
		r.until("they spin", func() bool { return r.sys.licence.Load().guests.Load() == guests })
		got := r.stopAll(StopAllRequest{})
		if got.Guests != guests {
			b.Fatalf("%d guests ran", got.Guests)
		}
		still += got.GuestsIn.Microseconds()
		all += got.Elapsed.Microseconds()
		slowest = max(slowest, got.GuestsIn.Microseconds())
		for _, id := range ids { // or the next round has twice as many
			if err := r.command(r.Remove, id); err != nil {
				b.Fatal(err)
			}
		}
		r.lift()
		ids = ids[:0]
		for range guests {
			ids = append(ids, r.spinning())
		}
	}
	b.ReportMetric(float64(still)/float64(b.N), "µs-no-guest-runs")
	b.ReportMetric(float64(slowest), "µs-slowest")
	b.ReportMetric(float64(all)/float64(b.N), "µs-all-kept")
}
