package actors

import (
	"runtime"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestRunsNameTheirMachine: a guest that computes with floats is replayed on the
// architecture that it ran on, which its events say; others run the same on all.
func TestRunsNameTheirMachine(t *testing.T) {
	r := newRig(t, nil)
	generous := func(d *DeployRequest) { d.Limits.MaxFuel = 10_000_000_000 }
	for name, want := range map[string]string{"echo": "", "counter-go": runtime.GOARCH} {
		id := r.deploy(name, name, generous)
		if sent := r.ask(id, `{"op":"get"}`); sent.Status != Handled {
			t.Fatalf("%s: %s", name, sent.Status)
		}
		if h := only[events.MessageHandled](r, events.AgentStream(id))[0]; h.Host.Machine != want {
			t.Errorf("%s: the record says %q, want %q", name, h.Host.Machine, want)
		}
	}
}
