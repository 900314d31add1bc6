package actors_test

import (
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// quietPlan is a schedule without faults, of which a test says the steps.
func quietPlan(slow time.Duration, ledgers int, steps ...step) *plan {
	p := &plan{seed: 1, slow: slow, ledgers: ledgers, clients: 1, cfg: actors.DefaultConfig(), steps: steps}
	p.cfg.MaxContent, p.cfg.TrimEvents = 2*simFat, 1
	return p
}

// TestWhoIsNewIsFound: a send goes to whoever registered a capability before
// the sender's run, though the projection is behind.
func TestWhoIsNewIsFound(t *testing.T) {
	tell := func(ledger int, what *say) step {
		return step{do: doSend, agent: ledger, what: what, wait: time.Second}
	}
	ask := tell(1, &say{To: events.CapabilityPrefix + "blue", Then: &say{}})
	p := quietPlan(150*time.Millisecond, 2, tell(0, &say{Can: "blue"}), ask)
	sum, host := newSeen(), simHost(t)
	for p.seed = range 40 {
		if faults := simulate(t, p, host, sum); len(faults) > 0 {
			t.Fatalf("%q\n%s", faults, p)
		}
	}
	if n := sum.ends["AgentNotFound"]; n > 0 || sum.sends != 40 {
		t.Errorf("of %d sends %d led nowhere", sum.sends+n, n)
	}
}
